"""Symptom and device events: what ``medassets stream`` writes, and what a day of it says of each patient.

What belongs here: the stream's table as an external asset, its summary by day and site, the sensor between.
What does not: reading the table (``orchestration.streams``) and the summary (``cohorts.symptom_days``).
"""

import json
from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from medassets.cohorts.symptom_days import SYMPTOM_DAYS, SYMPTOM_EVENTS, summarize
from medassets.cohorts.tables import register
from medassets.orchestration.checks import table_checks
from medassets.orchestration.days import DAYS, DELTA, INTERVAL, STATUS, keys
from medassets.orchestration.inputs import tags
from medassets.orchestration.metadata import column_schema
from medassets.settings import Settings

register([SYMPTOM_EVENTS, SYMPTOM_DAYS])

#: Sites that have sent events; the sensor adds each new one.
SITES = dg.DynamicPartitionsDefinition(name="sites")
BY_DAY_AND_SITE = dg.MultiPartitionsDefinition({"day": DAYS, "site": SITES})

#: Written by a process outside the graph, which commits with the broker's offsets.
symptom_events = dg.AssetsDefinition(
    specs=[
        dg.AssetSpec(
            SYMPTOM_EVENTS.key.split("/"),
            description="Symptom and device events from Kafka or MQTT, each exactly once (medassets stream).",
            kinds={*DELTA, "kafka"},
            tags=tags("both"),
            partitions_def=DAYS,
            metadata={"dagster/column_schema": column_schema(SYMPTOM_EVENTS.schema, SYMPTOM_EVENTS)},
        )
    ]
)


@dg.asset(
    key=SYMPTOM_DAYS.key.split("/"),
    deps=[SYMPTOM_EVENTS.key.split("/")],
    partitions_def=BY_DAY_AND_SITE,
    code_version="1",
    description=SYMPTOM_DAYS.description,
    kinds=DELTA,
    tags=tags("both"),
)
def symptom_days(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> pa.Table:
    """Summarize a site's events of a day; a late event makes its day again."""
    from medassets.orchestration.streams import events_of_day

    key = BY_DAY_AND_SITE.get_partition_key_from_str(context.partition_key).keys_by_dimension
    events, version = events_of_day(settings, key["day"], key["site"])
    context.add_output_metadata({"events": events.num_rows, "events_version": version if version else 0})
    return summarize(events, key["day"])


CHECKS = [table_checks(SYMPTOM_DAYS)]
DAYS_JOB = dg.define_asset_job(
    "symptom_days_of_stream",
    selection=keys(SYMPTOM_DAYS.key),
    description="Summarize a site's symptom and device events of a day.",
    executor_def=dg.in_process_executor,
)
JOBS = [DAYS_JOB]


@dg.sensor(
    name="symptom_event_stream",
    job=DAYS_JOB,
    description="Looks at the version of the events' table; a day written to is summarized again, by site.",
    minimum_interval_seconds=INTERVAL,
    default_status=STATUS,
)
def symptom_event_stream(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.SensorResult | dg.SkipReason]:
    """Tell the graph what the stream wrote, and ask for the days."""
    from medassets.orchestration.streams import changed_days, sites_of_day

    since = int(json.loads(context.cursor)["version"]) if context.cursor else -1
    days, version = changed_days(settings, since)
    known = sorted(day for day in days if DAYS.has_partition_key(day))
    if not known:
        yield dg.SkipReason("nothing new in the stream's table")
        return
    sites = {day: sites_of_day(settings, day) for day in known}
    asked = [dg.MultiPartitionKey({"day": day, "site": site}) for day in known for site in sites[day]]
    yield dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{key}:{version}", partition_key=key, tags={"medassets/events_version": str(version)}
            )
            for key in asked
        ],
        dynamic_partitions_requests=[SITES.build_add_request(sorted(set().union(*sites.values())))],
        asset_events=[
            dg.AssetMaterialization(
                SYMPTOM_EVENTS.key.split("/"),
                partition=day,
                metadata={"delta_version": version, "dagster/partition_row_count": days[day]},
                tags={"dagster/data_version": f"{version}"},
            )
            for day in known
        ],
        cursor=json.dumps({"version": version}),
    )


SENSORS = [symptom_event_stream]
