"""Which answers about a person are legal, and which contradict each other.

What belongs here: the form of an evidence without its wording, the check of answers, and the codes of age and
sex. What does not: columns of the symptom matrix (``medassets.features.common``). On the serving path: numpy
only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from medassets.knowledge.common_conditions import VALUE_SEPARATOR

PRESENT, ABSENT, UNKNOWN = 1, 0, -1
MAX_AGE = 130
#: Ages are encoded up to this one (the matrix is int8); older people count as this old.
AGE_CEILING = 120
SEX_CODES = {"M": 1, "F": 0, "unknown": UNKNOWN}


class EvidenceError(ValueError):
    """An answer that cannot be used; ``field``, ``value`` and ``allowed`` say which, and what would be
    accepted.
    """

    def __init__(
        self, field: str, value: object, reason: str, allowed: str = "", row: int | None = None
    ) -> None:
        place = field if row is None else f"row {row}: {field}"
        super().__init__(f"{place}: {value!r}: {reason}" + (f"; {allowed}" if allowed else ""))
        self.field, self.value, self.reason, self.allowed, self.row = field, value, reason, allowed, row


@dataclass(frozen=True, slots=True)
class EvidenceShape:
    """What the encoding needs to know of an evidence: no wording."""

    code: str
    type: str
    default: str
    parent: str | None
    values: tuple[str, ...]
    ordinal: bool


@dataclass(frozen=True)
class AnswerRules:
    """The legal answers about a set of evidences."""

    shapes: tuple[EvidenceShape, ...]

    @cached_property
    def by_code(self) -> dict[str, EvidenceShape]:
        """The evidence of a base code."""
        return {shape.code: shape for shape in self.shapes}

    @cached_property
    def legal(self) -> frozenset[str]:
        """Names of all legal answers, bare codes included."""
        return frozenset(
            name
            for shape in self.shapes
            for name in (shape.code, *(f"{shape.code}{VALUE_SEPARATOR}{value}" for value in shape.values))
        )

    def check_code(self, answer: str, field: str = "evidence", row: int | None = None) -> None:
        """Check one answer's name.

        Raises:
            EvidenceError: the evidence or its value is not known; the message has near matches.
        """
        if answer in self.legal:
            return
        base, separator, value = answer.partition(VALUE_SEPARATOR)
        if base not in self.by_code:
            near = difflib.get_close_matches(answer, list(self.by_code), n=3, cutoff=0.5)
            hint = f"near matches: {', '.join(near)}" if near else "codes look like E_91 or E_54_@_V_161"
            raise EvidenceError(field, answer, "unknown evidence", hint, row)
        shape = self.by_code[base]
        if shape.type == "B" or not separator:
            raise EvidenceError(
                field, answer, f"{base} is a yes/no evidence and takes no value", f"use {base}", row
            )
        near = difflib.get_close_matches(value, shape.values, n=3, cutoff=0.5) or list(shape.values[:12])
        raise EvidenceError(
            field, answer, f"{base} has no value {value!r}", f"near matches: {', '.join(near)}", row
        )

    def validate(
        self,
        evidence: Iterable[str],
        unknown: Iterable[str] = (),
        absent: Iterable[str] = (),
        row: int | None = None,
    ) -> None:
        """Check the answers of one person.

        Raises:
            EvidenceError: an unknown name or value, two values where one is allowed, the same evidence both
                present and absent or unknown, or a detail of an evidence that is said to be absent.
        """
        present: dict[str, set[str]] = {}
        for answer in evidence:
            self.check_code(answer, "evidence", row)
            base, _, value = answer.partition(VALUE_SEPARATOR)
            present.setdefault(base, set()).add(value)
        for base, given in present.items():
            shape = self.by_code[base]
            named = given - {""}
            if (shape.type == "C" and len(named) > 1) or (shape.default in named and len(named) > 1):
                raise EvidenceError(
                    "evidence", sorted(named), f"{base} has values that exclude each other", row=row
                )
        denied = set(absent)
        for answer in denied:
            self.check_code(answer, "absent", row)
            if answer.partition(VALUE_SEPARATOR)[2] in present.get(answer.partition(VALUE_SEPARATOR)[0], ()):
                raise EvidenceError("absent", answer, "both present and absent", row=row)
        for code in unknown:
            if code not in self.by_code:
                self.check_code(code, "unknown", row)
                raise EvidenceError(
                    "unknown", code, "a single value cannot be unknown", "use the base code", row
                )
            if code in present or code in denied:
                where = "present" if code in present else "absent"
                raise EvidenceError("unknown", code, f"both unknown and {where}", row=row)
        for base, given in present.items():
            shape = self.by_code[base]
            positive = given - {shape.default}
            if positive and base in denied:
                raise EvidenceError(
                    "absent", base, f"absent, but a value of it is present: {sorted(given)}", row=row
                )
            if positive and shape.parent in denied:
                raise EvidenceError(
                    "absent", shape.parent, f"absent, but its detail {base} is present", row=row
                )


def encode_age(ages: Sequence[float | None] | np.ndarray) -> np.ndarray:
    """Return ages as int8 whole years, -1 where not known; ages above ``AGE_CEILING`` become it.

    Raises:
        EvidenceError: an age outside 0..130.
    """
    years = np.array([np.nan if age is None else age for age in ages], dtype=np.float64)
    wrong = np.flatnonzero((years < 0) | (years > MAX_AGE))
    if len(wrong):
        raise EvidenceError(
            "age", float(years[wrong[0]]), "impossible age", f"0 to {MAX_AGE} years", int(wrong[0])
        )
    return np.where(np.isnan(years), UNKNOWN, np.minimum(years, AGE_CEILING)).astype(np.int8)


def encode_sex(sexes: Sequence[str | None]) -> np.ndarray:
    """Return sexes as int8: 1 male, 0 female, -1 not known.

    Raises:
        EvidenceError: a sex other than M, F and unknown.
    """
    for row, sex in enumerate(sexes):
        if sex is not None and sex not in SEX_CODES:
            raise EvidenceError("sex", sex, "unknown sex", f"one of {', '.join(SEX_CODES)}", row)
    return np.array([SEX_CODES[sex or "unknown"] for sex in sexes], dtype=np.int8)
