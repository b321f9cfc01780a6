"""Critical false negatives: counting, listing, checking."""

import numpy as np
import pytest
from scipy.stats import binom

from medassets.evaluation.safety import (
    check_critical_misses,
    critical_miss_figures,
    critical_miss_metrics,
    exact_interval,
    list_critical_misses,
    missed,
)
from medassets_tests.evaluation.fixtures_trust import KNOWLEDGE, SEVERITY, bury, calibrated, some_patients

PATIENTS, TRUTH = some_patients()
SEVERE = np.flatnonzero(SEVERITY[TRUTH] <= 2)
MILD = np.flatnonzero(SEVERITY[TRUTH] > 2)
SURE = np.eye(len(SEVERITY))[TRUTH]


def test_only_severe_conditions_behind_the_third_rank_are_missed() -> None:
    severe, miss = missed(bury(SURE + 0.01, TRUTH, np.r_[SEVERE[:4], MILD[:5]]), TRUTH, SEVERITY)
    assert severe.sum() == len(SEVERE)
    assert np.flatnonzero(miss).tolist() == SEVERE[:4].tolist()


def test_rank_three_is_no_miss_and_rank_four_is() -> None:
    row = np.zeros((1, len(SEVERITY)))
    truth = np.array([int(np.flatnonzero(SEVERITY == 1)[0])])
    others = [c for c in range(len(SEVERITY)) if c != truth[0]]
    row[0, others[:2]], row[0, truth[0]] = [0.4, 0.3], 0.2
    assert not missed(row, truth, SEVERITY)[1][0]
    row[0, others[2]] = 0.25
    assert missed(row, truth, SEVERITY)[1][0]


def test_the_interval_is_exact() -> None:
    low, high = exact_interval(3, 200)
    assert binom.sf(2, 200, low) == pytest.approx(0.025)
    assert binom.cdf(3, 200, high) == pytest.approx(0.025)
    assert exact_interval(0, 50)[0] == 0
    assert exact_interval(0, 50)[1] > 0.05
    assert exact_interval(0, 0) == [0.0, 1.0]


def test_the_check_fails_above_its_bound_and_without_severe_patients() -> None:
    good = critical_miss_metrics(SURE, TRUTH, SEVERITY)
    assert good["misses"] == 0
    assert check_critical_misses(good).passed
    bad = critical_miss_metrics(bury(SURE + 0.01, TRUTH, SEVERE[:5]), TRUTH, SEVERITY)
    finding = check_critical_misses(bad, max_rate=0.01)
    assert not finding.passed
    assert f"5 of {len(SEVERE)} patients" in finding.message
    assert check_critical_misses(bad, max_rate=0.5).passed
    none = critical_miss_metrics(SURE[MILD], TRUTH[MILD], SEVERITY)
    assert none["critical_miss_rate"] is None
    assert not check_critical_misses(none).passed


def test_misses_are_listed_most_dangerous_first_with_their_origin() -> None:
    table = list_critical_misses(
        bury(SURE + 0.01, TRUTH, SEVERE[:6]), PATIENTS, KNOWLEDGE.condition_names, SEVERITY, model="m"
    )
    assert table.num_rows == 6
    assert table.column("severity").to_pylist() == sorted(table.column("severity").to_pylist())
    assert set(table.column("origin").to_pylist()) == {"simulated"}
    expected = {PATIENTS.column("patient_id")[int(i)].as_py() for i in SEVERE[:6]}
    assert set(table.column("patient_id").to_pylist()) == expected
    assert all(rank > 3 for rank in table.column("rank").to_pylist())


def test_no_miss_is_an_empty_table() -> None:
    assert list_critical_misses(SURE, PATIENTS, KNOWLEDGE.condition_names, SEVERITY, model="m").num_rows == 0


def test_figures_add_up_over_conditions() -> None:
    p = bury(calibrated(TRUTH), TRUTH, SEVERE[:8])
    figures = critical_miss_figures(
        p, TRUTH, SEVERITY, KNOWLEDGE.condition_names, model="m", origin="simulated"
    )
    overall, parts = figures[0], figures[1:]
    assert overall.n == sum(part.n for part in parts) == len(SEVERE)
    assert overall.value * overall.n == pytest.approx(sum(part.value * part.n for part in parts))


def test_severities_must_fit() -> None:
    with pytest.raises(ValueError, match="3 severities for 49 conditions"):
        missed(SURE, TRUTH, SEVERITY[:3])
