"""P(answer | condition) of every question about a common condition: what the inquiry reasons with.

What belongs here: the tables, how they are made from the reference figures and (where a source has them) from
patients, and how they are kept. What does not: choosing questions (``features.inquiry``), the trained
ensemble.

Yes/no questions take their probability from the reference table. What a person answers to a categorical or
multi-choice question (where does it hurt, how strongly, what colour) stands in no reference table; it is
counted over training patients where there are any, and such questions are not asked otherwise. Counts are
drawn towards the distribution over all conditions (Dirichlet smoothing), and the values of a multi-choice
answer count with half their weight, because they are not independent of one another.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medassets.knowledge.common_conditions import VALUE_SEPARATOR, CommonKnowledge, Evidence

FloatArray = NDArray[np.float64]

#: Upper ends (exclusive) of DDXPlus's age groups; the last group is open.
AGE_BOUNDS = np.array([1, 5, 15, 30, 45, 60, 75])
SEXES = ("F", "M")
#: Chance that an answer is wrong: no answer is impossible, because people err, and so do records.
ERROR_RATE = 5e-3
#: Pseudo-patients that pull a condition's value, age and sex distributions towards everybody's.
VALUE_STRENGTH, AGE_STRENGTH = 2.0, 100.0
#: Weight of each value of a multi-choice answer, and how many different answers stand for all when
#: information is weighed.
MULTI_WEIGHT, MULTI_ANSWERS = 0.5, 150


@dataclass(frozen=True)
class AnswerTables:
    """Probability of answers; conditions and questions keep the knowledge's order.

    Attributes:
        conditions: names, c of them.
        codes: base codes of the questions, q of them.
        values: ``code_@_value`` of every legal value, v of them; of each question the default first.
        log_prior: (c,) log relative frequency; ``log_age`` (c, 8) and ``log_sex`` (c, 2) come on top of it.
        parent: (q,) question that must be positive for this one to apply, -1 where none.
        askable: (q,) bool, whether an answer would say anything.
        outcome_start: (q + 1,) columns of each question in ``outcome``; the first of a question is "no" or
            its default.
        outcome: (c, o) P(outcome | condition); where the question has a parent, whatever the parent's answer
            is.
        outcome_given: the same once the parent is known to be positive.
        value_start: (q + 1,) columns of each question in ``value_weight``.
        value_weight: (c, v) log-likelihood that a value adds; ``base_weight`` (c, q) what a positive answer
            adds.
        n_patients: training patients behind the value, age and sex tables.
        error_rate: chance of a wrong answer that bounds every probability.
    """

    conditions: tuple[str, ...]
    codes: tuple[str, ...]
    values: tuple[str, ...]
    log_prior: FloatArray
    log_age: FloatArray
    log_sex: FloatArray
    parent: NDArray[np.int64]
    askable: NDArray[np.bool_]
    outcome_start: NDArray[np.int64]
    outcome: FloatArray
    outcome_given: FloatArray
    value_start: NDArray[np.int64]
    value_weight: FloatArray
    base_weight: FloatArray
    n_patients: int
    error_rate: float

    @property
    def is_binary(self) -> NDArray[np.bool_]:
        """(q,) bool: yes/no questions."""
        return np.diff(self.value_start) == 0

    def save(self, directory: Path) -> None:
        """Write ``answers.json`` and one ``.npy`` an array; the same tables give the same bytes."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(directory / f"{name}.npy", getattr(self, name), allow_pickle=False)
        names = {name: getattr(self, name) for name in _IN_JSON}
        (directory / "answers.json").write_text(
            json.dumps(names, ensure_ascii=False, indent=1), encoding="utf-8"
        )

    @classmethod
    def load(cls, directory: Path) -> AnswerTables:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: the folder lacks a file.
        """
        names = json.loads((directory / "answers.json").read_text(encoding="utf-8"))
        content: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in names.items()}
        for name in _ARRAYS:
            content[name] = np.load(directory / f"{name}.npy", allow_pickle=False)
        return cls(**content)


_IN_JSON = ("conditions", "codes", "values", "n_patients", "error_rate")
_ARRAYS = tuple(f.name for f in fields(AnswerTables) if f.name not in _IN_JSON)


def fit_answer_tables(
    knowledge: CommonKnowledge, patients: pa.Table | None = None, *, error_rate: float = ERROR_RATE
) -> AnswerTables:
    """Make the tables from the reference figures and, where given, training patients.

    Args:
        knowledge: conditions, evidences and figures.
        patients: rows of ``clinical/common_patients`` (training part only); ``None`` or no rows leave
            categorical questions unasked and age and sex without influence.
        error_rate: chance that any answer is wrong.

    Raises:
        ValueError: a patient's condition or an evidence's value is not in the knowledge.
    """
    counts = _Counts(knowledge, patients)
    parent = np.where(knowledge.measured, -1, knowledge.parents).astype(np.int64)
    outcome, given, weights, bases, askable, names = [], [], [], [], [], []
    for j, evidence in enumerate(knowledge.evidences):
        if evidence.type == "B":
            yes = np.clip(knowledge.recorded[:, j], error_rate, 1 - error_rate)
            block = np.stack([1 - yes, yes], axis=1)
            weight, base = np.zeros((len(yes), 0)), np.zeros(len(yes))
        else:
            block, weight, base = _value_tables(evidence, j, counts, error_rate)
            names += [f"{evidence.code}{VALUE_SEPARATOR}{value}" for value in ordered_values(evidence)]
        applies = np.ones(len(block))
        if parent[j] >= 0:
            applies = np.clip(knowledge.recorded[:, parent[j]], error_rate, 1 - error_rate)
        whatever = applies[:, None] * block
        whatever[:, 0] += 1 - applies
        outcome.append(whatever)
        given.append(block)
        weights.append(weight)
        bases.append(base)
        askable.append(evidence.type == "B" or counts.applicable[j].any())
    return AnswerTables(
        conditions=tuple(knowledge.condition_names),
        codes=tuple(knowledge.codes),
        values=tuple(names),
        log_prior=np.log(knowledge.prior),
        log_age=_log_smoothed(counts.age),
        log_sex=_log_smoothed(counts.sex),
        parent=parent,
        askable=np.array(askable, dtype=bool),
        outcome_start=_starts(outcome),
        outcome=np.hstack(outcome),
        outcome_given=np.hstack(given),
        value_start=_starts(weights),
        value_weight=np.hstack(weights),
        base_weight=np.stack(bases, axis=1),
        n_patients=0 if patients is None else patients.num_rows,
        error_rate=error_rate,
    )


def ordered_values(evidence: Evidence) -> list[str]:
    """Legal values of an evidence, its default first; empty for yes/no evidences."""
    codes = list(evidence.value_codes)
    return sorted(codes, key=lambda code: (code != evidence.default, codes.index(code)))


def age_group(age: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of DDXPlus's age group (0: under 1 year, 7: 75 and over) of ages in years, (n,)."""
    return np.searchsorted(AGE_BOUNDS, age, side="right").astype(np.int64)


