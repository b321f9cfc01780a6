"""Dagster's runs, events, schedules and sensors from its SQLite files to PostgreSQL.

What belongs here: which of its tables go where. What does not: copying them (``sql``). In SQLite each run has
a file of events and an index file repeats what concerns assets, checks and run states; sensors' cursors and
checks refer to the index's ids, so those are kept, and a run's other events come after them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from medassets.orchestration.migration.parts import Part, RowDigest, Summary
from medassets.orchestration.migration.sql import (
    continue_numbering,
    copy_rows,
    has_table,
    names_of,
    reading,
    rows,
    writing,
)

#: Written by Dagster itself when it makes the tables: which of its own changes of form are done.
_OWN = ("secondary_indexes", "instance_info")
_EVENTS = "event_logs"


def dagster_part(folder: Path, url: str) -> Part:
    """Move Dagster's storage in ``folder`` to the PostgreSQL database at ``url``."""

    def target() -> Summary:
        _make_tables(url)
        with writing(url) as connection:
            return _summary(connection, [connection], connection, connection)

    return Part("Dagster's storage", lambda: _source(folder), target, lambda: _copy(folder, url))


def _files(folder: Path) -> dict[str, Path]:
    return {
        "runs": folder / "history" / "runs.db",
        "events": folder / "history" / "runs" / "index.db",
        "schedules": folder / "schedules" / "schedules.db",
    }


def _shards(folder: Path) -> list[Path]:
    """One file of events a run."""
    return sorted(p for p in (folder / "history" / "runs").glob("*.db") if p.stem != "index")


def _metadata() -> dict[str, Any]:
    from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
    from dagster._core.storage.runs.schema import RunStorageSqlMetadata
    from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata

    return {
        "runs": RunStorageSqlMetadata,
        "events": SqlEventLogStorageMetadata,
        "schedules": ScheduleStorageSqlMetadata,
    }


def _plain_tables(kind: str) -> Iterator[Any]:
    """Tables that are copied as they are."""
    return (t for t in _metadata()[kind].sorted_tables if t.name not in (*_OWN, _EVENTS))


def _indexed(table: Any) -> Any:
    """Events that SQLite's index file repeats."""
    from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS

    kinds = {*ASSET_EVENTS, *ASSET_CHECK_EVENTS, *EVENT_TYPE_TO_PIPELINE_RUN_STATUS}
    return table.c.dagster_event_type.in_(sorted(kind.value for kind in kinds))


def _others(table: Any) -> Any:
    from sqlalchemy import or_

    return or_(table.c.dagster_event_type.is_(None), ~_indexed(table))


def _source(folder: Path) -> Summary:
    files = _files(folder)
    with ExitStack() as opened:
        runs, index, schedules = (
            opened.enter_context(reading(files[name])) for name in ("runs", "events", "schedules")
        )
        return _summary(index, map(reading, _shards(folder)), runs, schedules)


def _summary(index: Any, shards: Iterable[Any], runs: Any, schedules: Any) -> Summary:
    """Summarize a storage; of the runs' files, of which there may be thousands, one is open at a time."""
    digest, counts = RowDigest(), {}
    for kind, connection in (("runs", runs), ("events", index), ("schedules", schedules)):
        for table in _plain_tables(kind):
            if has_table(connection, table):
                found = rows(connection, table, names_of(table))
                counts[table.name] = digest.add(table.name, found)
    events = _metadata()["events"].tables[_EVENTS]
    names = names_of(events)
    counts["events of assets"] = digest.add("index", rows(index, events, names, _indexed(events)))
    counts["other events"] = 0
    for shard in shards:
        with ExitStack() as opened:
            connection = shard if shard is index else opened.enter_context(shard)
            found = rows(connection, events, names[1:], _others(events))
            counts["other events"] += digest.add(_EVENTS, found)
    return Summary(counts, digest.hexdigest())


def _make_tables(url: str) -> None:
    from dagster_postgres import DagsterPostgresStorage

    made = DagsterPostgresStorage(url, should_autocreate_tables=True)
    for storage in (made.run_storage, made.event_log_storage, made.schedule_storage):
        storage.dispose()


def _copy(folder: Path, url: str) -> None:
    files = _files(folder)
    events = _metadata()["events"].tables[_EVENTS]
    with writing(url) as target:
        for kind in files:
            with reading(files[kind]) as source:
                for table in _plain_tables(kind):
                    if has_table(source, table):
                        copy_rows(source, target, table, names_of(table))
                        continue_numbering(target, table)
                if kind == "events":
                    copy_rows(source, target, events, names_of(events), _indexed(events))
                    continue_numbering(target, events)
        for shard in _shards(folder):
            with reading(shard) as source:
                copy_rows(source, target, events, names_of(events)[1:], _others(events))
