"""Simulated patients with common conditions, and the masking of answers that robustness is measured with.

What belongs here: drawing patients from the reference table (``CommonKnowledge``), every row with
``origin = simulated``, and hiding or falsifying answers of any ``clinical/common_patients`` table. What does
not: synthetic patients learned from records (CTGAN) and rare-disease cases.

Method: evidences are independent given the condition, as in naive Bayes, except that a detail (place of the
    pain)
is there only if its question (pain) is. The table has no ages, sexes, values or differentials, so:

- age follows the WHO World Standard Population (Ahmad et al. 2001, five-year bands) and sex is even, for
  every
  condition alike: neither says anything about the condition;
- evidences of one sex are absent in the other and proportionally more frequent in theirs;
- a categorical or multi-choice evidence is named bare (``E_55``: present, value not known), or with an evenly
  drawn value on request (``draw_values``): the values then say nothing about the condition;
- differentials are null.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medassets.cohorts.schema import conform
from medassets.cohorts.tables_common import COMMON_PATIENTS
from medassets.ingest.common_patients import list_column, with_completeness
from medassets.knowledge.common_conditions import VALUE_SEPARATOR, CommonKnowledge

ORIGIN = "simulated"

#: Per cent of the WHO World Standard Population in the bands 0-4, 5-9, ..., 95-99 years.
WORLD_STANDARD = (
    8.86, 8.69, 8.60, 8.47, 8.22, 7.93, 7.61, 7.15, 6.59, 6.04,
    5.37, 4.55, 3.72, 2.96, 2.21, 1.52, 0.91, 0.44, 0.15, 0.04,
)  # fmt: skip


def simulate(
    knowledge: CommonKnowledge,
    *,
    seed: int,
    per_condition: int | None = None,
    total: int | None = None,
    missing_rate: float = 0.0,
    noise_rate: float = 0.0,
    draw_values: bool = False,
) -> pa.Table:
    """Draw patients from the reference table.

    Args:
        knowledge: the figures.
        seed: the same seed and arguments give the same rows.
        per_condition: patients for each condition; or
        total: patients in all, conditions by their relative frequency. Exactly one of the two.
        missing_rate: share of answers that are left unknown; the initial evidence is always answered.
        noise_rate: share of answers that are wrong; the initial evidence is always right.
        draw_values: name categorical evidences with an evenly drawn value instead of bare.

    Returns:
        Rows of ``clinical/common_patients``.

    Raises:
        ValueError: not exactly one of ``per_condition`` and ``total``, or a rate outside 0..1.
    """
    if (per_condition is None) == (total is None):
        raise ValueError("give exactly one of per_condition and total")
    rng = np.random.default_rng(seed)
    if per_condition is not None:
        conditions = np.repeat(np.arange(len(knowledge.conditions)), per_condition)
    else:
        conditions = rng.choice(len(knowledge.conditions), size=total, p=knowledge.prior)
    count = len(conditions)
    female = rng.random(count) < 0.5
    present = _draw_answers(knowledge, conditions, female, rng)
    initial = _draw_initial(knowledge, conditions, present, rng)
    wrong = _falsify(knowledge, present, noise_rate, rng, initial, np.where(female, "F", "M"))
    state = _hide(knowledge, wrong, missing_rate, rng, keep=initial)
    values = _draw_values(knowledge, state, female, rng) if draw_values else None
    codes = pa.array(knowledge.codes, pa.string())
    return _patients(
        knowledge,
        {
            "patient_id": pa.array([f"sim-{seed}-{i:07d}" for i in range(count)]),
            "age": pa.array(_draw_ages(count, rng)),
            "sex": pc.if_else(pa.array(female), "F", "M"),
            "condition": pa.array(knowledge.condition_names).take(pa.array(conditions)),
            "initial_evidence": codes.take(pa.array(initial, mask=initial < 0)),
            "origin": pa.repeat(ORIGIN, count),
        },
        state,
        values,
    )


def mask(
    patients: pa.Table,
    knowledge: CommonKnowledge,
    *,
    seed: int,
    unknown_rate: float = 0.0,
    wrong_rate: float = 0.0,
    keep_initial: bool = True,
) -> pa.Table:
    """Hide and falsify answers of any patients, for robustness reports.

    Each yes/no answer is turned round with chance ``wrong_rate`` (those that only the other sex can give are
    not); a positive categorical answer is denied with that chance, and a denied one whose question applies
    becomes present, value not known. Then each answer is hidden with chance ``unknown_rate``. Details under a
    hidden question are hidden, under a denied question absent. Values that are neither hidden nor denied stay
    as they were.

    Args:
        patients: rows of ``clinical/common_patients``.
        knowledge: the evidences.
        seed: the same seed and table give the same rows.
        unknown_rate: share of answers hidden, on top of those that already are.
        wrong_rate: share of answers falsified.
        keep_initial: leave the initial evidence, which the person came with, as it is.

    Returns:
        The same patients in the same order; ``origin`` is kept.

    Raises:
        ValueError: a rate outside 0..1.
        KeyError: an evidence code that ``knowledge`` does not have.
    """
    rng = np.random.default_rng(seed)
    state, values = _read_state(knowledge, patients)
    initial = np.full(patients.num_rows, -1)
    if keep_initial:
        names = patients.column("initial_evidence").to_pylist()
        initial = np.array([knowledge.evidence_index[name] if name else -1 for name in names], dtype=np.int64)
    hidden = state < 0
    told = np.where(hidden, 0, state).astype(np.int8)
    state = _falsify(knowledge, told, wrong_rate, rng, initial, np.array(patients.column("sex").to_pylist()))
    state[hidden] = -1
    state = _hide(knowledge, state, unknown_rate, rng, keep=initial)
    kept = {
        name: patients.column(name) for name in patients.column_names if name not in ("evidence", "unknown")
    }
    return _patients(knowledge, kept, state, values)


@dataclass(frozen=True)
class _Values:
    """Named answers with values: answer ``names[number]`` of evidence ``column`` in row ``row``."""

    row: np.ndarray
    column: np.ndarray
    number: np.ndarray
    names: list[str]


def _rate(name: str, rate: float) -> float:
    if not 0 <= rate <= 1:
        raise ValueError(f"{name} is {rate}, allowed: 0 to 1")
    return rate


def _draw_ages(count: int, rng: np.random.Generator) -> np.ndarray:
    share = np.array(WORLD_STANDARD) / sum(WORLD_STANDARD)
    return (5 * rng.choice(len(share), size=count, p=share) + rng.integers(0, 5, size=count)).astype(np.int16)


def _draw_answers(
    knowledge: CommonKnowledge, conditions: np.ndarray, female: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(n, n_evidences) int8, 1 present; a detail is drawn with its chance given that its question applies."""
    chance = np.stack([_given_parent(knowledge), _given_parent(knowledge)])  # of men, of women
    for column, evidence in enumerate(knowledge.evidences):
        if evidence.sex:
            own = int(evidence.sex == "F")
            chance[1 - own, :, column] = 0
            chance[own, :, column] = np.minimum(1, 2 * chance[own, :, column])
    present = np.empty((len(conditions), len(knowledge.evidences)), dtype=np.int8)
    for start in range(0, len(conditions), 50_000):
        rows = slice(start, start + 50_000)
        p = chance[female[rows].astype(int), conditions[rows]]
        present[rows] = rng.random(p.shape, dtype=np.float32) < p
    for child in np.flatnonzero(knowledge.parents >= 0):
        present[:, child] &= present[:, knowledge.parents[child]]
    return present


