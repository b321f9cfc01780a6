"""Champion and challenger: who takes over, and why not."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.evaluation.figures import Finding
from medassets.evaluation.promotion import (
    decide_common,
    decide_rare,
    no_new_critical_miss,
    not_worse,
    paired_difference,
)
from medassets_tests.evaluation.fixtures_trust import SEVERITY, bury, calibrated, some_patients

PATIENTS, TRUTH = some_patients()
IDS = PATIENTS.column("patient_id").to_pylist()
GOOD = calibrated(TRUTH, certainty=0.95)
YES, NO = Finding(True, "within bounds"), Finding(False, "a gap")


def decide(champion, challenger, safety=YES, fairness=YES):
    return decide_common(champion, challenger, TRUTH, SEVERITY, IDS, safety=safety, fairness=fairness)


def test_an_equal_challenger_takes_over() -> None:
    decision = decide(GOOD, GOOD)
    assert decision.promote
    assert set(decision.findings) == {"safety", "fairness", "accuracy", "critical misses"}
    json.dumps(decision.to_json())


def test_a_worse_challenger_does_not() -> None:
    worse = bury(GOOD, TRUTH, np.flatnonzero(SEVERITY[TRUTH] > 2)[:40])
    decision = decide(GOOD, worse)
    assert not decision.promote
    assert decision.reasons[0].startswith("accuracy: FAILS")
    assert decide(worse, GOOD).promote


def test_one_new_critical_miss_stops_it_however_accurate() -> None:
    severe = np.flatnonzero(SEVERITY[TRUTH] <= 2)
    champion = bury(GOOD, TRUTH, np.flatnonzero(SEVERITY[TRUTH] > 2)[:40])
    row = severe[int(np.flatnonzero(GOOD[severe, TRUTH[severe]] > 0.5)[0])]
    decision = decide(champion, bury(GOOD, TRUTH, np.array([row])))
    assert not decision.promote
    assert IDS[row] in decision.findings["critical misses"].message
    assert decision.findings["accuracy"].passed


@pytest.mark.parametrize(("safety", "fairness"), [(NO, YES), (YES, NO)])
def test_failed_checks_stop_it(safety: Finding, fairness: Finding) -> None:
    assert not decide(GOOD, GOOD, safety, fairness).promote
    assert not decide(None, GOOD, safety, fairness).promote


def test_the_first_model_needs_no_comparison() -> None:
    assert decide(None, GOOD).promote


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.integers(0, 5))
def test_the_difference_is_that_of_the_means(right: list[bool], shift: int) -> None:
    a = np.array(right, dtype=float)
    b = np.roll(a, shift)
    found = paired_difference(a, b, resamples=50)
    assert found["difference"] == pytest.approx(0, abs=1e-12)
    assert found["ci95"][0] <= 1e-12
    assert found["ci95"][1] >= -1e-12


def test_pairs_must_be_pairs() -> None:
    with pytest.raises(ValueError, match="same rows"):
        paired_difference(np.ones(3), np.ones(4))


def test_the_margin_decides() -> None:
    slightly = {"n": 1000, "champion": 0.99, "challenger": 0.987, "difference": -0.003, "ci95": [-0.006, 0.0]}
    assert not_worse(slightly, margin=0.002).passed
    assert not not_worse({**slightly, "ci95": [-0.006, -0.0025]}, margin=0.002).passed
    assert not not_worse({**slightly, "difference": -0.005}, margin=0.002).passed


def test_old_misses_are_not_new() -> None:
    same = np.array([True, False, True])
    assert no_new_critical_miss(same, same, ["a", "b", "c"]).passed
    assert no_new_critical_miss(same, np.array([False, False, True]), ["a", "b", "c"]).passed
    assert no_new_critical_miss(same, ~same, ["a", "b", "c"]).figures["new"] == ["b"]


def test_rare_rankers_are_compared_by_publication() -> None:
    ranks = np.array([1.0, 2, 5, np.inf] * 10)
    groups = [f"PMID:{i // 4}" for i in range(40)]
    assert decide_rare(None, ranks).promote
    assert decide_rare(ranks, ranks, groups=groups).promote
    assert not decide_rare(ranks, ranks * 3, groups=groups).promote
