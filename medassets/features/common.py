"""The symptom matrix: answers of a person as numbers, with "unknown" kept apart from "absent".

What belongs here: the columns (``EvidenceSpace``) and the encoding of one person and of tables. The check of
answers is in ``answers``, the table ``features/common_features`` in ``common_features``. What does not:
imputation, selection and scaling, which travel with a model. This module is on the serving path: numpy and
pyarrow only.

Columns, in order: one for each base evidence (1 present, 0 absent, -1 unknown), one for each non-default
value of categorical and multi-choice evidences, one level (0, 1, 2, ...; -1 unknown) for each ordinal
evidence, then age in years and sex (1 male, 0 female; -1 unknown). As in DDXPlus, an evidence that is not
named is absent, and the default value of a categorical evidence ("nowhere", "no") means absent. A bare
categorical code (``E_55``) means present with its value unknown.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medassets.features.answers import (
    ABSENT,
    PRESENT,
    UNKNOWN,
    AnswerRules,
    EvidenceError,
    EvidenceShape,
    encode_age,
    encode_sex,
)
from medassets.knowledge.common_conditions import VALUE_SEPARATOR, CommonKnowledge

__all__ = ["ABSENT", "PRESENT", "UNKNOWN", "EvidenceError", "EvidenceShape", "EvidenceSpace"]

LEVEL = f"{VALUE_SEPARATOR}level"


@dataclass(frozen=True)
class EvidenceSpace(AnswerRules):
    """The ordered columns of the symptom matrix."""

    @classmethod
    def from_knowledge(cls, knowledge: CommonKnowledge) -> EvidenceSpace:
        """Return the space of a reference table's evidences."""
        codes = set(knowledge.codes)
        return cls(
            tuple(
                EvidenceShape(
                    e.code,
                    e.type,
                    e.default,
                    e.parent if e.parent in codes else None,
                    e.value_codes,
                    e.ordinal,
                )
                for e in knowledge.evidences
            )
        )

    def to_json(self) -> str:
        """Return the space as JSON; ``from_json`` restores an equal one."""
        return json.dumps(
            [[s.code, s.type, s.default, s.parent, list(s.values), s.ordinal] for s in self.shapes],
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> EvidenceSpace:
        """Restore a space written by ``to_json``."""
        return cls(tuple(EvidenceShape(c, t, d, p, tuple(v), o) for c, t, d, p, v, o in json.loads(text)))

    @cached_property
    def codes(self) -> list[str]:
        """Base evidence codes, the first columns."""
        return [shape.code for shape in self.shapes]

    @cached_property
    def names(self) -> list[str]:
        """Names of all columns, ``age`` and ``sex`` last."""
        value_names = [
            f"{shape.code}{VALUE_SEPARATOR}{value}"
            for shape in self.shapes
            for value in _value_columns(shape)
        ]
        levels = [f"{shape.code}{LEVEL}" for shape in self.shapes if shape.ordinal]
        return [*self.codes, *value_names, *levels, "age", "sex"]

    @cached_property
    def index(self) -> dict[str, int]:
        """Column of a name."""
        return {name: i for i, name in enumerate(self.names)}

    @property
    def n_features(self) -> int:
        """Number of columns, age and sex included."""
        return len(self.names)

    @property
    def base(self) -> slice:
        """Columns of base evidences."""
        return slice(0, len(self.shapes))

    @cached_property
    def values(self) -> slice:
        """Columns of single values."""
        return slice(len(self.shapes), len(self.shapes) + sum(len(_value_columns(s)) for s in self.shapes))

    @property
    def levels(self) -> slice:
        """Columns of ordinal levels (not limited to -1, 0, 1)."""
        return slice(self.values.stop, self.n_features - 2)

    @property
    def age(self) -> int:
        """Column of the age."""
        return self.n_features - 2

    @property
    def sex(self) -> int:
        """Column of the sex."""
        return self.n_features - 1

    @cached_property
    def parents(self) -> np.ndarray:
        """(n_base,) int32: column of the question that an evidence hangs on, -1 where none."""
        return np.array([self.index[s.parent] if s.parent else -1 for s in self.shapes], dtype=np.int32)

    @cached_property
    def details(self) -> list[slice]:
        """For each base evidence, its value or level columns (an empty slice for yes/no evidences)."""
        result, start, level = [], self.values.start, self.levels.start
        for shape in self.shapes:
            if shape.ordinal:
                result.append(slice(level, level + 1))
                level += 1
            else:
                count = len(_value_columns(shape))
                result.append(slice(start, start + count))
                start += count
        return result

    @cached_property
    def answers(self) -> dict[str, tuple[int, int, int]]:
        """Legal answers: name -> (base column or -1, detail column or -1, level).

        The default answer has base column -1: it says that the evidence is absent; its level then holds the
        column.
        """
        legal: dict[str, tuple[int, int, int]] = {}
        for column, shape in enumerate(self.shapes):
            legal[shape.code] = (column, -1, UNKNOWN)
            for value in shape.values:
                name = f"{shape.code}{VALUE_SEPARATOR}{value}"
                if value == shape.default:
                    legal[name] = (-1, -1, column)
                elif shape.ordinal:
                    legal[name] = (column, self.details[column].start, int(value))
                else:
                    legal[name] = (column, self.index[name], PRESENT)
        return legal

    def encode(
        self,
        evidence: Sequence[str],
        unknown: Sequence[str] = (),
        age: float | None = None,
        sex: str | None = None,
        *,
        absent: Sequence[str] | None = None,
    ) -> np.ndarray:
        """Encode one person.

        Args:
            evidence: what is present, as ``E_91``, ``E_55`` (value not known) or ``E_54_@_V_161``.
            unknown: base codes with no answer.
            age: years, 0 to 130, or None.
            sex: ``M``, ``F``, ``unknown`` or None.
            absent: what is known to be absent. None: everything not named is absent (a complete record).
                A list, even an empty one: everything not named is unknown (a consultation under way).

        Returns:
            (n_features,) int8.

        Raises:
            EvidenceError: see ``validate``; or an age or sex that is not allowed.
        """
        self.validate(evidence, unknown, absent or ())
        row = np.full(self.n_features, ABSENT if absent is None else UNKNOWN, dtype=np.int8)
        for code in unknown:
            self._set(row, self.index[code], UNKNOWN)
        for answer in absent or ():
            self._deny(row, answer)
        for answer in sorted(evidence, key=len):  # bare codes before their values
            base, detail, level = self.answers[answer]
            if base < 0:
                self._set(row, level, ABSENT)
                continue
            columns = self.details[base]
            if detail < 0:
                self._set(row, base, UNKNOWN)
            elif row[base] != PRESENT or (row[columns] <= ABSENT).all():
                row[columns] = ABSENT
            row[base] = PRESENT
            if detail >= 0:
                row[detail] = level
        self._propagate(row[None, :])
        row[self.age], row[self.sex] = encode_age([age])[0], encode_sex([sex])[0]
        return row

    def encode_table(self, patients: pa.Table | pa.RecordBatch) -> np.ndarray:
        """Encode rows of ``clinical/common_patients`` (columns evidence, unknown, age, sex).

        Values that exclude each other are the reader's to reject (``validate``); the rest is checked here.

        Returns:
            (n, n_features) int8.

        Raises:
            EvidenceError: an unknown name, or an evidence both present and unknown; the message has the row.
        """
        matrix = np.zeros((patients.num_rows, self.n_features), dtype=np.int8)
        rows, codes, names = _flatten(patients.column("unknown"))
        for number, name in enumerate(names):
            where = rows[codes == number]
            self.validate((), [name], row=int(where[0]))
            column = self.index[name]
            matrix[where, column] = UNKNOWN
            matrix[where, self.details[column]] = UNKNOWN
        self._fill(matrix, *_flatten(patients.column("evidence")))
        self._propagate(matrix)
        matrix[:, self.age] = encode_age(patients.column("age").to_numpy(zero_copy_only=False))
        matrix[:, self.sex] = encode_sex(patients.column("sex").to_pylist())
        return matrix

    def decode(self, row: np.ndarray) -> tuple[list[str], list[str]]:
        """Return (evidence, unknown) of an encoded row: ``encode`` of them gives the row again."""
        evidence, unknown = [], []
        for column, shape in enumerate(self.shapes):
            if row[column] == UNKNOWN:
                unknown.append(shape.code)
            elif row[column] == PRESENT:
                columns = self.details[column]
                known = np.flatnonzero(row[columns] >= PRESENT)
                if shape.ordinal and len(known):
                    evidence.append(f"{shape.code}{VALUE_SEPARATOR}{row[columns.start]}")
                else:
                    evidence.extend([self.names[columns.start + i] for i in known] or [shape.code])
        return evidence, unknown

    def _set(self, row: np.ndarray, column: int, state: int) -> None:
        row[column] = state
        row[self.details[column]] = state

    def _deny(self, row: np.ndarray, answer: str) -> None:
        base, _, value = answer.partition(VALUE_SEPARATOR)
        column = self.index[base]
        if not value:
            self._set(row, column, ABSENT)
        elif value == self.shapes[column].default:
            row[column] = PRESENT
        elif not self.shapes[column].ordinal:
            row[self.index[answer]] = ABSENT

    def _fill(self, matrix: np.ndarray, rows: np.ndarray, codes: np.ndarray, names: list[str]) -> None:
        """Write the present answers ``names[codes[i]]`` of ``rows[i]`` over the unknown ones."""
        for number, name in enumerate(names):
            if name not in self.answers:
                self.check_code(name, row=int(rows[np.argmax(codes == number)]))
        lookup = np.array([self.answers[name] for name in names], dtype=np.int32).reshape(-1, 3)
        base, detail, level = (lookup[codes, i] for i in range(3))
        clash = np.flatnonzero(matrix[rows, np.where(base < 0, level, base)] == UNKNOWN)
        if len(clash):
            first = clash[0]
            raise EvidenceError(
                "unknown", names[codes[first]], "both present and unknown", row=int(rows[first])
            )
        present = base >= 0
        matrix[rows[present], base[present]] = PRESENT
        bare = (lookup[:, 0] >= 0) & (lookup[:, 1] < 0)
        for name_number in np.flatnonzero(bare):  # their values are not known
            matrix[rows[codes == name_number], self.details[lookup[name_number, 0]]] = UNKNOWN
        valued = detail >= 0
        for column in np.unique(base[valued]):
            columns, where = self.details[column], rows[valued & (base == column)]
            if (matrix[where, columns.start] == UNKNOWN).any():
                matrix[where, columns] = ABSENT
        matrix[rows[valued], detail[valued]] = level[valued]

    def _propagate(self, matrix: np.ndarray) -> None:
        """A present detail makes its parent present; other details follow an unknown or absent parent."""
        for child in np.flatnonzero(self.parents >= 0):
            parent = self.parents[child]
            present = matrix[:, child] == PRESENT
            matrix[present, parent] = PRESENT
            for state in (UNKNOWN, ABSENT):
                where = (matrix[:, parent] == state) & (matrix[:, child] != state)
                if where.any():
                    matrix[where, child] = state
                    matrix[where, self.details[child]] = state


def _value_columns(shape: EvidenceShape) -> list[str]:
    return [] if shape.ordinal else [value for value in shape.values if value != shape.default]


def _flatten(column: pa.Array | pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return (row, number of the name) of each entry of a list<string> column, and the names."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = pc.list_flatten(array).dictionary_encode()
    rows = pc.list_parent_indices(array).to_numpy()
    return rows, encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
