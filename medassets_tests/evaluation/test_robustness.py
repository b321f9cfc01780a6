"""Robustness: the same corruption for all models, figures that fall, and the naive Bayes line."""

import numpy as np
import pytest

from medassets.evaluation.robustness import GRID, check_against_line, robustness_report, value_at
from medassets.features.answer_tables import fit_answer_tables
from medassets.features.inquiry import InquiryEngine
from medassets_tests.evaluation.fixtures_trust import KNOWLEDGE, SEVERITY, some_patients

PATIENTS, TRUTH = some_patients(150)
ENGINE = InquiryEngine(
    fit_answer_tables(KNOWLEDGE),
    SEVERITY,
    np.zeros(len(KNOWLEDGE.codes), bool),
    [None] * len(KNOWLEDGE.codes),
)
SEEN: list[list[str]] = []


def posterior(table) -> np.ndarray:
    interview = ENGINE.start(np.full(table.num_rows, np.nan), ["unknown"] * table.num_rows)
    answers = ENGINE.encode(table.column("evidence").to_pylist(), table.column("unknown").to_pylist())
    for j in np.flatnonzero(KNOWLEDGE.measured):
        ENGINE.tell(interview, answers, np.full(table.num_rows, j))
    return interview.posterior


def predict(table) -> dict[str, np.ndarray]:
    p = posterior(table)
    SEEN.append([str(row) for row in table.column("evidence").to_pylist()[:5]])
    return {"naive_bayes": p, "blurred": 0.5 * p + 0.5 / p.shape[1], "wrong": np.roll(p, 1, axis=1)}


POINTS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.1))
REPORT = robustness_report(predict, PATIENTS, KNOWLEDGE, grid=POINTS, resamples=30)


def test_every_model_has_every_figure_at_every_point() -> None:
    assert REPORT.num_rows == 3 * 3 * 3 + 2 * 3  # two models are compared with naive Bayes
    assert set(REPORT.column("origin").to_pylist()) == {"simulated"}
    for row in REPORT.to_pylist():
        assert row["low"] <= row["value"] <= row["high"] or row["metric"] == "ece"
        assert row["n"] == 150


def test_missing_and_wrong_answers_cost_accuracy() -> None:
    clear = value_at(REPORT, "naive_bayes", "top1", 0, 0)
    assert clear > 0.95
    assert value_at(REPORT, "naive_bayes", "top1", 0.5, 0) < clear
    assert value_at(REPORT, "naive_bayes", "top1", 0, 0.1) < clear


def test_the_line_holds_or_is_broken() -> None:
    assert check_against_line(REPORT, "blurred").passed
    broken = check_against_line(REPORT, "wrong")
    assert not broken.passed
    assert "at 50% unknown, 0% wrong" in broken.message
    with pytest.raises(KeyError, match="nobody"):
        check_against_line(REPORT, "nobody")


@pytest.mark.parametrize(("high", "passed"), [(-0.004, True), (-0.006, False)])
def test_only_a_whole_interval_below_the_bound_breaks_the_line(high: float, passed: bool) -> None:
    rows = [row for row in REPORT.to_pylist() if row["model"] == "blurred"]
    for row in rows:
        if row["metric"] == "top1_above_naive_bayes":
            row.update(low=-0.03, value=-0.015, high=high)
    assert check_against_line(REPORT.from_pylist(rows, schema=REPORT.schema), "blurred").passed is passed


def test_the_same_seed_corrupts_the_same() -> None:
    again = robustness_report(predict, PATIENTS, KNOWLEDGE, grid=POINTS, resamples=30)
    assert again.equals(REPORT)
    assert SEEN[:3] == SEEN[-3:]
    assert len({tuple(rows) for rows in SEEN[:3]}) == 3


def test_the_grid_reaches_what_is_promised() -> None:
    assert max(unknown for unknown, _ in GRID) == 0.5
    assert max(wrong for _, wrong in GRID) == 0.1
    assert len(set(GRID)) == len(GRID)


def test_no_patients_is_an_error() -> None:
    with pytest.raises(ValueError, match="no patients"):
        robustness_report(predict, PATIENTS.slice(0, 0), KNOWLEDGE)
