"""What the graph sees of the event stream: a site's events of a day, and which days have changed.

What belongs here: reading the stream's table. What does not: writing it (``ingest.streams``), which a process
of its own does (``medassets stream``).
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from medassets.ingest.streams.events import EVENT_SCHEMA
from medassets.ingest.streams.pipeline import EVENTS
from medassets.settings import Settings
from medassets.stores.addresses import delta_options, join

_FILE = ["path", "partition.event_day", "num_records"]


def events_of_day(settings: Settings, day: str, site: str) -> tuple[pa.Table, int | None]:
    """Read a site's events of a day, and the version of their table; no rows where there is no stream."""
    table = _events(settings)
    if table is None:
        return EVENT_SCHEMA.empty_table(), None
    rows = _files_of_day(table, day).to_table(filter=pc.field("site") == site)
    return rows.cast(EVENT_SCHEMA), int(table.version())


def sites_of_day(settings: Settings, day: str) -> list[str]:
    """Find the sites that sent events of a day, sorted; none where there is no stream."""
    table = _events(settings)
    if table is None:
        return []
    sites = _files_of_day(table, day).to_table(columns=["site"])["site"]
    return sorted(sites.unique().to_pylist())


def changed_days(settings: Settings, since: int) -> tuple[dict[str, int], int]:
    """Find the days that were written to after version ``since``.

    Returns:
        Day to rows in it, and the table's version; ``-1`` where there is no stream. Compaction counts as a
        change: the day is made again with the same content, and what hangs on it stays.
    """
    table = _events(settings)
    if table is None:
        return {}, -1
    version = int(table.version())
    if version == since:
        return {}, version
    before = _paths(table, since)
    days: dict[str, int] = {}
    for file in _files(table):
        if file["path"] not in before:
            day = str(file["partition.event_day"])
            days[day] = days.get(day, 0) + file["num_records"]
    return days, version


def _files_of_day(table: Any, day: str) -> Any:
    """Give a day's partition as a dataset; the other days' files are left out while the log is read."""
    return table.to_pyarrow_dataset(file_pruning_predicate=[("event_day", "=", day)])


def _files(table: Any) -> list[dict[str, Any]]:
    return pa.table(table.get_add_actions(flatten=True)).select(_FILE).to_pylist()


def _paths(table: Any, version: int) -> set[str]:
    """Files of an earlier version; none where there was none, or its log is gone and all days count."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    if version < 0:
        return set()
    try:
        options = delta_options(table.table_uri) if table.table_uri.startswith("s3://") else None
        earlier = DeltaTable(table.table_uri, version=version, storage_options=options)
    except DeltaError:
        return set()
    return {file["path"] for file in _files(earlier)}


def _events(settings: Settings) -> Any:
    from deltalake import DeltaTable

    address = join(settings.lake_root, EVENTS)
    options = delta_options(address)
    if not DeltaTable.is_deltatable(address, options):
        return None
    return DeltaTable(address, storage_options=options)
