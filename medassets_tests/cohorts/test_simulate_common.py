import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.cohorts.schema import conform
from medassets.cohorts.simulate_common import mask, simulate
from medassets.cohorts.tables import TABLES
from medassets.cohorts.tables_common import COMMON_PATIENTS
from medassets.ingest.common_patients import base_code
from medassets.knowledge.common_conditions import CommonKnowledge

KNOWLEDGE = CommonKnowledge.bundled()
PATIENTS = simulate(KNOWLEDGE, seed=1, per_condition=20, missing_rate=0.1, noise_rate=0.02, draw_values=True)


def share_present(patients: pa.Table) -> np.ndarray:
    """(n_conditions, n_evidences) share of patients that name an evidence."""
    counts = np.zeros((len(KNOWLEDGE.conditions), len(KNOWLEDGE.evidences)))
    for condition, evidence in zip(
        *(patients.column(c).to_pylist() for c in ("condition", "evidence")), strict=True
    ):
        for code in {base_code(answer) for answer in evidence}:
            counts[KNOWLEDGE.condition_index[condition], KNOWLEDGE.evidence_index[code]] += 1
    return counts / (patients.num_rows / len(KNOWLEDGE.conditions))


def test_rows_are_those_of_the_declared_table() -> None:
    assert PATIENTS.schema == COMMON_PATIENTS.schema == TABLES["clinical/common_patients"].schema
    assert conform(PATIENTS, COMMON_PATIENTS).num_rows == 49 * 20
    assert set(PATIENTS.column("origin").to_pylist()) == {"simulated"}
    assert len(set(PATIENTS.column("patient_id").to_pylist())) == PATIENTS.num_rows
    assert PATIENTS.column("differential").null_count == PATIENTS.num_rows


def test_the_same_seed_gives_the_same_rows() -> None:
    again = simulate(KNOWLEDGE, seed=1, per_condition=20, missing_rate=0.1, noise_rate=0.02, draw_values=True)
    assert again.equals(PATIENTS)
    other = simulate(KNOWLEDGE, seed=2, per_condition=20, missing_rate=0.1, noise_rate=0.02, draw_values=True)
    assert other.column("evidence") != PATIENTS.column("evidence")


def test_patients_follow_the_figures() -> None:
    shares = share_present(simulate(KNOWLEDGE, seed=3, per_condition=400))
    error = np.abs(shares - KNOWLEDGE.probability)
    assert error.max() < 0.13  # four standard deviations of 400 draws, and sex-specific evidences
    assert error.mean() < 0.003


def test_conditions_follow_their_frequency_when_a_total_is_asked_for() -> None:
    patients = simulate(KNOWLEDGE, seed=4, total=20_000)
    names = np.array(patients.column("condition").to_pylist())
    shares = np.array([(names == name).mean() for name in KNOWLEDGE.condition_names])
    assert patients.num_rows == 20_000
    assert np.abs(shares - KNOWLEDGE.prior).max() < 0.006


def test_everyone_came_with_a_complaint_that_they_have() -> None:
    symptoms = {e.code for e in KNOWLEDGE.evidences if e.type == "B" and not e.is_antecedent}
    for row in PATIENTS.select(["initial_evidence", "evidence", "unknown"]).to_pylist():
        assert row["initial_evidence"] in symptoms
        assert row["initial_evidence"] in row["evidence"]
        assert row["initial_evidence"] not in row["unknown"]


def test_details_stand_only_under_their_question() -> None:
    parents = {e.code: e.parent for e in KNOWLEDGE.evidences if e.parent in KNOWLEDGE.evidence_index}
    for row in PATIENTS.select(["evidence", "unknown"]).to_pylist():
        present = {base_code(answer) for answer in row["evidence"]}
        assert not present & set(row["unknown"])
        for child, parent in parents.items():
            if child in present:
                assert parent in present
            if parent in row["unknown"]:
                assert child in row["unknown"]


def test_answers_fit_the_sex() -> None:
    of_sex = {e.code: e.sex for e in KNOWLEDGE.evidences if e.sex}
    of_value = {f"{e.code}_@_{v.code}": v.sex for e in KNOWLEDGE.evidences for v in e.values if v.sex}
    patients = simulate(KNOWLEDGE, seed=5, per_condition=100, noise_rate=0.2, draw_values=True)
    seen = set()
    for row in patients.select(["sex", "evidence"]).to_pylist():
        for answer in row["evidence"]:
            sex = of_value.get(answer) or of_sex.get(base_code(answer))
            assert sex in (None, row["sex"])
            seen.add(sex)
    assert seen == {None, "F", "M"}


