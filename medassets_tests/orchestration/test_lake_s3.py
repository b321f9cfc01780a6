"""The lake on an S3 server: written, a slice replaced, an earlier version read, two writers kept apart."""

import threading

import dagster as dg
import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from medassets.ingest.streams.events import Rules
from medassets.ingest.streams.pipeline import open_pipeline
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.lake import LakeTable, Partition
from medassets.stores.addresses import delta_options, join
from medassets_tests.ingest.streams.samples import LOG, event, message

pytestmark = pytest.mark.integration


def rows(*values, day="2026-01-01"):
    return pa.table({"id": pa.array(values, pa.int64()), "day": [day] * len(values)})


def test_versions_and_slices(s3):
    lake = LakeTable(f"{s3}/lake/t", ["id"])
    assert not lake.exists()
    with pytest.raises(FileNotFoundError, match="materialize it first"):
        lake.read()
    one, two = Partition({"day": ["2026-01-01"]}), Partition({"day": ["2026-01-02"]})
    lake.write(rows(1, 2), partition=one)
    lake.write(rows(3, day="2026-01-02"), partition=two)
    lake.write(rows(9), partition=one)
    assert sorted(lake.read().column("id").to_pylist()) == [3, 9]
    assert sorted(lake.read(version=1).column("id").to_pylist()) == [1, 2, 3]
    assert not lake.write(rows(9), partition=one).written


def test_two_writers_both_arrive_whole(s3):
    address, errors = f"{s3}/lake/t", []

    def write(start):
        try:
            for turn in range(3):
                LakeTable(address, ["id"]).write(rows(*range(start + turn * 100, start + turn * 100 + 50)))
        except (OSError, ValueError, RuntimeError, CommitFailedError, DeltaError) as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(1000 * n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    lake = LakeTable(address, ["id"])
    assert lake.version() == 5
    ids = sorted(lake.read().column("id").to_pylist())
    assert ids == list(range(ids[0], ids[0] + 50))


def test_an_asset_goes_through_s3(s3, instance):
    @dg.asset(key=["toy", "letters"], io_manager_key="io_manager")
    def letters() -> pa.Table:
        return pa.table({"id": ["a", "b"]})

    @dg.asset(key=["toy", "count"], ins={"letters": dg.AssetIn(["toy", "letters"])}, io_manager_key="mem")
    def count(letters: pa.Table) -> int:
        return letters.num_rows

    resources = {"io_manager": DeltaIOManager(lake_dir=f"{s3}/lake"), "mem": dg.mem_io_manager}
    done = dg.materialize([letters, count], resources=resources, instance=instance)
    assert done.output_for_node("toy__count") == 2
    made = done.asset_materializations_for_node("toy__letters")[0]
    assert made.metadata["path"].value == f"{s3}/lake/toy/letters"


def test_the_event_stream_goes_to_s3(s3):
    def opened():
        return open_pipeline(
            lambda key: join(f"{s3}/lake", key), "kafka", Rules(), hours=48, most=100, compact_every=100,
            options=delta_options(s3),
        )  # fmt: skip

    made = opened()
    made.resume([LOG])
    made.write([message(0, event(1)), message(1, b"{")])
    again = opened()
    assert again.resume([LOG]) == {LOG: 2}
    again.write([message(2, event(1)), message(3, event(2))])
    assert again.events.table.count() == 2
    assert again.rejected.table.count() == 1
