"""Hospital records by day: FHIR files and servers to tables, consented and under pseudonyms.

What belongs here: the graph of a day. What does not: what happens in it (``cohorts.ehr``, ``ingest.fhir``).
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa

from medassets.cohorts import ehr
from medassets.cohorts.tables import TABLES
from medassets.orchestration.checks import table_checks
from medassets.orchestration.days import (
    BY_DAY,
    DAYS,
    DELTA,
    INTERVAL,
    STATUS,
    inbox_sensor,
    keys,
    out_by_day,
)
from medassets.orchestration.inputs import asset_keys, describe, ins, ontology_of, tags
from medassets.orchestration.io_managers import DeltaIOManager, SourceIOManager
from medassets.orchestration.monitoring import table_or_empty
from medassets.orchestration.source_files import SourceFile
from medassets.settings import Settings

#: Settings that change what enters.
POLICY = ("fhir_origin", "fhir_consent", "fhir_purposes")

#: Tables that name patients.
PEOPLE = tuple(
    f"clinical/ehr_{name}" for name in ("patients", "encounters", "conditions", "observations", "notes")
)


@dg.asset(
    key=["sources", "fhir_server"],
    partitions_def=DAYS,
    code_version="1",
    kinds={"fhir"},
    tags=tags("both"),
    metadata={**BY_DAY, **describe(settings=("fhir_url", "fhir_protocol", "fhir_group"))},
)
def fhir_server(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> pa.Table:
    """Bring what the FHIR server updated on a day into the inbox of FHIR files."""
    state = "not configured: set MEDASSETS_FHIR_URL" if settings.fhir_url is None else settings.fhir_protocol
    context.add_output_metadata({"state": state})
    return ehr.day_pull(settings, context.partition_key)


@dg.asset(
    key=["clinical", "ehr_consents"],
    deps=asset_keys("sources/fhir_server"),
    partitions_def=DAYS,
    code_version="1",
    kinds=DELTA,
    tags=tags("both"),
    metadata={**BY_DAY, **describe(settings=POLICY)},
)
def ehr_consents(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> pa.Table:
    """Read what patients consent to, from the Consent resources of a day's deliveries."""
    return ehr.day_consents(settings, context.partition_key)


@dg.multi_asset(
    name="ehr_tables",
    # A consent of any day counts: the newest decides, a withdrawal reaches earlier days when they are made
    # again.
    ins={
        "ehr_consents": dg.AssetIn(
            ["clinical", "ehr_consents"], partition_mapping=dg.AllPartitionMapping(), metadata=BY_DAY
        )
    },
    outs={name: out_by_day(key, settings=POLICY) for name, key in ehr.DAY_TABLES.items()},
    partitions_def=DAYS,
)
def ehr_tables(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], ehr_consents: pa.Table
) -> Iterator[dg.Output[pa.Table]]:
    """Read a day's deliveries: valid, permitted, under pseudonyms; the rest is counted or set aside."""
    tables = ehr.day_tables(settings, context.partition_key, ehr_consents)
    counts = {row["what"]: row["n"] for row in tables["counts"].to_pylist() if row["file"] == ehr.ALL_FILES}
    for name, table in tables.items():
        shown = counts if name in ("patients", "counts") else {}
        yield dg.Output(table, output_name=name, metadata=shown)


@dg.asset(
    key=["clinical", "ehr_deliveries"],
    ins=ins("clinical/ehr_counts", "clinical/ehr_quarantine", **BY_DAY),
    deps=asset_keys(*PEOPLE),
    partitions_def=DAYS,
    code_version="1",
    kinds=DELTA,
    tags=tags("both"),
    metadata=BY_DAY,
)
def ehr_deliveries(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    ehr_counts: pa.Table,
    ehr_quarantine: pa.Table,
) -> pa.Table:
    """Move the day's files to done or failed, now that their content is in the lake, with their errors."""
    return ehr.acknowledge_files(settings, context.partition_key, ehr_counts, ehr_quarantine)