class _Counts:
    """What training patients answered: counts by condition."""

    def __init__(self, knowledge: CommonKnowledge, patients: pa.Table | None) -> None:
        n = len(knowledge.conditions)
        self.age = np.zeros((n, len(AGE_BOUNDS) + 1))
        self.sex = np.zeros((n, len(SEXES)))
        #: of each question: patients to whom it applied, and how many of them named each value
        self.applicable = np.zeros((len(knowledge.codes), n))
        self.named = [np.zeros((n, len(evidence.values))) for evidence in knowledge.evidences]
        #: of each question: whole answers (columns of the values named), and how often each was given
        self.answers: list[Counter[tuple[int, ...]]] = [Counter() for _ in knowledge.codes]
        if patients is not None and patients.num_rows:
            self._add(knowledge, patients)

    def _add(self, knowledge: CommonKnowledge, patients: pa.Table) -> None:
        ages = patients.column("age").to_numpy(zero_copy_only=False)
        groups = age_group(np.nan_to_num(ages.astype(np.float64), nan=-1.0))
        valued = [j for j in range(len(knowledge.codes)) if not knowledge.measured[j]]
        columns = [{v: i for i, v in enumerate(ordered_values(e))} for e in knowledge.evidences]
        rows = zip(
            patients.column("condition").to_pylist(),
            patients.column("sex").to_pylist(),
            patients.column("evidence").to_pylist(),
            groups,
            ages == ages,
            strict=True,
        )
        for condition, sex, evidence, group, has_age in rows:
            if condition not in knowledge.condition_index:
                raise ValueError(
                    f"condition {condition!r} of a training patient is not among the known conditions"
                )
            c = knowledge.condition_index[condition]
            self.age[c, group] += has_age
            if sex in SEXES:
                self.sex[c, SEXES.index(sex)] += 1
            named = split_evidence(evidence)
            for j in valued:
                parent = knowledge.parents[j]
                values = named.get(knowledge.codes[j])
                if not values or (parent >= 0 and knowledge.codes[parent] not in named):
                    continue
                unknown = [value for value in values if value not in columns[j]]
                if unknown:
                    raise ValueError(
                        f"{knowledge.codes[j]} has no value {unknown[0]!r}; allowed: {', '.join(columns[j])}"
                    )
                picked = tuple(sorted({columns[j][value] for value in values}))
                self.applicable[j, c] += 1
                self.named[j][c, list(picked)] += 1
                self.answers[j][picked] += 1


