"""Delta tables: versions, slices, collisions and a crash in the middle of a write."""

import subprocess
import sys
import threading
import time

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from medassets.orchestration.content import table_hash
from medassets.orchestration.lake import LakeTable, Partition


def _rows(*values: int, day: str = "2026-01-01") -> pa.Table:
    return pa.table({"id": pa.array(values, pa.int64()), "day": [day] * len(values)})


def test_write_read_and_time_travel(tmp_path):
    lake = LakeTable(tmp_path / "t", ["id"])
    first = lake.write(_rows(1, 2))
    second = lake.write(_rows(3))
    assert (first.version, second.version) == (0, 1)
    assert lake.read().column("id").to_pylist() == [3]
    assert lake.read(version=0).column("id").to_pylist() == [1, 2]
    with pytest.raises(FileNotFoundError, match="no version 7"):
        lake.read(version=7)


def test_same_content_in_another_order_is_not_rewritten(tmp_path):
    lake = LakeTable(tmp_path / "t", ["id"])
    first = lake.write(_rows(1, 2))
    again = lake.write(_rows(2, 1))
    assert not again.written and again.version == first.version and again.content_hash == first.content_hash


def test_missing_table_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="materialize it first"):
        LakeTable(tmp_path / "t").read()


def test_a_slice_is_replaced_and_the_rest_stays(tmp_path):
    lake = LakeTable(tmp_path / "t", ["id"])
    one, two = Partition({"day": ["2026-01-01"]}), Partition({"day": ["2026-01-02"]})
    lake.write(_rows(1, 2), partition=one)
    lake.write(_rows(3, day="2026-01-02"), partition=two)
    lake.write(_rows(9), partition=one)
    assert sorted(lake.read().column("id").to_pylist()) == [3, 9]
    assert lake.read(partition=two).column("id").to_pylist() == [3]
    assert not lake.write(_rows(9), partition=one).written
    with pytest.raises(ValueError, match="2026-01-02"):
        lake.write(_rows(4, day="2026-01-02"), partition=one)


def test_a_slice_may_be_narrower_than_what_the_table_is_partitioned_by(tmp_path):
    """A table that an earlier version partitioned by day alone takes slices by day and site."""
    lake, day = LakeTable(tmp_path / "t", ["id"]), "2026-01-01"
    sites = pa.table({"id": [1, 2], "day": [day, day], "site": ["north", "south's"]})
    lake.write(sites, partition=Partition({"day": [day]}))
    south = Partition({"day": [day], "site": ["south's"]})
    lake.write(pa.table({"id": [3], "day": [day], "site": ["south's"]}), partition=south)
    assert sorted(lake.read().column("id").to_pylist()) == [1, 3]
    assert lake.read(partition=south).column("id").to_pylist() == [3]
    with pytest.raises(ValueError, match="column site holds"):
        lake.write(sites, partition=south)


def test_writers_that_collide_all_arrive_whole(tmp_path):
    lake = LakeTable(tmp_path / "t", ["id"])
    errors: list[Exception] = []

    def write(start: int) -> None:
        try:
            for turn in range(4):
                LakeTable(tmp_path / "t", ["id"]).write(
                    _rows(*range(start + turn * 100, start + turn * 100 + 50))
                )
        except (OSError, ValueError, RuntimeError, CommitFailedError) as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert lake.version() == 15
    ids = sorted(lake.read().column("id").to_pylist())
    assert ids == list(range(ids[0], ids[0] + 50))


CRASHING_WRITER = """
import sys, pyarrow as pa
from medassets.orchestration.lake import LakeTable
from pathlib import Path
table = LakeTable(Path(sys.argv[1]), ["id"])
turn = 0
while True:
    turn += 1
    table.write(pa.table({"id": pa.array(range(turn * 10, turn * 10 + 50_000), pa.int64())}))
    print(turn, flush=True)
"""


def test_a_killed_writer_leaves_the_last_good_version(tmp_path):
    for delay in (0.0, 0.013, 0.029):
        path = tmp_path / f"t{delay}"
        writer = subprocess.Popen([sys.executable, "-c", CRASHING_WRITER, str(path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        for _ in range(3):
            writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.wait()
        lake = LakeTable(path, ["id"])
        ids = lake.read().column("id").to_pylist()
        assert len(ids) == 50_000 and max(ids) - min(ids) == 49_999
        note = lake._open(None).history(1)[0]["medassets.content_hash"]
        assert note == table_hash(lake.read(), ["id"])
        assert lake.write(pa.table({"id": pa.array([1], pa.int64())})).written
