"""Operations: the lake and the bundles kept within bounds, by schedule.

What belongs here: the assets and their schedule. What does not: what may go (``orchestration.retention``).
"""

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import TABLES, register
from medassets.orchestration.inputs import tags
from medassets.orchestration.metadata import markdown_table
from medassets.orchestration.retention import RETENTION, apply_retention
from medassets.settings import Settings

#: At night, before the sources are looked at.
CRON = "30 3 * * *"


register([RETENTION])


@dg.asset(
    key=RETENTION.key.split("/"),
    code_version="1",
    kinds={"deltalake", "pyarrow"},
    tags=tags("both"),
    automation_condition=dg.AutomationCondition.on_cron(CRON),
)
def lake_retention(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> pa.Table:
    """Remove versions, bundles, read files and dead letters past their time; not what the audit leads to.

    The listing is made also where the settings say that nothing is to go.
    """
    done = apply_retention(settings, sorted(TABLES))
    context.add_output_metadata(
        {
            "removed": done.removed,
            "files": sum(row["files"] for row in done.rows),
            "tables": dg.MetadataValue.md(markdown_table(done.rows)),
            "bundles": dg.MetadataValue.json(done.bundles),
            "inbox_files": dg.MetadataValue.json(done.files),
            "dead_letters": done.letters,
            "kept_for_audit": dg.MetadataValue.json(done.pinned),
        }
    )
    return pa.Table.from_pylist(done.rows, schema=RETENTION.schema)


RETENTION_JOB = dg.define_asset_job(
    "lake_retention_job",
    selection=dg.AssetSelection.assets(dg.AssetKey(RETENTION.key.split("/"))),
    description="Remove what is past its time and what the audit does not need.",
    executor_def=dg.in_process_executor,
)
JOBS = [RETENTION_JOB]
SCHEDULES = [
    dg.ScheduleDefinition(
        name="lake_retention_daily",
        job=RETENTION_JOB,
        cron_schedule=CRON,
        description="Keep lake and bundles within bounds, each night.",
    )
]