def test_ages_and_sexes_are_spread_alike_over_conditions() -> None:
    patients = simulate(KNOWLEDGE, seed=6, per_condition=300)
    age = patients.column("age").to_numpy()
    assert age.min() == 0 and 85 < age.max() < 100 and 28 < age.mean() < 34
    female = (np.array(patients.column("sex").to_pylist()) == "F").reshape(49, 300).mean(axis=1)
    assert np.abs(female - 0.5).max() < 0.13


def test_values_are_left_open_unless_asked_for() -> None:
    plain = simulate(KNOWLEDGE, seed=7, per_condition=10)
    assert not any("_@_" in answer for row in plain.column("evidence").to_pylist() for answer in row)
    single = {e.code for e in KNOWLEDGE.evidences if e.type == "B"}
    drawn = simulate(KNOWLEDGE, seed=7, per_condition=10, draw_values=True)
    assert all(
        ("_@_" in a) != (base_code(a) in single) for row in drawn.column("evidence").to_pylist() for a in row
    )


def test_completeness_counts_what_is_missing() -> None:
    row = PATIENTS.slice(0, 1).to_pylist()[0]
    assert row["completeness"] == pytest.approx((226 - len(row["unknown"])) / 226)
    sparse = simulate(KNOWLEDGE, seed=8, per_condition=5, missing_rate=0.6)
    assert not any(sparse.column("complete_enough").to_pylist())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "exactly one"),
        ({"total": 1, "per_condition": 1}, "exactly one"),
        ({"total": 5, "missing_rate": 1.5}, "unknown rate is 1.5, allowed: 0 to 1"),
        ({"total": 5, "noise_rate": -0.1}, "wrong rate is -0.1"),
    ],
)
def test_impossible_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(KNOWLEDGE, seed=1, **arguments)


def test_a_mask_of_nothing_changes_nothing() -> None:
    assert mask(PATIENTS, KNOWLEDGE, seed=9).to_pylist() == PATIENTS.to_pylist()


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_hiding_takes_answers_away_and_invents_none(seed: int, rate: float) -> None:
    masked = mask(PATIENTS, KNOWLEDGE, seed=seed, unknown_rate=rate)
    for before, after in zip(PATIENTS.to_pylist(), masked.to_pylist(), strict=True):
        assert set(after["evidence"]) <= set(before["evidence"])
        assert set(before["unknown"]) <= set(after["unknown"])
        gone = {base_code(a) for a in set(before["evidence"]) - set(after["evidence"])}
        assert gone <= set(after["unknown"])
        assert before["initial_evidence"] in after["evidence"]
        assert (before["patient_id"], before["origin"], before["condition"]) == (
            after["patient_id"], after["origin"], after["condition"],
        )  # fmt: skip


def test_rates_are_kept() -> None:
    full = simulate(KNOWLEDGE, seed=10, per_condition=20)
    hidden = mask(full, KNOWLEDGE, seed=1, unknown_rate=0.3)
    plain = [i for i, e in enumerate(KNOWLEDGE.evidences) if KNOWLEDGE.parents[i] < 0]
    codes = {KNOWLEDGE.codes[i] for i in plain}
    share = np.mean([len(codes & set(row)) for row in hidden.column("unknown").to_pylist()]) / len(codes)
    assert share == pytest.approx(0.3, abs=0.01)
    wrong = mask(full, KNOWLEDGE, seed=1, wrong_rate=0.05)
    turned = [
        len(codes & ({base_code(a) for a in x} ^ {base_code(a) for a in y}))
        for x, y in zip(
            full.column("evidence").to_pylist(), wrong.column("evidence").to_pylist(), strict=True
        )
    ]
    assert np.mean(turned) / len(codes) == pytest.approx(0.05, abs=0.005)


def test_defaults_in_the_source_do_not_become_positive() -> None:
    row = {
        **PATIENTS.slice(0, 1).to_pylist()[0],
        "evidence": ["E_53", "E_57_@_V_123"],
        "unknown": [],
        "initial_evidence": "E_53",
    }
    masked = mask(pa.Table.from_pylist([row], schema=PATIENTS.schema), KNOWLEDGE, seed=1)
    assert masked.column("evidence").to_pylist() == [["E_53"]]


def test_the_first_complaint_can_be_masked_too() -> None:
    masked = mask(PATIENTS, KNOWLEDGE, seed=1, unknown_rate=1.0, keep_initial=False)
    assert all(not row for row in masked.column("evidence").to_pylist())
