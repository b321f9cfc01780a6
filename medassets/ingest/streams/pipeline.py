"""From messages to committed rows: read, recognize duplicates, set aside, commit with the offsets.

What belongs here: what happens to one micro-batch. What does not: gathering it (``runner``). Messages that
are no event go to the quarantine table first, under offsets of its own, then the events are committed: after
a crash in between, the batch is read again and the quarantine table skips what it has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from medassets.ingest.quarantine import quarantine_table
from medassets.ingest.streams.events import (
    EVENT_SCHEMA,
    EventError,
    Message,
    Rules,
    event_table,
    read_event,
    set_aside,
)
from medassets.ingest.streams.sink import OffsetTable, Span
from medassets.ingest.streams.window import SeenIds, remembered

#: Keys of the two tables.
EVENTS, REJECTED = "clinical/symptom_events", "clinical/symptom_event_quarantine"
_EPOCH = date(1970, 1, 1)
_DAY, _RECEIVED, _LATE = (EVENT_SCHEMA.names.index(name) for name in ("event_day", "received_at", "late"))

Rejected = Sequence[tuple[Message, EventError]]


@dataclass
class Counts:
    """What became of the messages so far."""

    written: int = 0
    duplicates: int = 0
    rejected: int = 0
    late: int = 0
    commits: int = 0

    @property
    def messages(self) -> int:
        """Messages read."""
        return self.written + self.duplicates + self.rejected


@dataclass
class Pipeline:
    """Writes micro-batches to the two tables of an installation.

    Attributes:
        events: table of events.
        rejected: table of messages that are no event.
        source: name of the source in the quarantine table, ``kafka`` or ``mqtt``.
        rules: what an event must hold to.
        seen: ids seen lately.
        dead_letter: told of messages that are no event, before the batch is committed; after a crash it may
            be told the same again.
        compact_every: commits after which the days written to are compacted.
        counts: what became of the messages.
    """

    events: OffsetTable
    rejected: OffsetTable
    source: str
    rules: Rules
    seen: SeenIds
    dead_letter: Callable[[Rejected], None] | None = None
    compact_every: int = 200
    counts: Counts = field(default_factory=Counts)
    _next: dict[str, int] = field(default_factory=dict)
    _days: set[str] = field(default_factory=set)

    def resume(self, logs: Sequence[str]) -> dict[str, int]:
        """Give the next offset of each log, and begin from there: the tables decide, not the broker."""
        self.events.table.update_incremental()
        self._next = {log: self.events.offset(log, refresh=False) for log in logs}
        self.seen.load(remembered(self.events, self.seen.span_us / 3.6e9, self.seen.most))
        return dict(self._next)

    def position(self, log: str) -> int:
        """Give the next offset of a log that is not in the table."""
        return self._next.get(log, 0)

    def write(self, messages: Sequence[Message]) -> int:
        """Commit a micro-batch: messages in the order of their offsets, of one log or several.

        Returns:
            Rows written.

        Raises:
            OvertakenError: another process has read on in a log; ``resume`` and read again.
        """
        if not messages:
            return 0
        rows, rejected = self._read(messages)
        fresh = [row for row in rows if self.seen.add(row[0], row[_RECEIVED])]
        ends = {message.log: message.offset + 1 for message in messages}
        if rejected:
            self._set_aside(rejected, ends)
        spans = {log: Span(self._next[log], end) for log, end in ends.items()}
        self.events.append(event_table(fresh), spans)
        self._next.update(ends)
        self._count(rows, fresh, rejected)
        return len(fresh)

    def _read(self, messages: Sequence[Message]) -> tuple[list[tuple[Any, ...]], list[Any]]:
        rows: list[tuple[Any, ...]] = []
        rejected: list[tuple[Message, EventError]] = []
        for message in messages:
            try:
                rows.append(read_event(message, self.rules))
            except EventError as error:
                rejected.append((message, error))
        return rows, rejected

    def _set_aside(self, rejected: Rejected, ends: dict[str, int]) -> None:
        logs = {message.log for message, _ in rejected}
        self.rejected.table.update_incremental()
        held = {log: self.rejected.offset(log, refresh=False) for log in logs}
        new = [(message, error) for message, error in rejected if message.offset >= held[message.log]]
        if self.dead_letter is not None:
            self.dead_letter(rejected)
        if new:
            rows = [set_aside(message, error, self.source) for message, error in new]
            spans = {log: Span(held[log], max(held[log], ends[log])) for log in logs}
            self.rejected.append(quarantine_table(rows), spans)

    def _count(self, rows: list[Any], fresh: list[Any], rejected: Rejected) -> None:
        counts = self.counts
        counts.written += len(fresh)
        counts.duplicates += len(rows) - len(fresh)
        counts.rejected += len(rejected)
        counts.late += sum(row[_LATE] for row in fresh)
        counts.commits += 1
        self._days |= {(_EPOCH + timedelta(days=day)).isoformat() for day in {row[_DAY] for row in fresh}}
        if counts.commits % self.compact_every == 0 and self._days:
            self.events.compact(sorted(self._days), "event_day")
            self._days.clear()


def open_pipeline(
    table_address: Callable[[str], str],
    source: str,
    rules: Rules,
    *,
    hours: float,
    most: int,
    compact_every: int,
    options: dict[str, str] | None = None,
) -> Pipeline:
    """Open the two tables, made where they are not there yet.

    Args:
        table_address: gives the address of a table by its key, ``layer/name``.
        source: ``kafka`` or ``mqtt``.
        rules: what an event must hold to.
        hours: how far back a repeated id is recognized.
        most: most ids remembered.
        compact_every: commits between compactions.
        options: storage options of the lake.
    """
    return Pipeline(
        OffsetTable(
            table_address(EVENTS),
            EVENT_SCHEMA,
            partition_by="event_day",
            options=options,
            description="One symptom or device event.",
        ),
        OffsetTable(
            table_address(REJECTED),
            quarantine_table([]).schema,
            options=options,
            description="One message that is no event, with the reason.",
        ),
        source,
        rules,
        SeenIds(hours, most),
        compact_every=compact_every,
    )
