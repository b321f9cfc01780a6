"""Answer tables: probabilities, smoothing, what is kept on disk, and what is refused."""

import numpy as np
import pyarrow as pa
import pytest

from medassets.features.answer_tables import AnswerTables, age_group, fit_answer_tables, ordered_values
from medassets.knowledge.common_conditions import CommonKnowledge

KNOWLEDGE = CommonKnowledge.bundled()


def patients(rows: list[dict]) -> pa.Table:
    base = {"age": 30, "sex": "F", "unknown": [], "origin": "ddxplus"}
    return pa.Table.from_pylist([{**base, **row} for row in rows])


PAIN = patients(
    [
        {"condition": "Cluster headache", "evidence": ["E_53", "E_55_@_V_89", "E_56_@_9", "E_204_@_V_10"]},
        {"condition": "Cluster headache", "evidence": ["E_53", "E_55_@_V_89", "E_55_@_V_108", "E_56_@_8"]},
        {"condition": "Inguinal hernia", "evidence": ["E_53", "E_55_@_V_14", "E_56_@_2"], "sex": "M"},
        # Without pain the release still names the default values: they say nothing about a pain.
        {"condition": "Anemia", "evidence": ["E_89", "E_55_@_V_123", "E_56_@_0"], "age": None},
    ]
)

PLACES = KNOWLEDGE.evidence("E_55").value_codes[1:50]
#: Patients whose pain has a place that tells the condition.
PLACED = patients(
    [
        {"condition": name, "evidence": ["E_53", f"E_55_@_{place}", "E_204_@_V_10"]}
        for name, place in zip(KNOWLEDGE.condition_names, PLACES, strict=True)
        for _ in range(20)
    ]
)


def columns(tables: AnswerTables, code: str) -> slice:
    j = tables.codes.index(code)
    return slice(tables.outcome_start[j], tables.outcome_start[j + 1])


@pytest.mark.parametrize("rows", [None, PAIN])
def test_outcomes_of_each_question_are_distributions(rows: pa.Table | None) -> None:
    tables = fit_answer_tables(KNOWLEDGE, rows)
    for block in (tables.outcome, tables.outcome_given):
        sums = np.add.reduceat(block, tables.outcome_start[:-1], axis=1)
        np.testing.assert_allclose(sums, 1, atol=1e-9)
        assert (block >= 0).all()


def test_yes_no_figures_are_the_reference_and_never_certain() -> None:
    tables = fit_answer_tables(KNOWLEDGE)
    j = KNOWLEDGE.evidence_index["E_91"]
    yes = tables.outcome[:, columns(tables, "E_91")][:, 1]
    np.testing.assert_allclose(yes, np.clip(KNOWLEDGE.recorded[:, j], 5e-3, 1 - 5e-3))
    assert (tables.outcome[:, columns(tables, "E_91")] > 0).all()


def test_value_questions_are_asked_only_where_patients_taught_their_answers() -> None:
    without, with_rows = fit_answer_tables(KNOWLEDGE), fit_answer_tables(KNOWLEDGE, PAIN)
    j = KNOWLEDGE.evidence_index["E_55"]
    assert not without.askable[j]
    assert with_rows.askable[j]
    assert without.askable[KNOWLEDGE.measured].all()
    assert not without.log_age.any()


def test_values_are_learned_per_condition_and_only_under_a_positive_parent() -> None:
    tables = fit_answer_tables(KNOWLEDGE, PAIN)
    head = tables.values.index("E_55_@_V_89")
    cluster, hernia = (KNOWLEDGE.condition_index[c] for c in ("Cluster headache", "Inguinal hernia"))
    assert tables.value_weight[cluster, head] > tables.value_weight[hernia, head]
    nowhere = tables.values.index("E_55_@_V_123")
    anemia = KNOWLEDGE.condition_index["Anemia"]
    assert tables.value_weight[anemia, nowhere] == pytest.approx(
        tables.value_weight[cluster, nowhere], abs=1.5
    )
    assert tables.n_patients == 4


def test_degrees_of_a_condition_lean_to_what_its_patients_said() -> None:
    tables = fit_answer_tables(KNOWLEDGE, PAIN)
    given = tables.outcome_given[KNOWLEDGE.condition_index["Cluster headache"], columns(tables, "E_56")]
    assert given[9] == pytest.approx(given[8])
    assert given[9] > 3 * given[2]


def test_default_value_comes_first() -> None:
    for code in ("E_55", "E_54", "E_204", "E_135"):
        evidence = KNOWLEDGE.evidence(code)
        assert ordered_values(evidence)[0] == evidence.default
        assert sorted(ordered_values(evidence)) == sorted(evidence.value_codes)


def test_kept_tables_are_the_same_tables_and_the_same_bytes(tmp_path) -> None:
    tables = fit_answer_tables(KNOWLEDGE, PAIN)
    tables.save(tmp_path / "a")
    fit_answer_tables(KNOWLEDGE, PAIN).save(tmp_path / "b")
    again = AnswerTables.load(tmp_path / "a")
    np.testing.assert_array_equal(again.outcome_given, tables.outcome_given)
    assert (again.codes, again.values, again.n_patients) == (tables.codes, tables.values, tables.n_patients)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_unknown_condition_and_value_are_named() -> None:
    with pytest.raises(ValueError, match="'Plague'"):
        fit_answer_tables(KNOWLEDGE, patients([{"condition": "Plague", "evidence": []}]))
    wrong = patients([{"condition": "Anemia", "evidence": ["E_53", "E_56_@_11"]}])
    with pytest.raises(ValueError, match=r"E_56 has no value '11'; allowed: 0, 1"):
        fit_answer_tables(KNOWLEDGE, wrong)


def test_age_groups_are_ddxplus_groups() -> None:
    ages = np.array([0, 0.5, 1, 4, 5, 14, 15, 29, 30, 44, 45, 59, 60, 74, 75, 109])
    assert age_group(ages).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
