"""Measures the door for hospital records: FHIR R4 files through the graph by day, in a fresh installation.

Run: ``python benchmarks/ingest_fhir.py FILE [FILE ...]``, for example with the zips of Synthea's samples. The
files are taken for simulated ones. Prints rows, what was left out, and processor seconds of each step.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg

from medassets.cohorts import ehr
from medassets.orchestration.build import build_definitions, resources_for
from medassets.serving.sealing import new_key
from medassets.settings import Settings

DAY = "2026-02-03"


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        key = home / "key"
        key.write_text(new_key())
        key.chmod(0o600)
        settings = Settings(home=home, key_file=key, fhir_origin="simulated", _env_file=None)
        arrived = settings.fhir_inbox / "arrived" / DAY
        arrived.mkdir(parents=True)
        for name in sys.argv[1:]:
            shutil.copy(name, arrived)
        defs = build_definitions(settings, modules=["sources", "ehr"])
        with dg.DagsterInstance.ephemeral() as instance:
            defs.resolve_job_def("look_at_sources").execute_in_process(instance=instance)
            began = time.process_time()
            done = defs.resolve_job_def("fhir_inbox").execute_in_process(partition_key=DAY, instance=instance)
            print(f"whole day, with checks: {time.process_time() - began:.1f} s of processor time")
            for event in done.get_step_success_events():
                duration = event.event_specific_data.duration_ms / 1000
                print(f"  {event.step_key}: {duration:.1f} s on the clock")
        lake = resources_for(settings)["io_manager"]
        for key_of_table in (*ehr.DAY_TABLES.values(), "clinical/note_phenotypes"):
            print(f"{key_of_table}: {lake.table(key_of_table).read().num_rows} rows")
        counts = lake.table("clinical/ehr_counts").read().to_pylist()
        print({row["what"]: row["n"] for row in counts if row["file"] == ehr.ALL_FILES})


if __name__ == "__main__":
    main()
