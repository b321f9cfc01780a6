"""Laws and worked examples of the metrics."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.evaluation import metrics

ranks_strategy = st.lists(
    st.one_of(st.integers(1, 40).map(float), st.just(math.inf)), min_size=1, max_size=40
)


@given(ranks_strategy)
@settings(max_examples=50)
def test_rank_metrics_are_ordered_and_inside_their_intervals(ranks):
    got = metrics.rank_metrics(ranks, resamples=200)
    assert got["n"] == len(ranks)
    assert got["top1"] <= got["top3"] <= got["top10"]
    assert got["top1"] <= got["mrr"] + 1e-12
    for name, (low, high) in got["ci95"].items():
        assert 0 <= low <= high <= 1
        if len(set(ranks)) == 1:
            assert low == pytest.approx(got[name]) == high


@given(ranks_strategy)
@settings(max_examples=25)
def test_the_order_of_cases_does_not_change_the_estimate(ranks):
    forwards, backwards = metrics.rank_metrics(ranks), metrics.rank_metrics(ranks[::-1])
    assert forwards["mrr"] == pytest.approx(backwards["mrr"])


def test_rank_metrics_worked_example():
    got = metrics.rank_metrics([1, 2, 10, math.inf])
    assert (got["top1"], got["top3"], got["top10"], got["mrr"]) == (0.25, 0.5, 0.75, pytest.approx(0.4))


def test_no_cases_give_nulls_not_zeros():
    got = metrics.rank_metrics([])
    assert got["n"] == 0 and got["top1"] is None and got["ci95"]["mrr"] is None


@pytest.mark.parametrize("ranks", [[0], [float("nan")], [1, -3]])
def test_impossible_ranks_are_refused(ranks):
    with pytest.raises(ValueError, match="start at 1"):
        metrics.rank_metrics(ranks)


def test_same_seed_same_interval():
    ranks = np.arange(1, 60)
    assert metrics.rank_metrics(ranks) == metrics.rank_metrics(ranks)
    assert metrics.rank_metrics(ranks)["ci95"] != metrics.rank_metrics(ranks, seed=1)["ci95"]


def test_clusters_widen_the_interval_of_repeated_patients():
    rng = np.random.default_rng(3)
    per_group = rng.random(30) < 0.5
    values = np.repeat(per_group, 20).astype(float)[:, None]
    groups = np.repeat(np.arange(30), 20)
    _, rows = metrics.mean_ci(values)
    _, clusters = metrics.mean_ci(values, groups=groups)
    assert np.ptp(clusters[0]) > 2 * np.ptp(rows[0])


def test_interval_covers_the_binomial_one():
    values = (np.arange(400) < 100).astype(float)[:, None]
    mean, interval = metrics.mean_ci(values, resamples=4000)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 400)
    assert mean[0] == 0.25
    assert interval[0] == pytest.approx([0.25 - half, 0.25 + half], abs=0.006)


def test_groups_of_another_length_are_refused():
    with pytest.raises(ValueError, match="4 rows, but 3 groups"):
        metrics.mean_ci(np.ones((4, 1)), groups=["a", "b", "c"])


def test_ties_take_the_middle_rank_and_unknown_truth_is_infinite():
    scores = [[3, 1, 1, 1], [1, 2, 3, 4], [0, 0, 0, 0]]
    assert metrics.ranks_of(scores, [2, -1, 0]).tolist() == [3.0, math.inf, 2.5]


def test_top_k():
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5]])
    assert metrics.top_k(p, [1, 2], 1) == 0.5
    assert metrics.top_k(p, [1, 2], 2) == 1.0


def test_macro_f1_matches_scikit_learn():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 6, 200), rng.integers(0, 6, 200)
    assert metrics.macro_f1(truth, guess) == pytest.approx(f1_score(truth, guess, average="macro"))


def test_macro_f1_leaves_out_rare_classes():
    truth, guess = [0, 0, 0, 1], [0, 0, 0, 0]
    assert metrics.macro_f1(truth, guess, min_support=2) == pytest.approx(6 / 7)
    assert metrics.macro_f1(truth, guess) == pytest.approx(3 / 7)


def test_differential_f1_counts_mass_above_one_percent():
    reference = [[0.6, 0.39, 0.01, 0.0], [0.5, 0.5, 0.0, 0.0]]
    predicted = [[0.6, 0.39, 0.01, 0.0], [0.9, 0.0, 0.1, 0.0]]
    assert metrics.differential_f1_rows(predicted, reference).tolist() == [1.0, 0.5]
    assert metrics.differential_f1(predicted, reference) == 0.75


def test_patients_without_reference_do_not_count():
    rows = metrics.differential_f1_rows([[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]])
    assert np.isnan(rows[0]) and rows[1] == 1
    assert math.isnan(metrics.differential_f1([[1.0, 0.0]], [[0.0, 0.0]]))


def test_ece_of_a_calibrated_and_of_an_overconfident_answer():
    p = np.tile([0.8, 0.2], (10, 1))
    assert metrics.ece(p, [0] * 8 + [1] * 2) == pytest.approx(0)
    assert metrics.ece(p, [1] * 10) == pytest.approx(0.8)


@given(st.integers(2, 5), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=30)
def test_brier_and_ece_stay_in_range(classes, n, seed):
    rng = np.random.default_rng(seed)
    p, truth = rng.dirichlet(np.ones(classes), n), rng.integers(0, classes, n)
    assert 0 <= metrics.brier(p, truth) <= 2
    assert 0 <= metrics.ece(p, truth) <= 1


def test_classification_metrics_contract():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 80)
    p = np.eye(4)[truth] * 0.7 + 0.075
    got = metrics.classification_metrics(p, truth, reference_differential=np.eye(4)[truth], resamples=50)
    assert set(got) == {"n", "top1", "top3", "top5", "macro_f1", "differential_f1", "ece", "brier", "ci95"}
    assert got["top1"] == got["macro_f1"] == 1.0
    assert got["differential_f1"] == pytest.approx(2 / 5)
    assert got["ci95"]["ece"][0] <= got["ece"] <= got["ci95"]["ece"][1] + 1e-12
    without = metrics.classification_metrics(p, truth, resamples=20)
    assert without["differential_f1"] is None and without["ci95"]["differential_f1"] is None
