"""A Delta table whose commits carry how far each log has been read.

What belongs here: the exactly-once append and the joining of small files. What does not: what is appended
(``pipeline``). The next offset of a log stands in the commit's transaction identifiers, so rows and progress
are one commit. Two processes that read the same log cannot both commit: the second one's start is not where
the table stands, and it is told so.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from deltalake import DeltaTable

#: Attempts of one commit where other writers (compaction, other logs) came first.
ATTEMPTS = 20
#: A checkpoint after this many commits keeps opening the table cheap.
CHECKPOINT_EVERY = "50"


class OvertakenError(RuntimeError):
    """Another process has read on in a log: what this one holds must be thrown away."""


@dataclass(frozen=True, slots=True)
class Span:
    """What of a log was read: from ``start`` (the table's own offset before) up to and without ``end``."""

    start: int
    end: int


class OffsetTable:
    """A Delta table with offsets.

    Args:
        address: path or URL.
        schema: its columns, for the first commit.
        partition_by: column that splits it into folders.
        options: storage options of ``deltalake``, for object storage.
        description: what a row is.
    """

    def __init__(
        self,
        address: str,
        schema: pa.Schema,
        *,
        partition_by: str | None = None,
        options: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> None:
        from deltalake import DeltaTable

        self.schema = schema
        self.table: DeltaTable = DeltaTable.create(
            address,
            schema,
            mode="ignore",
            partition_by=partition_by,
            description=description,
            configuration={"delta.checkpointInterval": CHECKPOINT_EVERY},
            storage_options=dict(options) if options else None,
        )

    def offset(self, log: str, *, refresh: bool = True) -> int:
        """Give the next offset of a log that has not been committed; 0 for a log never read."""
        if refresh:
            self.table.update_incremental()
        return self.table.transaction_version(log) or 0

    def append(self, rows: pa.Table, spans: Mapping[str, Span]) -> int:
        """Commit rows together with the progress of the logs that they came from.

        Returns:
            The table's new version.

        Raises:
            OvertakenError: a log's progress in the table is not where the span starts.
            deltalake.exceptions.CommitFailedError: other writers came first in every attempt.
        """
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        properties = CommitProperties(
            app_transactions=[Transaction(log, span.end) for log, span in spans.items()], max_commit_retries=0
        )
        for attempt in range(1, ATTEMPTS + 1):
            self._refuse_overtaken(spans, refresh=attempt > 1)
            try:
                write_deltalake(self.table, rows, mode="append", commit_properties=properties)
            except CommitFailedError:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 6)))
                self.table.update_incremental()
            else:
                break
        return self.table.version()

    def compact(self, partitions: Sequence[str] = (), column: str | None = None) -> dict[str, int]:
        """Join the small files, of some partitions or of all; what the rows say does not change.

        Returns:
            Files before and after.
        """
        filters = [(column, "in", list(partitions))] if partitions and column else None
        done = self.table.optimize.compact(partition_filters=filters)
        return {"removed": done["numFilesRemoved"], "added": done["numFilesAdded"]}

    def _refuse_overtaken(self, spans: Mapping[str, Span], *, refresh: bool) -> None:
        for log, span in spans.items():
            held = self.offset(log, refresh=refresh)
            if held != span.start:
                raise OvertakenError(f"{log} stands at {held} in the table, not at {span.start} as read here")
