"""MONDO's exact mappings to OMIM, Orphanet, SNOMED CT, ICD-10 and UMLS, as the release packs them.

What belongs here: finding the SSSOM tables in a zip, a folder or a single file. What does not: the table's
format and what the mappings are used for (``medassets.knowledge.crosswalk``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from medassets.ingest.archives import zip_members
from medassets.ingest.quarantine import IngestError, QuarantineRow
from medassets.knowledge.crosswalk import Crosswalk, read_sssom

_SUFFIX = ".sssom.tsv"


@dataclass(frozen=True)
class MondoRead:
    """All mappings of a release in one table, its version, and the rows that were set aside."""

    mappings: pa.Table
    version: str
    rejected: list[QuarantineRow]

    def crosswalk(self) -> Crosswalk:
        """Return the crosswalk over these mappings."""
        return Crosswalk(self.mappings, self.version)


def read_mondo(path: Path | str) -> MondoRead:
    """Read every ``*.sssom.tsv`` of a zip or folder, or one such file.

    Raises:
        IngestError: the path does not exist, the zip is corrupt, or there is no such table.
        SourceError: a table lacks a required column.
    """
    path = Path(path)
    tables, rejected, versions = [], [], set()
    for name, content in _members(path):
        table, bad, version = read_sssom(name, content)
        tables.append(table)
        rejected.extend(bad)
        versions.add(version)
    if not tables:
        raise IngestError(f"{path}: holds no mapping table (*{_SUFFIX})")
    return MondoRead(pa.concat_tables(tables).combine_chunks(), ", ".join(sorted(versions)), rejected)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each mapping table, sorted by name."""
    if path.is_dir():
        for file in sorted(path.rglob(f"*{_SUFFIX}")):
            yield file.relative_to(path).as_posix(), file.read_bytes()
    elif not path.is_file():
        raise IngestError(f"{path}: does not exist; expected MONDO's mappings as a zip or a folder")
    elif path.suffix != ".zip":
        yield path.name, path.read_bytes()
    else:
        yield from zip_members(path, _SUFFIX)
