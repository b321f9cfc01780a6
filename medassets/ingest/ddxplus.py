"""Patients in the format of the DDXPlus release: a CSV, alone or in a zip, read in batches.

What belongs here: reading such files in batches, checking every field against the evidences and conditions,
and handing bad rows over with the reason. What does not: the meaning of evidences (``medassets.knowledge``)
and their encoding (``medassets.features.common``). Format: Fansi Tchango et al., DDXPlus, NeurIPS 2022;
columns AGE, DIFFERENTIAL_DIAGNOSIS, SEX, PATHOLOGY, EVIDENCES, INITIAL_EVIDENCE. Its patients are synthesized
by its authors.

A row with several faults is reported once for each of them. Rows are counted from 1, the first after the
header.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from medassets.ingest.ddxplus_rows import SOURCE, PatientBatch, RowChecker
from medassets.ingest.quarantine import IngestError, QuarantineRow
from medassets.knowledge.common_conditions import CommonKnowledge

BATCH_ROWS = 50_000


def read_batches(
    path: Path,
    knowledge: CommonKnowledge,
    *,
    id_column: str | None = None,
    batch_rows: int = BATCH_ROWS,
    duplicates: Literal["quarantine", "keep"] = "quarantine",
    origin: str = SOURCE,
) -> Iterator[PatientBatch]:
    """Read a patients file batch by batch, so that memory does not grow with the file.

    Args:
        path: a CSV, or a zip with one or more CSVs.
        knowledge: legal conditions, evidences and values.
        id_column: column with the patients' own ids. None: ids are made of the file's hash and the row
            number.
        batch_rows: rows a batch.
        duplicates: what to do with a row that repeats an earlier one (the same id, or without ids the same
            content in every column); ``keep`` is for validation, where each row counts, and applies to rows
            without ids only.
        origin: value of the ``origin`` column: ``ddxplus``, or what a site's own file holds.

    Yields:
        Batches, in the order of the file.

    Raises:
        IngestError: the file is missing, the zip is corrupt or empty, or a column is missing.
    """
    if not path.is_file():
        raise IngestError(f"{path}: file is missing")
    digest = file_digest(path)[:8]
    seen: set[Any] = set()
    for name, stream in _members(path):
        checker = RowChecker(knowledge, name, f"{SOURCE}-{digest}", id_column, duplicates, origin, seen)
        with stream as data, _reading(name):
            yield from _read_member(data, checker, batch_rows)


def read_patients(
    path: Path, knowledge: CommonKnowledge, *, id_column: str | None = None,
    duplicates: Literal["quarantine", "keep"] = "quarantine", origin: str = SOURCE,
) -> tuple[pa.Table, list[QuarantineRow]]:  # fmt: skip
    """Read a whole patients file: (rows of ``clinical/common_patients``, faults). See ``read_batches``.

    Raises:
        IngestError: see ``read_batches``.
    """
    batches = list(read_batches(path, knowledge, id_column=id_column, duplicates=duplicates, origin=origin))
    return pa.concat_tables(b.patients for b in batches), [row for b in batches for row in b.quarantined]


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn the errors of a damaged archive into one that names the file."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise IngestError(f"{name}: corrupt zip: {error}") from error


def _members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield (name, stream) of the file itself or of each file in the zip."""
    if not zipfile.is_zipfile(path):
        if path.suffix.lower() == ".zip":
            raise IngestError(f"{path}: corrupt zip: no readable table of contents")
        yield path.name, path.open("rb")
        return
    with zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith("__MACOSX")]
        if not members:
            raise IngestError(f"{path}: the zip holds no file")
        for member in members:
            yield (
                f"{path.name}/{member.filename}",
                cast(IO[bytes], io.BufferedReader(archive.open(member), 1 << 20)),
            )


def _read_member(data: IO[bytes], checker: RowChecker, batch_rows: int) -> Iterator[PatientBatch]:
    """Split into lines (DDXPlus has one row a line), set unreadable ones aside, and check the others."""
    header = checker.read_header(next(data, b""))
    row = 0
    while lines := list(itertools.islice(data, batch_rows)):
        numbers = np.arange(row + 1, row + len(lines) + 1)
        row += len(lines)
        faults: list[QuarantineRow] = []
        good = [i for i, line in enumerate(lines) if checker.readable(line, int(numbers[i]), faults)]
        if not good:
            yield PatientBatch(checker.empty(), faults)
            continue
        broken: list[pacsv.InvalidRow] = []
        table = pacsv.read_csv(
            pa.py_buffer(b"".join(lines[i] for i in good)),
            read_options=pacsv.ReadOptions(column_names=header, block_size=1 << 28, use_threads=False),
            parse_options=pacsv.ParseOptions(
                invalid_row_handler=lambda r, kept=broken: kept.append(r) or "skip"
            ),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
        ).combine_chunks()
        positions = {invalid.number - 1 for invalid in broken}
        for invalid in broken:
            checker.report(
                faults,
                int(numbers[good[invalid.number - 1]]),
                "row",
                f"{invalid.actual_columns} columns",
                "wrong number of columns",
                f"{invalid.expected_columns} columns: {', '.join(header)}",
                invalid.text,
            )
        kept = numbers[[i for position, i in enumerate(good) if position not in positions]]
        yield checker.check(table, kept, faults)
