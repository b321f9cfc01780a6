"""Rejected rows of all readers, gathered into columns.

What belongs here: turning ``QuarantineRow`` objects into an Arrow table and counting them for a run's
summary. What does not: the rules by which a reader rejects a value (they stand beside the format) and the
declared schema (``medassets.cohorts.tables``, key ``clinical/quarantine``), which this table conforms to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from medassets.knowledge.quarantine import QUARANTINE_FIELDS, QuarantineRow, SourceError, excerpt

__all__ = ["IngestError", "QuarantineRow", "SourceError", "excerpt", "quarantine_table", "reasons"]


class IngestError(SourceError):
    """A patient source as a whole cannot be read (corrupt archive, missing file, wrong columns)."""


def quarantine_table(rows: Iterable[QuarantineRow]) -> pa.Table:
    """Return rejected rows as an Arrow table with one column for each field of ``QuarantineRow``.

    The order of the rows is kept: the same input gives the same table.
    """
    rows = list(rows)
    columns = {
        name: pa.array(
            [getattr(row, name) for row in rows], type=pa.int64() if name == "row" else pa.string()
        )
        for name in QUARANTINE_FIELDS
    }
    return pa.table(columns)


def reasons(rows: Iterable[QuarantineRow]) -> dict[str, int]:
    """Count rejected rows by ``source: field: reason``, most frequent first, for a run's summary."""
    counts = Counter(f"{row.source}: {row.field}: {row.reason}" for row in rows)
    return dict(counts.most_common())
