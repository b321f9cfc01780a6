"""Which event ids were seen lately, to recognize an event that its sender sent twice.

What belongs here: the memory of ids and its bounds. What does not: replays after a crash, which the offsets
in the table exclude (``sink``).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medassets.ingest.streams.sink import OffsetTable

_MICROSECOND = timedelta(microseconds=1)


class SeenIds:
    """Ids of the last ``hours``, at most ``most`` of them, in two generations.

    When the young generation is full, or spans the whole time, the old one is forgotten: an id is remembered
    for at least the time, or for at least half of ``most`` newer ones, at constant cost.
    """

    def __init__(self, hours: float, most: int) -> None:
        self.span_us = timedelta(hours=hours) // _MICROSECOND
        self.most = most
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._young: set[str] = set()
        self._old: set[str] = set()
        self._since_us: int | None = None

    def add(self, event_id: str, received_us: int) -> bool:
        """Remember an id.

        Returns:
            Whether it is new.
        """
        if event_id in self._young or event_id in self._old:
            return False
        self._turn(received_us)
        self._young.add(event_id)
        return True

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _turn(self, received_us: int) -> None:
        if self._since_us is None:
            self._since_us = received_us
        full = len(self._young) >= max(1, self.most // 2)
        if full or received_us - self._since_us > self.span_us:
            self._old, self._young, self._since_us = self._young, set(), received_us

    def load(self, pairs: Iterable[tuple[str, int]]) -> None:
        """Begin anew with ids and when they were received (microseconds), oldest first."""
        self.clear()
        for event_id, received_us in pairs:
            self.add(event_id, received_us)


def remembered(table: OffsetTable, hours: float, most: int) -> list[tuple[str, int]]:
    """Read the ids of the last ``hours`` before the newest event of the table, at most ``most``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    files = pa.table(table.table.get_add_actions(flatten=True))
    if not files.num_rows:
        return []
    since = pc.max(files.column("max.received_at")).as_py() - timedelta(hours=hours)
    found = table.table.to_pyarrow_table(
        columns=["event_id", "received_at"], filters=[("received_at", ">=", since)]
    ).sort_by("received_at")
    found = found.slice(max(0, found.num_rows - most))
    received = found.column("received_at").cast(pa.int64()).to_pylist()
    return list(zip(found.column("event_id").to_pylist(), received, strict=True))
