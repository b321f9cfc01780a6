"""Patients in the format of the DDXPlus release: a CSV, alone or in a zip, with lists written as Python literals.

What belongs here: reading such files in batches, checking every field against the evidences and conditions, and
handing bad rows over with the reason. What does not: the meaning of evidences (``medassets.knowledge``) and their
encoding (``medassets.features.common``). Format: Fansi Tchango et al., DDXPlus, NeurIPS 2022; columns AGE,
DIFFERENTIAL_DIAGNOSIS, SEX, PATHOLOGY, EVIDENCES, INITIAL_EVIDENCE. Its patients are synthesized by its authors.

A row with several faults is reported once for each of them. Rows are counted from 1, the first after the header.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import itertools
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from medassets.ingest.common_patients import DIFFERENTIAL, MAX_AGE, PATIENT_SCHEMA, base_code, with_completeness
from medassets.ingest.python_lists import FlatLists, parse_pairs, parse_strings
from medassets.ingest.quarantine import IngestError, QuarantineRow, excerpt
from medassets.knowledge.common_conditions import VALUE_SEPARATOR, CommonKnowledge

Reject = Callable[..., None]

SOURCE = "ddxplus"
COLUMNS = ("AGE", "DIFFERENTIAL_DIAGNOSIS", "SEX", "PATHOLOGY", "EVIDENCES", "INITIAL_EVIDENCE")
BATCH_ROWS = 50_000


@dataclass(frozen=True)
class PatientBatch:
    """Good rows in the form of ``clinical/common_patients``, and the faults found in the others."""

    patients: pa.Table
    quarantined: list[QuarantineRow]


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
        id_column: column with the patients' own ids. None: ids are made of the file's hash and the row number.
        batch_rows: rows a batch.
        duplicates: what to do with a row that repeats an earlier one (the same id, or without ids the same content
            in every column); ``keep`` is for validation, where each row counts, and applies to rows without ids only.
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
        checker = _Checker(knowledge, name, f"{SOURCE}-{digest}", id_column, duplicates, origin, seen)
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
            yield f"{path.name}/{member.filename}", cast(IO[bytes], io.BufferedReader(archive.open(member), 1 << 20))


def _read_member(data: IO[bytes], checker: _Checker, batch_rows: int) -> Iterator[PatientBatch]:
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
            parse_options=pacsv.ParseOptions(invalid_row_handler=lambda r, kept=broken: kept.append(r) or "skip"),
            convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
        ).combine_chunks()
        positions = {invalid.number - 1 for invalid in broken}
        for invalid in broken:
            checker.report(
                faults, int(numbers[good[invalid.number - 1]]), "row", f"{invalid.actual_columns} columns",
                "wrong number of columns", f"{invalid.expected_columns} columns: {', '.join(header)}", invalid.text,
            )  # fmt: skip
        kept = numbers[[i for position, i in enumerate(good) if position not in positions]]
        yield checker.check(table, kept, faults)


@dataclass
class _Checker:
    """Rules for the rows of one file."""

    knowledge: CommonKnowledge
    file: str
    id_prefix: str
    id_column: str | None
    duplicates: str
    origin: str
    seen: set[Any]
    legal: dict[str, tuple[int, bool]] = field(init=False)

    def __post_init__(self) -> None:
        # answer -> (column of its evidence, whether it names a value that excludes every other)
        self.legal = {}
        for column, evidence in enumerate(self.knowledge.evidences):
            for answer in evidence.answer_codes():
                value = answer.partition(VALUE_SEPARATOR)[2]
                single = bool(value) and (evidence.type == "C" or value == evidence.default)
                self.legal[answer] = (column, single)

    def empty(self) -> pa.Table:
        """No patients, in the right columns."""
        return PATIENT_SCHEMA.empty_table()

    def read_header(self, line: bytes) -> list[str]:
        """Return the columns' names, all of COLUMNS among them."""
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise IngestError(f"{self.file}: the header is not text in UTF-8: {error}") from error
        header = [name.strip() for name in next(csv.reader([text.strip("\r\n")]), [])]
        needed = [*COLUMNS, *([self.id_column] if self.id_column else [])]
        missing = [name for name in needed if name not in header]
        if missing:
            raise IngestError(
                f"{self.file}: column {', '.join(missing)} is missing; the file has {', '.join(header) or 'no columns'}"
            )
        if len(set(header)) < len(header):
            raise IngestError(f"{self.file}: a column stands twice in the header: {', '.join(header)}")
        return header

    def report(
        self, faults: list[QuarantineRow], row: int, column: str, value: object, reason: str, allowed: str, raw: object
    ) -> None:
        """Add one fault."""
        text = None if value is None else excerpt(str(value))
        faults.append(
            QuarantineRow(
                SOURCE, self.file, row, f"{self.id_prefix}-{row}", column, text, reason, allowed, excerpt(raw)
            )
        )

    def readable(self, line: bytes, row: int, faults: list[QuarantineRow]) -> bool:
        """Whether a line can go to the CSV parser; blank lines cannot and are no fault."""
        if line.count(b'"') % 2:
            text = line.decode("utf-8", errors="replace").rstrip()
            self.report(faults, row, "row", text[-80:], "a quote is not closed: the row is cut off",
                        "complete rows, one a line", text)  # fmt: skip
            return False
        if not line.isascii():
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                text = line.decode("utf-8", errors="replace").rstrip()
                self.report(faults, row, "row", str(error), "not UTF-8", "text in UTF-8", text)
                return False
        return not line.isspace()

    def check(self, table: pa.Table, rows: np.ndarray, faults: list[QuarantineRow]) -> PatientBatch:
        """Check every field of the rows; those with a fault leave the batch."""
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        columns = {name: c.chunk(0) if isinstance(c, pa.ChunkedArray) else c for name, c in columns.items()}
        bad = np.zeros(len(rows), dtype=bool)

        def reject(where: np.ndarray, column: str, reason: str, allowed: str, values: dict[int, Any] | None = None) -> None:
            bad[where] = True
            for i in where:
                cell = columns[column][int(i)].as_py()
                raw = {name: values_[int(i)].as_py() for name, values_ in columns.items()}
                self.report(
                    faults, int(rows[i]), column, (values or {}).get(int(i), cell), reason, allowed, raw
                )

        ages = self._ages(columns["AGE"], reject)
        sexes = pc.utf8_upper(pc.utf8_trim_whitespace(columns["SEX"]))
        sexes = pc.if_else(pc.equal(sexes, ""), "unknown", sexes)
        reject(_false(pc.is_in(sexes, value_set=pa.array(["M", "F", "unknown"]))), "SEX", "unknown sex", "M, F or empty")
        known = pc.is_in(columns["PATHOLOGY"], value_set=pa.array(self.knowledge.condition_names))
        reject(_false(known), "PATHOLOGY", "unknown pathology", "a condition_name of release_conditions.json")
        evidence = parse_strings(columns["EVIDENCES"])
        self._evidence(evidence, columns["INITIAL_EVIDENCE"], reject)
        differential = self._differential(columns["DIFFERENTIAL_DIAGNOSIS"], reject)
        ids = self._identify(table, columns, rows, bad, reject)
        count = len(rows)
        patients = pa.table(
            {
                "patient_id": ids,
                "age": ages,
                "sex": sexes,
                "condition": columns["PATHOLOGY"],
                "evidence": pa.ListArray.from_arrays(_offsets(evidence.rows, count), evidence.texts),
                "unknown": pa.ListArray.from_arrays(np.zeros(count + 1, np.int32), pa.array([], pa.string())),
                "initial_evidence": pc.if_else(
                    pc.equal(columns["INITIAL_EVIDENCE"], ""), None, columns["INITIAL_EVIDENCE"]
                ),
                "differential": differential,
                "origin": pa.repeat(self.origin, count),
                "source_file": pa.repeat(self.file, count),
                "source_row": pa.array(rows),
            }
        )
        faults.sort(key=lambda fault: fault.row or 0)
        patients = patients.filter(pa.array(~bad)) if bad.any() else patients
        return PatientBatch(with_completeness(patients, len(self.knowledge.evidences)), faults)

    def _ages(self, column: pa.StringArray, reject: Reject) -> pa.Array:
        text = pc.utf8_trim_whitespace(column)
        numeric = pc.match_substring_regex(text, r"^[0-9]{1,4}(\.0*)?$")
        ages = pc.if_else(numeric, pc.replace_substring_regex(text, r"\..*$", ""), None).cast(pa.int16())
        possible = pc.if_else(pc.equal(text, ""), True, pc.fill_null(pc.less_equal(ages, MAX_AGE), False))
        reject(_false(possible), "AGE", "impossible age", f"whole years, 0 to {MAX_AGE}, or empty")
        return ages

    def _evidence(self, evidence: FlatLists, initial: pa.StringArray, reject: Reject) -> None:
        reject(np.flatnonzero(evidence.bad), "EVIDENCES", "not a complete list of texts", "['E_91', 'E_54_@_V_161']")
        encoded = evidence.texts.dictionary_encode()
        numbers, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
        legal = np.array([name in self.legal for name in names], dtype=bool)
        wrong = np.flatnonzero(~legal[numbers])
        for name in sorted({names[number] for number in numbers[wrong]}):
            where = np.unique(evidence.rows[wrong[[names[n] == name for n in numbers[wrong]]]])
            reason, allowed = self._why(name)
            reject(where, "EVIDENCES", reason, allowed, dict.fromkeys(map(int, where), name))
        column_of = np.array([self.legal.get(name, (-1, False))[0] for name in names], dtype=np.int64)
        single = np.array([self.legal.get(name, (-1, False))[1] for name in names], dtype=bool)
        valued = np.array([VALUE_SEPARATOR in name for name in names], dtype=bool)
        width = len(self.knowledge.evidences)
        entry = evidence.rows * width + column_of[numbers]
        # Two different values of one evidence, one of which excludes the other.
        pairs = np.unique(np.stack([entry[valued[numbers]], numbers[valued[numbers]]]), axis=1)
        keys, counts = np.unique(pairs[0], return_counts=True)
        twice = keys[counts > 1]
        excluding = np.unique(entry[single[numbers]])
        for key in np.intersect1d(twice, excluding):
            code = self.knowledge.codes[key % width]
            reject(np.array([key // width]), "EVIDENCES", f"{code} has values that exclude each other",
                   "one value, or several without the default")  # fmt: skip
        index = self.knowledge.evidence_index
        wanted = np.array([index.get(base_code(name), -1) for name in initial.to_pylist()], dtype=np.int64)
        named = np.zeros(len(initial), dtype=bool)
        named[evidence.rows[column_of[numbers] == wanted[evidence.rows]]] = True
        blank = pc.equal(initial, "").to_numpy(zero_copy_only=False)
        unknown = (wanted < 0) & ~blank
        reject(np.flatnonzero(unknown), "INITIAL_EVIDENCE", "unknown evidence", "a code of release_evidences.json")
        absent = ~named & ~unknown & ~blank & ~evidence.bad
        reject(np.flatnonzero(absent), "INITIAL_EVIDENCE", "not among the row's evidences", "one of EVIDENCES")

    def _why(self, answer: str) -> tuple[str, str]:
        code = base_code(answer)
        if code not in self.knowledge.evidence_index:
            near = difflib.get_close_matches(code, self.knowledge.codes, n=3)
            return "unknown evidence", f"a code of release_evidences.json; near matches: {', '.join(near) or 'none'}"
        evidence = self.knowledge.evidence(code)
        if evidence.type == "B":
            return f"{code} is a yes/no evidence and takes no value", code
        return f"unknown value of {code}", f"one of {', '.join(evidence.value_codes[:20])}"

    def _differential(self, column: pa.StringArray, reject: Reject) -> pa.Array:
        blank = pc.is_in(column, value_set=pa.array(["", "[]"]))
        given = parse_pairs(pc.if_else(blank, "[]", column))
        reject(np.flatnonzero(given.bad), "DIFFERENTIAL_DIAGNOSIS", "not a complete list of [condition, probability]",
               "[['Anemia', 0.25], ...] or empty")  # fmt: skip
        assert given.numbers is not None
        names = pc.is_in(given.texts, value_set=pa.array(self.knowledge.condition_names))
        for where, reason, allowed in (
            (given.rows[_false(names)], "unknown condition", "a condition_name of release_conditions.json"),
            (given.rows[~((given.numbers >= 0) & (given.numbers <= 1))], "probability outside 0 to 1", "0 to 1"),
        ):
            reject(np.unique(where), "DIFFERENTIAL_DIAGNOSIS", reason, allowed)
        entries = pa.StructArray.from_arrays([given.texts, pa.array(given.numbers)], fields=list(DIFFERENTIAL.value_type))
        offsets = _offsets(given.rows, len(column))
        return pa.ListArray.from_arrays(offsets, entries, mask=blank)

    def _identify(
        self, table: pa.Table, columns: dict[str, pa.Array], rows: np.ndarray, bad: np.ndarray, reject: Reject
    ) -> pa.Array:
        """Return patient ids; reject good rows that repeat an earlier good row."""
        if self.id_column:
            ids = columns[self.id_column]
            reject(np.flatnonzero(pc.equal(ids, "").to_numpy(zero_copy_only=False)), self.id_column, "no id", "an id")
            keys, column, reason = ids.to_pylist(), self.id_column, "duplicate patient: an earlier row has this id"
        else:
            ids = pc.binary_join_element_wise(self.id_prefix, pa.array(rows).cast(pa.string()), "-")
            if self.duplicates == "keep":
                return ids
            keys = polars.from_arrow(table).hash_rows(seed=0).to_list()  # type: ignore[union-attr]
            column, reason = "EVIDENCES", "duplicate patient: an earlier row is the same in every column"
        repeated = []
        for i, key in enumerate(keys):
            if bad[i]:
                continue
            if key in self.seen:
                repeated.append(i)
            self.seen.add(key)
        reject(np.array(repeated, dtype=np.int64), column, reason, "each patient once")
        return ids


def _false(condition: pa.BooleanArray) -> np.ndarray:
    return np.flatnonzero(~condition.to_numpy(zero_copy_only=False).astype(bool))


def _offsets(rows: np.ndarray, count: int) -> pa.Int32Array:
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(np.bincount(rows, minlength=count), out=offsets[1:])
    return pa.array(offsets)
