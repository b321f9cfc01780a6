"""Explanations: exact where they claim to be, in the right direction, and compared honestly."""

import numpy as np
import pyarrow as pa
import pytest

from medassets.cohorts.simulate_common import simulate
from medassets.evaluation.explanation import (
    agreement,
    evidence_totals,
    explain_sample,
    explanation_table,
    likelihood_values,
    lime_values,
    table_agreement,
    tree_shap,
)
from medassets.features.common import EvidenceSpace
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.naive_bayes import NaiveBayes

KNOWLEDGE = CommonKnowledge.bundled()
SPACE = EvidenceSpace.from_knowledge(KNOWLEDGE)
NAIVE = NaiveBayes.fit(KNOWLEDGE, SPACE)
PATIENTS = simulate(KNOWLEDGE, seed=5, total=400)
MATRIX = SPACE.encode_table(PATIENTS)
TRUTH = np.array([KNOWLEDGE.condition_index[c] for c in PATIENTS.column("condition").to_pylist()])
#: A small model: is it one of these three conditions?
NAMES = ("URTI", "Anemia", "Pulmonary embolism")
THREE = np.isin(TRUTH, [KNOWLEDGE.condition_index[n] for n in NAMES])
COLUMNS = np.flatnonzero((MATRIX[THREE] != MATRIX[THREE][:1]).any(0))
LABELS = np.searchsorted(np.unique(TRUTH[THREE]), TRUTH[THREE])
INPUTS = MATRIX[THREE][:, COLUMNS].astype(np.float32)


def predict(matrix: np.ndarray) -> np.ndarray:
    return np.exp(NAIVE.log_proba(matrix))


@pytest.fixture(scope="module")
def booster():
    import xgboost

    data = xgboost.DMatrix(INPUTS, label=LABELS)
    params = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1}
    return xgboost.train(params, data, 8)


def test_shap_values_add_up_to_the_margin(booster) -> None:
    import xgboost

    values = tree_shap(booster, INPUTS, COLUMNS, SPACE.n_features)
    assert values.shape == (len(INPUTS), SPACE.n_features, 3)
    margin = booster.predict(xgboost.DMatrix(INPUTS), output_margin=True)
    rest = margin - values.sum(1)
    np.testing.assert_allclose(rest, np.repeat(rest[:1], len(rest), 0), atol=1e-4)
    unread = np.setdiff1d(np.arange(SPACE.n_features), COLUMNS)
    assert not values[:, unread].any()


def test_a_forest_without_some_classes_keeps_its_columns() -> None:
    from sklearn.ensemble import RandomForestClassifier

    labels = np.where(LABELS == 0, 5, 9)
    forest = RandomForestClassifier(4, random_state=0).fit(INPUTS, labels)
    values = tree_shap(forest, INPUTS[:4], COLUMNS, SPACE.n_features, classes=forest.classes_, n_classes=49)
    assert values.shape == (4, SPACE.n_features, 49)
    assert values[:, :, [5, 9]].any()
    assert not np.delete(values, [5, 9], axis=2).any()


def test_likelihood_shares_add_up_to_the_log_ratio_against_one_rival() -> None:
    """With a single other condition left, the shares are the log-likelihood ratio itself."""
    rows, classes = MATRIX[:5], TRUTH[:5]
    scores = NAIVE.scores
    shares = likelihood_values(scores, rows, classes)
    for i, target in enumerate(classes):
        contributions = scores.contributions(rows[i])
        total = scores.bias + contributions.sum(0)
        total[target] = -np.inf
        weights = np.exp(total - total.max())
        weights /= weights.sum()
        expected = contributions.sum(0)[target] - contributions.sum(0) @ weights
        assert shares[i].sum() == pytest.approx(expected)


def test_a_typical_symptom_speaks_for_its_condition() -> None:
    row = SPACE.encode(["E_91"], [], 30, "F", absent=[])
    flu = KNOWLEDGE.condition_index["Influenza"]
    hernia = KNOWLEDGE.condition_index["Inguinal hernia"]
    fever = SPACE.index["E_91"]
    shares = likelihood_values(NAIVE.scores, np.stack([row, row]), np.array([flu, hernia]))
    assert shares[0, fever] > 0 > shares[1, fever]