def split_evidence(evidence: list[str]) -> dict[str, list[str]]:
    """Group DDXPlus evidence strings by base code: ``{"E_54": ["V_161"], "E_91": []}``."""
    named: dict[str, list[str]] = {}
    for item in evidence:
        code, _, value = item.partition(VALUE_SEPARATOR)
        values = named.setdefault(code, [])
        if value:
            values.append(value)
    return named


def _value_tables(
    evidence: Evidence, j: int, counts: _Counts, error_rate: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Tables of question ``j``, categorical or multi-choice.

    Returns:
        P(outcome | condition) (c, k), first outcome "default"; what each value adds to the log-likelihood
        (c, v); what any answer adds (c,).
    """
    named, applicable = counts.named[j], counts.applicable[j][:, None]
    size = named.shape[1]
    pooled = (named.sum(0) + 0.5) / (applicable.sum() + 0.5 * size)
    if evidence.type == "C":
        pooled /= pooled.sum()
    chance = (named + VALUE_STRENGTH * pooled) / (applicable + VALUE_STRENGTH)
    if evidence.type == "C":
        return chance, np.log(chance), np.zeros(len(chance))
    chance = np.clip(chance, error_rate, 1 - error_rate)
    yes, no = MULTI_WEIGHT * np.log(chance), MULTI_WEIGHT * np.log1p(-chance)
    common = sorted(counts.answers[j].items(), key=lambda item: (-item[1], item[0]))[:MULTI_ANSWERS]
    answers = [(0,), *(answer for answer, _ in common if answer != (0,))]
    picked = np.zeros((len(answers), size))
    for row, answer in enumerate(answers):
        picked[row, list(answer)] = 1
    likelihood = picked @ (yes - no).T + no.sum(1)
    block = np.exp(likelihood - likelihood.max(0)).T
    return block / block.sum(1, keepdims=True), yes - no, no.sum(1)


def _log_smoothed(counted: FloatArray) -> FloatArray:
    """Log P(group | condition), drawn towards everybody's distribution; zeros where nothing was counted."""
    if not counted.any():
        return np.zeros_like(counted)
    pooled = (counted.sum(0) + 1) / (counted.sum() + counted.shape[1])
    share = (counted + AGE_STRENGTH * pooled) / (counted.sum(1, keepdims=True) + AGE_STRENGTH)
    return np.asarray(np.log(share))


def _starts(blocks: list[FloatArray]) -> NDArray[np.int64]:
    return np.cumsum([0, *(block.shape[1] for block in blocks)], dtype=np.int64)
