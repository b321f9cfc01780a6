"""How time and memory grow with patients, engine by engine: from Delta to the symptom matrix to counts.

Usage: python benchmarks/scaling.py [--sizes 10000 100000 1000000] [--engines local ray] [--nodes 1 4 16]

Patients are simulated from the reference table. Each engine and size runs in a process of its own, whose peak
memory (its children's too, for Ray's workers) is its own. The exponent is the slope of log time over log
patients: 1 is proportional. The last table is a MODEL, not a measurement: it takes the measured time of one
machine with two cores, divides what can run side by side by the number of cores (Amdahl's law, the serial
share is an argument), adds the start of the nodes, and multiplies by a price that you state.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PART_ROWS = 50_000


def write_patients(place: Path, rows: int) -> None:
    """Simulate patients into a Delta table, a file for every 50,000."""
    import deltalake

    from medassets.cohorts.simulate_common import simulate
    from medassets.knowledge.common_conditions import CommonKnowledge

    knowledge = CommonKnowledge.bundled()
    for start in range(0, rows, PART_ROWS):
        total = min(PART_ROWS, rows - start)
        part = simulate(knowledge, total=total, seed=1 + start, missing_rate=0.1, draw_values=True)
        deltalake.write_deltalake(str(place), part, mode="append")


def work(engine_name: str, source: str, target: str) -> None:
    """Do the work of one engine and print what it took as JSON."""
    from medassets.engines.choice import engine_of
    from medassets.features.common import EvidenceSpace
    from medassets.features.scaled import COHORT_PROFILE_SQL, CommonFeatures
    from medassets.knowledge.common_conditions import CommonKnowledge
    from medassets.settings import Settings

    space = EvidenceSpace.from_knowledge(CommonKnowledge.bundled())
    began = time.perf_counter()
    engine = engine_of(Settings(engine=engine_name))
    ready = time.perf_counter()
    rows = engine.write(source, CommonFeatures(space), target)
    written = time.perf_counter()
    groups = engine.query(COHORT_PROFILE_SQL, {"features": target}).num_rows
    done = time.perf_counter()
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    took = {"start": ready - began, "features": written - ready, "counts": done - written}
    print(json.dumps({"rows": rows, "groups": groups, "peak_mb": peak / 1e3, **took}))


def measure(engine: str, source: Path, target: Path) -> dict[str, float]:
    """Run one engine in a process of its own."""
    command = [sys.executable, __file__, "--work", engine, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log seconds over log sizes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]) if len(sizes) > 1 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 4, 16], help="nodes of the model")
    parser.add_argument("--cores", type=int, default=8, help="cores of a node of the model")
    parser.add_argument("--price", type=float, default=0.4, help="price of a node and hour, of the model")
    parser.add_argument("--serial", type=float, default=0.05, help="serial share, of the model")
    parser.add_argument("--startup", type=float, default=60, help="seconds until a node works, of the model")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(*options.work)
    times: dict[str, list[float]] = {engine: [] for engine in options.engines}
    print("| engine | patients | start s | features s | counts s | patients/s | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            source = Path(folder, f"patients-{size}")
            write_patients(source, size)
            for engine in options.engines:
                found = measure(engine, source, Path(folder, f"{engine}-{size}"))
                assert found["rows"] == size, found
                spent = found["features"] + found["counts"]
                times[engine].append(spent)
                print(
                    f"| {engine} | {size:,} | {found['start']:.1f} | {found['features']:.1f} "
                    f"| {found['counts']:.1f} | {size / spent:,.0f} | {found['peak_mb']:.0f} |",
                    flush=True,
                )
    for engine, seconds in times.items():
        print(f"{engine}: exponent of growth {exponent(options.sizes, seconds):.2f}")
    rate = times[options.engines[0]][-1] / options.sizes[-1] * 2  # core seconds a patient, on two cores
    print("\nMODEL, not measured: 10^8 patients on a cluster")
    print("| nodes | cores | minutes | price |\n| --- | --- | --- | --- |")
    for nodes in options.nodes:
        cores = nodes * options.cores
        seconds = options.startup + 1e8 * rate * (options.serial + (1 - options.serial) / cores)
        cost = seconds / 3600 * nodes * options.price
        print(f"| {nodes} | {cores} | {seconds / 60:,.0f} | {cost:,.2f} |")
    return None


if __name__ == "__main__":
    main()
