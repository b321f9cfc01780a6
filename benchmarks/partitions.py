"""A thousand partitions by day and site, made by a backfill: memory, compaction, and files that are skipped.

Usage: python benchmarks/partitions.py [--days 250] [--sites 4] [--events 200] [--direct]

Simulated events go to ``clinical/symptom_events``, partitioned as ``medassets stream`` does. Then the graph's
own asset ``clinical/symptom_days`` is made, without its checks, for each day and site: one Dagster run and
one commit each, as a backfill in the UI does it, on an instance of SQLite; with --direct by the asset's
functions alone. Printed: seconds and peak memory of each hundred partitions (memory that stays flat is
bounded), files before and after compaction, and how many of them a reader opens, by partition and by
statistics.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medassets.settings import Settings

#: Commits in which a day of events arrives.
BATCHES = 4
NAMES = ("symptom_events", "symptom_days")


def day_of_events(day: dt.date, sites: Sequence[str], number: int, seed: int) -> pa.Table:
    """Simulated pulse rates of a day, as many of each site, in the schema of the stream's table."""
    from medassets.ingest.streams.events import EVENT_SCHEMA

    generator = np.random.default_rng(seed)
    total = number * len(sites)
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    at = [start + dt.timedelta(seconds=float(s)) for s in np.sort(generator.uniform(0, 86_399, total))]
    columns = {
        "event_id": [f"{day}-{n}" for n in range(total)],
        "patient": [f"ps_{n:032x}" for n in generator.integers(0, 500, total)],
        "code": ["LOINC:8867-4"] * total,
        "state": ["present"] * total,
        "value": generator.normal(75, 12, total).round(),
        "unit": ["/min"] * total,
        "event_time": at,
        "received_at": at,
        "late": [False] * total,
        "device": ["watch"] * total,
        "site": [sites[n % len(sites)] for n in range(total)],
        "origin": ["simulated"] * total,
        "log": ["kafka/events/0"] * total,
        "log_offset": range(total),
        "event_day": [day] * total,
    }
    return pa.table(columns, schema=EVENT_SCHEMA)


@contextmanager
def by_runs(settings: Settings, sites: Sequence[str]) -> Iterator[Callable[[str, str], object]]:
    """Give what makes a partition as a Dagster run of the asset."""
    import dagster as dg

    from medassets.orchestration.assets.streams import symptom_days
    from medassets.orchestration.build import resources_for

    resources = resources_for(settings)
    wanted = {name: resources[name] for name in ("settings", "io_manager")}
    with dg.DagsterInstance.local_temp(str(settings.home)) as instance:
        instance.add_dynamic_partitions("sites", list(sites))

        def make(day: str, site: str) -> object:
            key = dg.MultiPartitionKey({"day": day, "site": site})
            return dg.materialize([symptom_days], partition_key=key, resources=wanted, instance=instance)

        yield make


@contextmanager
def directly(settings: Settings, sites: Sequence[str]) -> Iterator[Callable[[str, str], object]]:
    """Give what makes a partition by the asset's functions alone."""
    from medassets.cohorts.symptom_days import SYMPTOM_DAYS, summarize
    from medassets.orchestration.lake import LakeTable, Partition
    from medassets.orchestration.streams import events_of_day

    table = LakeTable(settings.lake_dir / SYMPTOM_DAYS.key, SYMPTOM_DAYS.primary_key)

    def make(day: str, site: str) -> object:
        events, _ = events_of_day(settings, day, site)
        return table.write(summarize(events, day), partition=Partition({"day": [day], "site": [site]}))

    yield make


def backfill(make: Callable[[str, str], object], days: Sequence[str], sites: Sequence[str]) -> None:
    """Make every day of every site, and print what each hundred partitions took."""
    print("| partitions | seconds | processor seconds | peak MB |\n| --- | --- | --- | --- |")
    clocks: tuple[Callable[[], float], ...] = (time.perf_counter, time.process_time)
    began = [clock() for clock in clocks]
    for number, (day, site) in enumerate(product(days, sites), start=1):
        make(day, site)
        if number % 100 == 0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            wall, busy = (clock() - start for clock, start in zip(clocks, began, strict=True))
            print(f"| {number} | {wall:.1f} | {busy:.1f} | {peak:.0f} |", flush=True)
            began = [clock() for clock in clocks]


def compact(place: str) -> None:
    """Join small files, remove old ones, and print how many there were."""
    from deltalake import DeltaTable

    table = DeltaTable(place)
    before, began = len(table.file_uris()), time.perf_counter()
    done = table.optimize.compact()
    removed = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    print(
        f"{Path(place).name}: {before} files compacted to {len(table.file_uris())}, in "
        f"{done['partitionsOptimized']} partitions that had several; {len(removed)} old files removed; "
        f"{time.perf_counter() - began:.1f} s"
    )


def opened(place: str, wanted: pc.Expression) -> None:
    """Print how many files of a table a reader opens for a filter, and how long it takes."""
    from deltalake import DeltaTable

    dataset = DeltaTable(place).to_pyarrow_dataset()
    files, every = (sum(1 for _ in dataset.get_fragments(filter=asked)) for asked in (wanted, None))
    began = time.perf_counter()
    rows = dataset.to_table(filter=wanted).num_rows
    print(
        f"  {wanted}: {files} of {every} files opened, {every - files} skipped; {rows:,} rows in "
        f"{time.perf_counter() - began:.3f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=250)
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--events", type=int, default=200, help="events a day and site")
    parser.add_argument("--direct", action="store_true", help="without a Dagster run for each partition")
    options = parser.parse_args()
    from deltalake import DeltaTable, write_deltalake

    from medassets.ingest.streams.events import EVENT_SCHEMA
    from medassets.orchestration.days import DAYS

    days = list(DAYS.get_partition_keys())[: options.days]
    sites = [f"site {number}" for number in range(1, options.sites + 1)]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=folder, _env_file=None)
        events, summaries = (str(settings.lake_dir / "clinical" / name) for name in NAMES)
        table = DeltaTable.create(events, EVENT_SCHEMA, partition_by=["event_day"])
        for number, day in enumerate(days):
            rows = day_of_events(dt.date.fromisoformat(day), sites, options.events, number)
            for batch in rows.to_batches(max_chunksize=-(-rows.num_rows // BATCHES)):
                write_deltalake(table, batch, mode="append")
        print(f"{len(days)} days of {len(sites)} sites, {options.events} events each")
        with (directly if options.direct else by_runs)(settings, sites) as make:
            backfill(make, days, sites)
        day = pc.field("day") == days[0]
        compact(summaries)
        for wanted in (day, pc.field("site") == sites[0], day & (pc.field("site") == sites[0])):
            opened(summaries, wanted)
        # The time is no partition: these files are skipped by the statistics that the log keeps of each.
        noon = dt.datetime.combine(dt.date.fromisoformat(days[0]), dt.time(12), dt.UTC)
        hour = (pc.field("event_time") >= noon) & (pc.field("event_time") < noon + dt.timedelta(hours=1))
        opened(events, hour)
        compact(events)
        opened(events, hour)


if __name__ == "__main__":
    main()
