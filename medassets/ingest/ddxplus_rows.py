"""The rules for rows of the DDXPlus format: what each field may hold, and what is said where it does not.

What belongs here: checking the columns of one batch and turning them into ``clinical/common_patients``. What
does not: files, archives and batches (``ddxplus``).
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars
import pyarrow as pa
import pyarrow.compute as pc

from medassets.ingest.common_patients import (
    DIFFERENTIAL,
    MAX_AGE,
    PATIENT_SCHEMA,
    base_code,
    with_completeness,
)
from medassets.ingest.python_lists import FlatLists, parse_pairs, parse_strings
from medassets.ingest.quarantine import IngestError, QuarantineRow, excerpt
from medassets.knowledge.common_conditions import VALUE_SEPARATOR, CommonKnowledge

Reject = Callable[..., None]

SOURCE = "ddxplus"
COLUMNS = ("AGE", "DIFFERENTIAL_DIAGNOSIS", "SEX", "PATHOLOGY", "EVIDENCES", "INITIAL_EVIDENCE")


@dataclass(frozen=True)
class PatientBatch:
    """Good rows in the form of ``clinical/common_patients``, and the faults found in the others."""

    patients: pa.Table
    quarantined: list[QuarantineRow]


@dataclass
class RowChecker:
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
                f"{self.file}: column {', '.join(missing)} is missing; "
                f"the file has {', '.join(header) or 'no columns'}"
            )
        if len(set(header)) < len(header):
            raise IngestError(f"{self.file}: a column stands twice in the header: {', '.join(header)}")
        return header

    def report(
        self,
        faults: list[QuarantineRow],
        row: int,
        column: str,
        value: object,
        reason: str,
        allowed: str,
        raw: object,
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

        def reject(
            where: np.ndarray, column: str, reason: str, allowed: str, values: dict[int, Any] | None = None
        ) -> None:
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
        reject(
            _false(pc.is_in(sexes, value_set=pa.array(["M", "F", "unknown"]))),
            "SEX",
            "unknown sex",
            "M, F or empty",
        )
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
        reject(
            np.flatnonzero(evidence.bad),
            "EVIDENCES",
            "not a complete list of texts",
            "['E_91', 'E_54_@_V_161']",
        )
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
        reject(
            np.flatnonzero(unknown),
            "INITIAL_EVIDENCE",
            "unknown evidence",
            "a code of release_evidences.json",
        )
        absent = ~named & ~unknown & ~blank & ~evidence.bad
        reject(
            np.flatnonzero(absent), "INITIAL_EVIDENCE", "not among the row's evidences", "one of EVIDENCES"
        )

    def _why(self, answer: str) -> tuple[str, str]:
        code = base_code(answer)
        if code not in self.knowledge.evidence_index:
            near = difflib.get_close_matches(code, self.knowledge.codes, n=3)
            return (
                "unknown evidence",
                f"a code of release_evidences.json; near matches: {', '.join(near) or 'none'}",
            )
        evidence = self.knowledge.evidence(code)
        if evidence.type == "B":
            return f"{code} is a yes/no evidence and takes no value", code
        return f"unknown value of {code}", f"one of {', '.join(evidence.value_codes[:20])}"

    def _differential(self, column: pa.StringArray, reject: Reject) -> pa.Array:
        blank = pc.is_in(column, value_set=pa.array(["", "[]"]))
        given = parse_pairs(pc.if_else(blank, "[]", column))
        column_name = "DIFFERENTIAL_DIAGNOSIS"
        reason, allowed = (
            "not a complete list of [condition, probability]",
            "[['Anemia', 0.25], ...] or empty",
        )
        reject(np.flatnonzero(given.bad), column_name, reason, allowed)
        names = pc.is_in(given.texts, value_set=pa.array(self.knowledge.condition_names))
        for where, reason, allowed in (
            (given.rows[_false(names)], "unknown condition", "a condition_name of release_conditions.json"),
            (
                given.rows[~((given.numbers >= 0) & (given.numbers <= 1))],
                "probability outside 0 to 1",
                "0 to 1",
            ),
        ):
            reject(np.unique(where), column_name, reason, allowed)
        entries = pa.StructArray.from_arrays(
            [given.texts, pa.array(given.numbers)], fields=list(DIFFERENTIAL.value_type)
        )
        offsets = _offsets(given.rows, len(column))
        return pa.ListArray.from_arrays(offsets, entries, mask=blank)

    def _identify(
        self, table: pa.Table, columns: dict[str, pa.Array], rows: np.ndarray, bad: np.ndarray, reject: Reject
    ) -> pa.Array:
        """Return patient ids; reject good rows that repeat an earlier good row."""
        if self.id_column:
            ids = columns[self.id_column]
            reject(
                np.flatnonzero(pc.equal(ids, "").to_numpy(zero_copy_only=False)),
                self.id_column,
                "no id",
                "an id",
            )
            keys, column, reason = (
                ids.to_pylist(),
                self.id_column,
                "duplicate patient: an earlier row has this id",
            )
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