@dg.asset(
    key=["clinical", "note_phenotypes"],
    ins={**ins("clinical/ehr_notes", **BY_DAY), **ins("sources/hpo_ontology")},
    partitions_def=DAYS,
    code_version="1",
    kinds=DELTA,
    tags=tags("rare"),
    metadata=BY_DAY,
)
def note_phenotypes(ehr_notes: pa.Table, hpo_ontology: SourceFile) -> pa.Table:
    """Find the HPO terms that a day's notes name, with negation, place and confidence."""
    from medassets.ingest.text import TextMatcher

    if not ehr_notes.num_rows:
        return TABLES["clinical/note_phenotypes"].empty()
    return ehr.note_phenotypes(ehr_notes, TextMatcher.from_ontology(ontology_of(hpo_ontology)))


_DAY_KEYS = (
    "clinical/ehr_consents",
    *ehr.DAY_TABLES.values(),
    "clinical/ehr_deliveries",
    "clinical/note_phenotypes",
)
CHECKS = [table_checks(TABLES[key]) for key in _DAY_KEYS]
INBOX_JOB = dg.define_asset_job(
    "fhir_inbox",
    selection=keys(*_DAY_KEYS),
    description="Read a day's FHIR files from the inbox.",
    executor_def=dg.in_process_executor,
)
SERVER_JOB = dg.define_asset_job(
    "fhir_server_day",
    selection=keys("sources/fhir_server", *_DAY_KEYS),
    description="Pull a day from the FHIR server and read it.",
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    job=SERVER_JOB,
    cron_schedule="30 0 * * *",
    execution_timezone="UTC",
    description="Pull yesterday's updates from the FHIR server each night; off until switched on.",
)
def fhir_server_nightly(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.RunRequest | dg.SkipReason:
    """Ask for yesterday, which is complete."""
    if settings.fhir_url is None:
        return dg.SkipReason("not configured: set MEDASSETS_FHIR_URL")
    yesterday = (context.scheduled_execution_time or datetime.now(UTC)) - timedelta(days=1)
    return dg.RunRequest(partition_key=yesterday.date().isoformat())


@dg.sensor(
    job=INBOX_JOB,
    minimum_interval_seconds=300,
    description="Reads days again that hold patients whose consent was withdrawn or ran out; off until on.",
)
def consent_withdrawals(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    io_manager: dg.ResourceParam[DeltaIOManager],
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for each day with patients who may no longer be used, once for the same patients."""
    consents, *people = (table_or_empty(io_manager, key) for key in ("clinical/ehr_consents", *PEOPLE))
    days = ehr.days_to_read_again(settings, consents, people, datetime.now(UTC))
    for day, patients in days.items():
        run_key = f"{day}-{hashlib.sha256(' '.join(patients).encode()).hexdigest()[:16]}"
        tags = {"medassets/reason": f"{len(patients)} patients may no longer be used"}
        yield dg.RunRequest(run_key=run_key, partition_key=day, tags=tags)
    if not days:
        yield dg.SkipReason("every patient of the records may be used")


@dg.sensor(
    minimum_interval_seconds=INTERVAL,
    default_status=STATUS,
    description="Offers the FHIR files of MEDASSETS_DATA_DIR, as recorded, to the inbox: each content once.",
)
def fhir_folder_files(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    source_io_manager: dg.ResourceParam[SourceIOManager],
) -> dg.SkipReason:
    """Bring a site's folder to the one door of records; the inbox's sensor asks for the run."""
    if settings.key_file is None:
        return dg.SkipReason("no record enters without a key: set MEDASSETS_KEY_FILE")
    try:
        source = source_io_manager.recorded("sources/fhir_bundles")
    except (FileNotFoundError, ValueError) as error:
        return dg.SkipReason(str(error))
    if context.cursor == source.version:
        return dg.SkipReason("the folder holds what was offered")
    offered = ehr.inbox_of(settings).offer(source.paths())
    context.update_cursor(source.version)
    return dg.SkipReason(f"{len(offered)} of {len(source.files)} files were new to the inbox")


JOBS = [INBOX_JOB, SERVER_JOB]
SCHEDULES = [fhir_server_nightly]
SENSORS = [
    consent_withdrawals,
    fhir_folder_files,
    inbox_sensor(
        "fhir_inbox_files",
        INBOX_JOB,
        ehr.inbox_of,
        "Takes new files from <home>/inbox/fhir and reads their day.",
    ),
]
