"""Fairness: groups are measured, gaps are found, and a handful of people raises no alarm."""

import numpy as np
import pyarrow as pa
import pytest

from medassets.evaluation.fairness import FairnessBounds, age_group_names, check_fairness, fairness_report
from medassets.evaluation.metrics import ece
from medassets_tests.evaluation.fixtures_trust import SEVERITY, calibrated, some_patients

PATIENTS, TRUTH = some_patients(600)
SEX = np.array(PATIENTS.column("sex").to_pylist())
AGE = PATIENTS.column("age").to_numpy()


def report(p: np.ndarray, rows: np.ndarray | None = None) -> pa.Table:
    rows = np.arange(len(TRUTH)) if rows is None else rows
    return fairness_report(
        p[rows], TRUTH[rows], SEVERITY, PATIENTS.take(pa.array(rows)), model="m", resamples=60
    )


def rows_of(table: pa.Table, metric: str) -> dict[str, dict]:
    return {row["group"]: row for row in table.to_pylist() if row["metric"] == metric}


def test_groups_hold_their_own_figures() -> None:
    p = calibrated(TRUTH)
    table = report(p)
    accuracy = rows_of(table, "accuracy")
    women = SEX == "F"
    assert accuracy["sex=F"]["value"] == pytest.approx((p[women].argmax(1) == TRUTH[women]).mean())
    assert rows_of(table, "ece")["overall"]["value"] == pytest.approx(ece(p, TRUTH))
    assert accuracy["sex=F"]["n"] + accuracy["sex=M"]["n"] == accuracy["overall"]["n"] == 600
    ages = sum(row["n"] for group, row in accuracy.items() if group.startswith("age="))
    assert ages == 600
    assert {row["origin"] for row in table.to_pylist()} == {"simulated"}


def test_an_even_model_passes() -> None:
    finding = check_fairness(report(calibrated(TRUTH)), FairnessBounds(accuracy=0.05, ece=0.05))
    assert finding.passed, finding.message


def test_a_model_that_fails_women_is_found() -> None:
    p = calibrated(TRUTH)
    women = np.flatnonzero(SEX == "F")
    p[women] = np.roll(p[women], 5, axis=1)
    finding = check_fairness(report(p))
    assert not finding.passed
    assert "sex=F: accuracy" in finding.message


def test_a_handful_is_named_and_not_judged() -> None:
    p = calibrated(TRUTH)
    old = np.flatnonzero(AGE >= 75)[:5]
    p[old] = np.roll(p[old], 5, axis=1)
    rows = np.r_[old, np.flatnonzero(AGE < 75)]
    finding = check_fairness(report(p, rows), FairnessBounds(accuracy=0.05, ece=0.05, critical_miss_rate=0.2))
    assert finding.passed, finding.message
    assert "age=75+ accuracy (n=5)" in finding.message
    judged = check_fairness(
        report(p, rows), FairnessBounds(accuracy=0.05, ece=0.05, critical_miss_rate=0.2, min_n=3)
    )
    assert not judged.passed


def test_bounds_decide() -> None:
    p = calibrated(TRUTH)
    women = np.flatnonzero(SEX == "F")
    half = women[: len(women) // 4]
    p[half] = np.roll(p[half], 5, axis=1)
    table = report(p)
    assert not check_fairness(table, FairnessBounds(accuracy=0.01, ece=0.5, critical_miss_rate=0.5)).passed
    assert check_fairness(table, FairnessBounds(accuracy=0.5, ece=0.5, critical_miss_rate=0.5)).passed


def test_the_interval_of_ece_is_not_inflated() -> None:
    """Resampling adds calibration error; for a calibrated model the interval must reach down to none."""
    p = calibrated(TRUTH)
    overall = rows_of(report(p), "ece")["overall"]
    assert overall["low"] < 0.02
    assert overall["low"] <= overall["value"] + 1e-12


def test_age_groups_have_names() -> None:
    names = age_group_names(np.array([0, 4, 5, 29, 30, 75, 109, np.nan]))
    assert names.tolist() == ["0-4", "0-4", "5-14", "15-29", "30-44", "75+", "75+", "unknown"]


def test_rows_must_fit() -> None:
    with pytest.raises(ValueError, match="predictions"):
        fairness_report(calibrated(TRUTH)[:3], TRUTH, SEVERITY, PATIENTS, model="m")
