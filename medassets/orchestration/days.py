"""What arrives by day: the partitions, how a day's tables are declared, and the sensors of drop folders.

What belongs here: what every source with a drop folder shares. What does not: reading (``cohorts.ehr``,
``cohorts.forms``). Assets by day are outside the whole graph's job: each day is a run of its own, started by
a sensor, a schedule, or a backfill in the UI.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from medassets.cohorts.tables import TABLES
from medassets.ingest.inbox import Inbox
from medassets.orchestration.inputs import asset_keys, describe, tags
from medassets.settings import Settings

#: Days of arrival, today included.
DAYS = dg.DailyPartitionsDefinition(start_date="2026-01-01", timezone="UTC", end_offset=1)
#: Column that says the day, in every table by day.
BY_DAY = {"partition_column": "day"}
#: Kinds of a table.
DELTA = {"deltalake", "pyarrow"}
#: Seconds between two looks into a drop folder.
INTERVAL = 30
#: Whether the daemon evaluates the sensors of what arrives without being told to.
STATUS = dg.DefaultSensorStatus.RUNNING if Settings().sensors == "on" else dg.DefaultSensorStatus.STOPPED
#: A run with one of these has not ended.
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def out_by_day(key: str, domain: str = "both", settings: tuple[str, ...] = ()) -> dg.AssetOut:
    """Declare one table by day of a function that makes several."""
    return dg.AssetOut(
        key=key.split("/"),
        description=TABLES[key].description,
        code_version="1",
        kinds=DELTA,
        tags=tags(domain),
        metadata={**BY_DAY, **describe(settings=settings)},
    )


def keys(*names: str) -> dg.AssetSelection:
    """Select assets by ``layer/name``, with their checks."""
    return dg.AssetSelection.assets(*asset_keys(*names))


def inbox_sensor(
    name: str, job: Any, inbox_of: Callable[[Settings], Inbox], description: str
) -> dg.SensorDefinition:
    """Make the sensor of a drop folder: new files are put under today, and each day with files gets a run.

    Args:
        name: name of the sensor.
        job: job by day that reads the folder.
        inbox_of: gives the folder.
        description: what the sensor does, for the UI.
    """

    @dg.sensor(
        name=name,
        job=job,
        description=description,
        minimum_interval_seconds=INTERVAL,
        default_status=STATUS,
    )
    def sensor(
        context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        inbox = inbox_of(settings)
        inbox.stage(datetime.now(UTC).date())
        waiting = inbox.waiting()
        if not waiting:
            yield dg.SkipReason(f"nothing new in {inbox.root}")
        elif context.instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=UNDER_WAY), limit=1):
            # Two runs of one day would overwrite each other's tables.
            yield dg.SkipReason("a run is reading the folder")
        else:
            for day, files in waiting.items():
                content = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
                yield dg.RunRequest(
                    run_key=f"{day}-{content}",
                    partition_key=day,
                    tags={"medassets/reason": f"{len(files)} new files", "medassets/day": day},
                )

    return sensor
