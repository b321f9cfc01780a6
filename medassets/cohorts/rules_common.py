"""Medical rules of patients with common conditions.

What belongs here: the rules over ``clinical/common_patients``. What does not: those of rare cases and what a
rule is (``medassets.cohorts.rules``), and answers that no evidence has (the reader sets those aside).

The tolerated shares are those of official DDXPlus rows with room to spare: 2.6 % of them name a place of the
body that only the other sex has, and 1.0 % a pregnancy or period at an impossible age.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medassets.cohorts.rules import AGE_POSSIBLE, Rule, Violation, impossible_ages, violations_table
from medassets.knowledge.common_conditions import VALUE_SEPARATOR, CommonKnowledge

#: Least and greatest age in years at which an evidence can be present.
EVIDENCE_AGES = {
    "E_167": (8, 65),  # pregnant or possibly pregnant
    "E_145": (8, 65),  # heavy or long periods
    "E_141": (8, 130),  # first period before age 12
}
_ANY_AGE = (-np.inf, np.inf)

CONDITION_KNOWN = Rule("condition_known", "the condition is one of the reference table", 0.0)
ONE_ANSWER = Rule("present_or_unknown", "no evidence is both present and unanswered", 0.0)
EVIDENCE_FITS_SEX = Rule("evidence_fits_sex", "no evidence belongs to the other sex alone", 0.1)
EVIDENCE_FITS_AGE = Rule("evidence_fits_age", "no evidence that is impossible at this age", 0.1)

COMMON_RULES = (AGE_POSSIBLE, CONDITION_KNOWN, ONE_ANSWER, EVIDENCE_FITS_SEX, EVIDENCE_FITS_AGE)


def check_common(patients: pa.Table, knowledge: CommonKnowledge) -> pa.Table:
    """Return every violation of ``COMMON_RULES`` in ``clinical/common_patients``.

    Args:
        patients: the table; a million rows take seconds.
        knowledge: conditions and evidences that the patients refer to.

    Returns:
        ``clinical/rule_violations``, ordered by rule and then as the rows stand.
    """
    ids = patients.column("patient_id")
    sex = pc.index_in(patients.column("sex"), pa.array(["M", "F"])).to_numpy(zero_copy_only=False)
    age = patients.column("age").to_numpy(zero_copy_only=False).astype(np.float64)
    conditions = patients.column("condition")
    known = pc.is_in(conditions, pa.array(knowledge.condition_names, type=pa.string()))
    strange = pc.and_(pc.is_valid(conditions), pc.invert(known)).to_numpy(zero_copy_only=False)
    rows: list[Violation] = impossible_ages(patients, "patient_id", "age", 1.0)
    for i in np.flatnonzero(strange).tolist():
        name = conditions[i].as_py()
        rows.append((ids[i].as_py(), CONDITION_KNOWN, "condition", name, "not in the reference table"))

    present, unknown = _Answers(patients, "evidence"), _Answers(patients, "unknown")
    bases = {name: i for i, name in enumerate(sorted({*present.bases, *unknown.bases}))}
    both = _among(present.keys(bases), unknown.keys(bases))
    rows += present.violations(both, ids, ONE_ANSWER, lambda p, code: "present and unanswered at once")

    sexes = _sex_of_codes(knowledge)
    own = present.lookup(lambda code: {"M": 0.0, "F": 1.0}.get(sexes.get(code, ""), np.nan))
    wrong_sex = 1 - own == sex[present.patient]
    rows += present.violations(
        wrong_sex,
        ids,
        EVIDENCE_FITS_SEX,
        lambda p, code: f"of sex {sexes[code]} alone, in a person of the other",
    )
    least = present.lookup(lambda code: EVIDENCE_AGES.get(code, _ANY_AGE)[0])
    most = present.lookup(lambda code: EVIDENCE_AGES.get(code, _ANY_AGE)[1])
    ages = age[present.patient]
    rows += present.violations(
        (ages < least) | (ages > most),
        ids,
        EVIDENCE_FITS_AGE,
        lambda p, code: f"at {age[p]:g} years; possible from {' to '.join(map(str, EVIDENCE_AGES[code]))}",
    )
    return violations_table(rows)


class _Answers:
    """A list column as aligned arrays: which patient (row) names which code."""

    def __init__(self, patients: pa.Table, column: str) -> None:
        lists = patients.column(column).combine_chunks()
        encoded = pc.list_flatten(lists).dictionary_encode()
        self.patient = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
        self.names: list[str] = encoded.dictionary.to_pylist()
        self.bases = [name.split(VALUE_SEPARATOR)[0] for name in self.names]
        self._code = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)

    def keys(self, bases: Mapping[str, int]) -> np.ndarray:
        """Return one integer for each entry that names patient and base code together."""
        return (
            self.patient * len(bases) + np.array([bases[b] for b in self.bases], dtype=np.int64)[self._code]
        )

    def lookup(self, value: Callable[[str], float]) -> np.ndarray:
        """Return ``value`` of each entry's code, each distinct code asked once."""
        return np.array([value(name) for name in self.names], dtype=np.float64)[self._code]

    def violations(
        self, broken: np.ndarray, ids: pa.ChunkedArray, rule: Rule, reason: Callable[[int, str], str]
    ) -> list[Violation]:
        """Return a violation for each entry marked in ``broken``; ``reason`` gets row and code."""
        entries = [(int(self.patient[i]), self.names[self._code[i]]) for i in np.flatnonzero(broken)]
        return [(ids[row].as_py(), rule, "evidence", code, reason(row, code)) for row, code in entries]


def _among(keys: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which keys stand among the others; for keys in rising order far faster than ``numpy.isin``."""
    if not len(others):
        return np.zeros(len(keys), dtype=bool)
    ordered = np.sort(others)
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    return ordered[places] == keys


def _sex_of_codes(knowledge: CommonKnowledge) -> dict[str, str]:
    """Return the sex of each code, bare or with a value, that only one sex can have."""
    sexes: dict[str, str] = {}
    for evidence in knowledge.evidences:
        if evidence.sex:
            sexes[evidence.code] = evidence.sex
        for value in evidence.values:
            if sex := value.sex or evidence.sex:
                sexes[f"{evidence.code}{VALUE_SEPARATOR}{value.code}"] = sex
    return sexes
