"""How a source row that cannot be used is reported, and the error for a source that cannot be read at all.

What belongs here: one rejected value (where it stood, what it was, what would have been allowed) and
``SourceError``. What does not: deciding what is wrong (each reader does) and the Delta table
(``medassets.cohorts.tables``). It lies in the lowest package because the readers of knowledge (annotations,
mappings) reject rows too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

#: Longest raw excerpt kept of a rejected record; enough to find it again, too little to copy a whole record.
RAW_LIMIT = 2000


class SourceError(ValueError):
    """A source as a whole cannot be read; the message names the file and what was expected of it."""


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """One rejected value of a source.

    Attributes:
        source: name of the source, for example ``phenopackets`` or ``disease_annotations``.
        source_file: file (and member of an archive) that the value stood in.
        row: line of a text file or position in a list, counted from 1; None where neither exists.
        record_id: id of the case, patient or disease, where it is known.
        field: the field as the source names it, for example ``subject.timeAtLastEncounter``.
        value: the value as found.
        reason: why it was rejected, in words.
        allowed: what would have been accepted.
        raw: the rejected record as JSON, cut to ``RAW_LIMIT`` characters.
    """

    source: str
    source_file: str
    row: int | None
    record_id: str | None
    field: str
    value: str | None
    reason: str
    allowed: str
    raw: str | None = None

    @property
    def message(self) -> str:
        """The rejection in one line, for logs and check results."""
        place = self.source_file if self.row is None else f"{self.source_file}, row {self.row}"
        return f"{place}: {self.field} = {self.value!r}: {self.reason} (allowed: {self.allowed})"

    def as_dict(self) -> dict[str, Any]:
        """The row as a mapping with the column names of ``clinical/quarantine``."""
        return asdict(self)


QUARANTINE_FIELDS = tuple(field.name for field in fields(QuarantineRow))


def excerpt(record: object) -> str:
    """Return a record as JSON for ``QuarantineRow.raw``, cut to ``RAW_LIMIT`` characters."""
    if isinstance(record, str):
        return record[:RAW_LIMIT]
    return json.dumps(record, ensure_ascii=False, sort_keys=True, default=str)[:RAW_LIMIT]
