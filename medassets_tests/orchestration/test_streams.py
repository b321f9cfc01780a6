"""The graph sees the stream: changed days are asked for, and summarized as the events say."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from deltalake import DeltaTable

from medassets.cohorts.symptom_days import summarize
from medassets.ingest.streams.events import EVENT_SCHEMA, Rules, event_table, read_event
from medassets.orchestration.assets.streams import symptom_days, symptom_event_stream
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.lake import LakeTable
from medassets.settings import Settings
from medassets_tests.ingest.streams.samples import LOG, event, message, pipeline

DAY, BEFORE = "2026-03-02", "2026-02-20"


def events(*fields):
    return event_table([read_event(message(i, event(i, **given)), Rules()) for i, given in enumerate(fields)])


def test_a_day_is_summarized_by_patient_and_code():
    one, two = f"ps_{1:032x}", f"ps_{2:032x}"
    at = [f"2026-03-02T{hour:02}:00:00Z" for hour in range(4)]
    rows = summarize(
        events(
            {"patient": one, "value": 80, "event_time": at[2], "state": "absent"},
            {"patient": one, "value": 60, "event_time": at[0]},
            {"patient": two, "code": "HP:0001250", "value": None, "event_time": at[1]},
        ),
        DAY,
    ).to_pylist()
    assert [(r["patient_id"], r["code"], r["events"], r["last_state"]) for r in rows] == [
        (one, "LOINC:8867-4", 2, "absent"),
        (two, "HP:0001250", 1, "present"),
    ]
    assert (rows[0]["value_min"], rows[0]["value_mean"], rows[0]["value_max"]) == (60, 70, 80)
    assert rows[0]["first_at"] == datetime(2026, 3, 2, 0, tzinfo=UTC)
    assert rows[1]["value_mean"] is None


def test_no_events_are_no_rows():
    assert summarize(EVENT_SCHEMA.empty_table(), DAY).num_rows == 0


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def look(settings, instance, cursor=None):
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"settings": settings})
    return next(iter(symptom_event_stream(context)))


def of(day, site="north"):
    return dg.MultiPartitionKey({"day": day, "site": site})


def test_the_sensor_asks_for_the_days_and_sites_that_were_written_to(settings, instance):
    assert isinstance(look(settings, instance), dg.SkipReason)
    made = pipeline(settings.lake_dir)
    made.resume([LOG])
    made.write(
        [
            message(0, event(1)),
            message(1, event(2, event_time=f"{BEFORE}T10:00:00Z")),
            message(2, event(3, site="south ward")),
        ]
    )
    first = look(settings, instance)
    assert {request.partition_key for request in first.run_requests} == {
        of(DAY), of(DAY, "south ward"), of(BEFORE),
    }  # fmt: skip
    assert {made.partition for made in first.asset_events} == {DAY, BEFORE}
    (added,) = first.dynamic_partitions_requests
    assert added.partitions_def_name == "sites" and added.partition_keys == ["north", "south ward"]
    assert isinstance(look(settings, instance, first.cursor), dg.SkipReason)
    made.write([message(3, event(4))])
    second = look(settings, instance, first.cursor)
    assert of(DAY) in {request.partition_key for request in second.run_requests}
    assert of(BEFORE) not in {request.partition_key for request in second.run_requests}
    assert second.run_requests[0].run_key != first.run_requests[0].run_key


def summaries(settings, instance, day, site):
    """Make one partition of the summary; the whole table then."""
    resources = {"settings": settings, "io_manager": DeltaIOManager(lake_dir=settings.lake_root)}
    dg.materialize([symptom_days], partition_key=of(day, site), resources=resources, instance=instance)
    return LakeTable(settings.lake_dir / "clinical" / "symptom_days").read().to_pylist()


def test_a_late_event_makes_its_day_again(settings, instance):
    instance.add_dynamic_partitions("sites", ["north"])
    made = pipeline(settings.lake_dir)
    made.resume([LOG])
    counts = []
    for offset in range(2):
        made.write([message(offset, event(offset * 7, event_time=f"{BEFORE}T10:00:00Z"))])
        rows = summaries(settings, instance, BEFORE, "north")
        counts.append([(row["day"], row["events"], row["late"]) for row in rows])
    assert counts == [[(BEFORE, 1, 1)], [(BEFORE, 2, 2)]]


def test_a_site_is_a_partition_of_its_own_in_the_graph_and_in_the_lake(settings, instance):
    instance.add_dynamic_partitions("sites", ["north", "south"])
    made = pipeline(settings.lake_dir)
    made.resume([LOG])
    made.write([message(0, event(1)), message(1, event(2, site="south"))])
    for site in ("north", "south", "north"):
        rows = summaries(settings, instance, DAY, site)
    assert sorted((row["day"], row["site"]) for row in rows) == [(DAY, "north"), (DAY, "south")]
    table = DeltaTable(str(settings.lake_dir / "clinical" / "symptom_days"))
    assert table.metadata().partition_columns == ["day", "site"]
    assert len(table.file_uris(file_pruning_predicate="site = 'south'")) == 1 < len(table.file_uris())