def _given_parent(knowledge: CommonKnowledge) -> np.ndarray:
    """P(evidence given condition and that its question applies), (n_conditions, n_evidences)."""
    chance = knowledge.probability.copy()
    for child in np.flatnonzero(knowledge.parents >= 0):
        parent = knowledge.probability[:, knowledge.parents[child]]
        chance[:, child] = np.divide(
            knowledge.probability[:, child], parent, out=np.zeros_like(parent), where=parent > 0
        )
    return np.minimum(chance, 1.0)


def _draw_initial(
    knowledge: CommonKnowledge, conditions: np.ndarray, present: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(n,) column of one present yes/no symptom, evenly drawn; where there is none, one is made present."""
    askable = np.array([e.type == "B" and not e.is_antecedent for e in knowledge.evidences])
    allowed = np.zeros(present.shape[1], dtype=bool)
    allowed[askable] = True
    weight = rng.random(present.shape, dtype=np.float32)
    weight[:, ~allowed] = 0
    weight *= present
    initial = weight.argmax(axis=1)
    empty = np.flatnonzero(weight.max(axis=1) == 0)
    if len(empty):
        # The likeliest symptom of the condition: a person without any complaint would not have come.
        likeliest = np.where(allowed, knowledge.probability, 0).argmax(axis=1)
        initial[empty] = likeliest[conditions[empty]]
        present[empty, initial[empty]] = 1
    return initial


def _falsify(
    knowledge: CommonKnowledge,
    present: np.ndarray,
    rate: float,
    rng: np.random.Generator,
    keep: np.ndarray,
    sex: np.ndarray,
) -> np.ndarray:
    """Turn answers round with chance ``rate``, then make details agree with their questions.

    An answer that only the other sex can give stays: nobody would write it down.
    """
    result = present.copy()
    if _rate("wrong rate", rate) == 0:
        return result
    turned = rng.random(present.shape, dtype=np.float32) < rate
    known = np.flatnonzero(keep >= 0)
    turned[known, keep[known]] = False
    for column, evidence in enumerate(knowledge.evidences):
        if evidence.sex:
            turned[(sex != evidence.sex) & (sex != "unknown"), column] = False
    result[turned] = 1 - result[turned]
    return _agree(knowledge, result)


def _hide(
    knowledge: CommonKnowledge, state: np.ndarray, rate: float, rng: np.random.Generator, keep: np.ndarray
) -> np.ndarray:
    """Set answers to -1 with chance ``rate``; a detail of a hidden question is hidden."""
    result = state.copy()
    if _rate("unknown rate", rate) == 0:
        return result
    hidden = rng.random(state.shape, dtype=np.float32) < rate
    known = np.flatnonzero(keep >= 0)
    hidden[known, keep[known]] = False
    result[hidden] = -1
    return _agree(knowledge, result)


def _agree(knowledge: CommonKnowledge, state: np.ndarray) -> np.ndarray:
    """Details under a hidden question become hidden, under an absent question absent."""
    for child in np.flatnonzero(knowledge.parents >= 0):
        parent = state[:, knowledge.parents[child]]
        state[:, child] = np.where(parent == 1, state[:, child], parent)
    return state


def _draw_values(
    knowledge: CommonKnowledge, state: np.ndarray, female: np.ndarray, rng: np.random.Generator
) -> _Values:
    """An evenly drawn value, possible for the person's sex, for each present categorical evidence."""
    names: list[str] = []
    parts = []
    for column, evidence in enumerate(knowledge.evidences):
        if evidence.type == "B":
            continue
        rows = np.flatnonzero(state[:, column] == 1)
        numbers = np.zeros(len(rows), dtype=np.int64)
        for sex, of_sex in (("M", ~female[rows]), ("F", female[rows])):
            legal = [v.code for v in evidence.values if v.code != evidence.default and v.sex in (None, sex)]
            numbers[of_sex] = len(names) + rng.integers(0, len(legal), size=int(of_sex.sum()))
            names.extend(f"{evidence.code}{VALUE_SEPARATOR}{value}" for value in legal)
        parts.append((rows, np.full(len(rows), column), numbers))
    row, column_of, number = (np.concatenate([part[i] for part in parts]) for i in range(3))
    return _Values(row, column_of, number, names)


def _read_state(knowledge: CommonKnowledge, patients: pa.Table) -> tuple[np.ndarray, _Values]:
    """(n, n_evidences) int8 states and the values named; a default value means absent."""
    state = np.zeros((patients.num_rows, len(knowledge.evidences)), dtype=np.int8)
    rows, numbers, names = _entries(patients, "evidence")
    split = [name.partition(VALUE_SEPARATOR) for name in names]
    columns = np.array([knowledge.evidence_index[base] for base, _, _ in split], dtype=np.int64)
    positive = np.array(
        [v != knowledge.evidences[c].default or not v for (_, _, v), c in zip(split, columns, strict=True)],
        dtype=bool,
    )
    valued = np.array([bool(value) for _, _, value in split], dtype=bool) & positive
    present = positive[numbers]
    state[rows[present], columns[numbers[present]]] = 1
    unknown_rows, unknown_numbers, unknown_names = _entries(patients, "unknown")
    unknown_columns = np.array([knowledge.evidence_index[name] for name in unknown_names], dtype=np.int64)
    state[unknown_rows, unknown_columns[unknown_numbers]] = -1
    chosen = valued[numbers]
    return state, _Values(rows[chosen], columns[numbers[chosen]], numbers[chosen], names)


def _entries(patients: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    column = patients.column(name).combine_chunks()
    entries = pc.list_flatten(column).dictionary_encode()
    return (
        pc.list_parent_indices(column).to_numpy(),
        entries.indices.to_numpy(),
        entries.dictionary.to_pylist(),
    )


def _patients(
    knowledge: CommonKnowledge, columns: dict[str, pa.Array], state: np.ndarray, values: _Values | None
) -> pa.Table:
    """Assemble the table; a present evidence is named by its values where there are any, else bare."""
    count = len(state)
    names = list(knowledge.codes)
    row, column = np.nonzero(state == 1)
    number = column
    if values is not None and len(values.row):
        said = state[values.row, values.column] == 1
        has_value = np.zeros(state.shape, dtype=bool)
        has_value[values.row[said], values.column[said]] = True
        bare = ~has_value[row, column]
        row = np.concatenate([row[bare], values.row[said]])
        column = np.concatenate([column[bare], values.column[said]])
        number = np.concatenate([number[bare], len(names) + values.number[said]])
        names += values.names
        order = np.lexsort((number, column, row))
        row, number = row[order], number[order]
    columns = dict(columns)
    columns["evidence"] = list_column(row, number, names, count)
    hidden_row, hidden_column = np.nonzero(state == -1)
    columns["unknown"] = list_column(hidden_row, hidden_column, knowledge.codes, count)
    for name, kind in (
        ("differential", COMMON_PATIENTS.schema.field("differential").type),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
    ):
        columns.setdefault(name, pa.nulls(count, kind))
    return conform(with_completeness(pa.table(columns), len(names[: len(knowledge.codes)])), COMMON_PATIENTS)
