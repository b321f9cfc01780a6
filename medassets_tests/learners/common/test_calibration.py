"""Pooling, calibration and conformal sets on predictions of known quality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.features.answer_codes import log_softmax
from medassets.features.pooling import DIFFERENTIAL_MASS, Decision, expected_f1_members, sparsify
from medassets.learners.common.calibration import choose_calibration, fit_isotonic, fit_temperature
from medassets.learners.common.conformal import fit_conformal
from medassets.learners.common.stacking import fit_pool
from medassets_tests.learners.common import small

N, CLASSES = 3000, 8


def drawn(sharpness: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels drawn from their softmax; ``sharpness`` overstates the scores."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(N, CLASSES)) * 2
    p = np.exp(log_softmax(scores))
    labels = (p.cumsum(1) < rng.random((N, 1))).sum(1).clip(max=CLASSES - 1)
    return scores * sharpness, labels


def test_temperature_undoes_overconfidence():
    scores, labels = drawn(sharpness=3.0)
    assert fit_temperature(scores, labels).temperature == pytest.approx(3.0, rel=0.1)


def test_isotonic_keeps_rows_sound_and_the_leader_leading():
    scores, labels = drawn(sharpness=2.0)
    p = fit_isotonic(scores, labels).probabilities(scores)
    assert np.allclose(p.sum(axis=1), 1) and (p > 0).all()
    assert (p.argmax(1) == scores.argmax(1)).mean() > 0.999


def test_the_better_calibration_is_chosen():
    scores, labels = drawn(sharpness=2.0)
    chosen, losses = choose_calibration(scores, labels)
    assert set(losses) == {"temperature", "isotonic"}
    assert chosen.method == "temperature"


def test_the_pool_listens_to_the_model_that_knows():
    scores, labels = drawn()
    rng = np.random.default_rng(1)
    noise = log_softmax(rng.normal(size=scores.shape))
    pool = fit_pool(("good", "noise"), np.stack([log_softmax(scores), noise]), np.zeros(N), labels)
    assert pool.weights[0] == pytest.approx(1.0, abs=0.1)
    assert pool.weights[1] == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_conformal_coverage_is_the_stated_one(coverage):
    scores, labels = drawn(seed=2)
    p = np.exp(log_softmax(scores))
    half = N // 2
    sets = fit_conformal(p[:half], labels[:half], np.zeros(half), coverage)
    held = sets.rule(p[half:], np.zeros(N - half))[np.arange(N - half), labels[half:]]
    assert held.mean() == pytest.approx(coverage, abs=0.025)


def test_each_band_of_unanswered_questions_has_its_own_threshold():
    sharp, dull = drawn(seed=3), drawn(sharpness=0.3, seed=4)
    p = np.exp(log_softmax(np.concatenate([sharp[0], dull[0]])))
    labels, unknown = np.concatenate([sharp[1], dull[1]]), np.repeat([0.0, 0.9], N)
    sets = fit_conformal(p, labels, unknown, 0.9)
    assert sets.thresholds[0] != sets.thresholds[-1]
    held = sets.rule(p, unknown)[np.arange(2 * N), labels]
    assert held[:N].mean() == pytest.approx(0.9, abs=0.01)
    assert held[N:].mean() == pytest.approx(0.9, abs=0.01)


def test_a_shown_set_is_never_empty():
    sets = fit_conformal(np.full((200, 3), 1 / 3), np.zeros(200, dtype=int), np.zeros(200), 0.9)
    shown = sets.sets(np.array([[0.2, 0.3, 0.1]]), np.zeros(1))
    assert shown.tolist() == [[False, True, False]]


def test_conformal_needs_rows():
    with pytest.raises(ValueError, match="one row"):
        fit_conformal(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0), 0.9)


@settings(max_examples=30)
@given(st.integers(0, 2**16))
def test_sparse_differentials_name_exactly_their_members(seed):
    rng = np.random.default_rng(seed)
    mass, member = rng.random((5, 49)) ** 4, rng.random((5, 49)) < 0.3
    made = sparsify(mass, member)
    assert np.allclose(made.sum(axis=1), 1)
    some = member.any(axis=1)
    assert np.array_equal((made > DIFFERENTIAL_MASS)[some], member[some])


def test_expected_f1_keeps_likely_members():
    chance = np.array([[0.9, 0.8, 0.1, 0.05], [0.3, 0.1, 0.0, 0.0]])
    assert expected_f1_members(chance).tolist() == [[True, True, False, False], [True, False, False, False]]


def test_a_decision_survives_its_arrays():
    decision = small.ensemble().decision
    again = Decision.from_arrays(decision.to_arrays())
    log_proba = {name: m.log_proba(small.rows()) for name, m in small.ensemble().models.items()}
    share = np.linspace(0, 1, len(small.rows()))
    before, after = (d.predict(log_proba, share, None) for d in (decision, again))
    assert np.array_equal(before.probabilities, after.probabilities)
    assert np.array_equal(before.sets, after.sets)