def test_lime_finds_the_answer_that_decides() -> None:
    decisive = SPACE.index["E_91"]

    def by_fever(matrix: np.ndarray) -> np.ndarray:
        p = np.where(matrix[:, decisive] == 1, 0.9, 0.1)
        return np.stack([p, 1 - p], axis=1)

    rows = MATRIX[MATRIX[:, decisive] == 1][:2]
    numeric = range(SPACE.levels.start, SPACE.age + 1)
    values = lime_values(by_fever, rows, MATRIX[:200], np.array([0, 0]), numeric, samples=400, seed=1)
    assert (np.abs(values).argmax(1) == decisive).all()
    assert (values[:, decisive] > 0).all()
    again = lime_values(by_fever, rows, MATRIX[:200], np.array([0, 0]), numeric, samples=400, seed=1)
    np.testing.assert_array_equal(again, values)


def test_agreement_of_an_explanation_with_itself_and_its_opposite() -> None:
    a = np.random.default_rng(0).normal(size=(6, 30))
    same = agreement(a, 2 * a)
    assert (same["rank_correlation"], same["top_overlap"], same["sign_agreement"]) == pytest.approx((1, 1, 1))
    assert agreement(a, -a)["sign_agreement"] == 0
    assert same["n"] == 6
    assert np.isnan(agreement(np.zeros((2, 5)), np.zeros((2, 5)))["rank_correlation"])


def test_columns_of_one_evidence_are_read_together() -> None:
    values = np.zeros((1, SPACE.n_features))
    for name in ("E_55", "E_55_@_V_89", "E_55_@_V_108", "age"):
        values[0, SPACE.index[name]] = 1.0
    totals = evidence_totals(values, SPACE)
    assert totals.shape == (1, len(SPACE.codes) + 2)
    assert totals[0, SPACE.codes.index("E_55")] == 3
    assert totals[0, -2] == 1
    assert totals.sum() == 4


def test_the_table_ranks_and_names_states() -> None:
    values = np.zeros((2, SPACE.n_features))
    values[:, SPACE.index["E_91"]], values[:, SPACE.index["age"]], values[:, SPACE.index["sex"]] = (
        3.0,
        -2.0,
        1.0,
    )
    table = explanation_table(
        {"shap": values}, MATRIX[:2], TRUTH[:2], PATIENTS.slice(0, 2), SPACE, KNOWLEDGE.condition_names, top=3
    )
    rows = [row for row in table.to_pylist() if row["patient_id"] == PATIENTS.column("patient_id")[0].as_py()]
    assert [(row["rank"], row["feature"]) for row in rows] == [(1, "E_91"), (2, "age"), (3, "sex")]
    assert rows[0]["state"] in ("present", "absent", "unknown")
    assert rows[1]["state"] == str(PATIENTS.column("age")[0].as_py())
    assert rows[2]["state"] in ("F", "M")
    assert {row["origin"] for row in table.to_pylist()} == {"simulated"}
    assert "all" in table.column("patient_id").to_pylist()


def test_a_sample_is_explained_by_all_methods() -> None:
    import xgboost

    data = xgboost.DMatrix(MATRIX[:, COLUMNS].astype(np.float32), label=TRUTH)
    params = {"objective": "multi:softprob", "num_class": 49, "max_depth": 2, "nthread": 1}
    booster = xgboost.train(params, data, 2)
    table, figures = explain_sample(
        booster,
        COLUMNS,
        predict,
        NAIVE.scores,
        PATIENTS.slice(0, 30),
        MATRIX[:100],
        SPACE,
        KNOWLEDGE.condition_names,
        sample=6,
        lime_sample=2,
    )
    assert set(table.column("method").to_pylist()) == {"shap", "lime", "likelihood"}
    assert len({figure.model for figure in figures}) == 3
    assert {figure.n for figure in figures} <= set(range(7))
    assert all(figure.origin == "simulated" for figure in figures)


def test_agreement_is_read_from_the_table() -> None:
    columns = ("patient_id", "condition", "method", "rank", "feature", "state", "contribution", "origin")
    rows = [
        ("p1", "URTI", "shap", 1, "E_91", "present", 2.0, "simulated"),
        ("p1", "URTI", "shap", 2, "E_79", "present", 1.0, "simulated"),
        ("p1", "URTI", "lime", 1, "E_91", "present", 0.2, "simulated"),
        ("p1", "URTI", "lime", 2, "E_50", "absent", 0.1, "simulated"),
        ("p2", "URTI", "shap", 1, "E_91", "present", 2.0, "simulated"),
        ("all", "all", "lime", 1, "E_1", "mean", 2.0, "simulated"),
    ]
    table = pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows])
    found = {figure.metric: figure for figure in table_agreement(table, top=2)}
    assert {figure.model for figure in found.values()} == {"lime and shap"}
    assert found["same_first"].value == 1.0 and found["same_first"].n == 1
    assert found["shared_top2"].value == 0.5
