"""A thousand daily partitions of a site: backfilled with bounded memory, compacted, skipped by statistics.

Usage: python benchmarks/partitions.py [--days 1000] [--rows 200]

Each day is one commit to its own partition, as a backfill of a daily asset makes it. Printed: seconds and
memory of each hundred days (memory that stays flat is bounded), files before and after compaction, and how
many files a reader opens for one day.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import tempfile
import time
from pathlib import Path

import pyarrow as pa


def day_rows(day: str, rows: int, seed: int) -> pa.Table:
    """Simulated patients of a day."""
    from medassets.cohorts.simulate_common import simulate
    from medassets.knowledge.common_conditions import CommonKnowledge

    patients = simulate(CommonKnowledge.bundled(), total=rows, seed=seed, draw_values=True)
    kept = patients.select(["patient_id", "condition", "age", "sex", "evidence", "origin"])
    return kept.append_column("day", pa.array([day] * rows, pa.string()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=200, help="patients a day")
    options = parser.parse_args()
    from deltalake import DeltaTable

    from medassets.orchestration.lake import LakeTable, Partition

    first = dt.date(2024, 1, 1)
    days = [(first + dt.timedelta(days=number)).isoformat() for number in range(options.days)]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "patients")
        table = LakeTable(place)
        print("| days | seconds | peak MB |\n| --- | --- | --- |")
        began = time.perf_counter()
        for number, day in enumerate(days, start=1):
            table.write(day_rows(day, options.rows, number), partition=Partition("day", (day,)))
            if number % 100 == 0:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
                print(f"| {number} | {time.perf_counter() - began:.1f} | {peak:.0f} |", flush=True)
                began = time.perf_counter()
        for number, day in enumerate(days[:50], start=1):  # some days are made again, and leave old files
            table.write(day_rows(day, options.rows, 10_000 + number), partition=Partition("day", (day,)))
        delta = DeltaTable(str(place))
        before = len(delta.file_uris())
        began = time.perf_counter()
        compacted = delta.optimize.compact()
        removed = delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
        print(
            f"compaction: {before} files to {len(delta.file_uris())}, {len(removed)} old files removed, "
            f"{time.perf_counter() - began:.1f} s ({compacted['partitionsOptimized']} partitions had several)"
        )
        one = delta.file_uris(file_pruning_predicate=f"day = '{days[0]}'")
        print(f"one day: {len(one)} of {len(delta.file_uris())} files are opened")
        began = time.perf_counter()
        rows = table.read(partition=Partition("day", (days[0],))).num_rows
        slice_s, began = time.perf_counter() - began, time.perf_counter()
        everything = table.read().num_rows
        print(
            f"reading one day: {rows} rows in {slice_s:.2f} s; "
            f"the whole: {everything:,} rows in {time.perf_counter() - began:.2f} s"
        )


if __name__ == "__main__":
    main()
