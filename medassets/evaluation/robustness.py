"""How accuracy and calibration hold when answers are missing or wrong.

What belongs here: the grid of hidden and falsified answers, the figures of every model on it, and the
comparison with naive Bayes. What does not: the hiding and falsifying itself
(``cohorts.simulate_common.mask``) and the plot.

The line that a model must hold is naive Bayes over the same answers, which ignores an unknown answer by
construction. All models see the same corrupted patients, so that their difference is a paired one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medassets.cohorts.schema import conform
from medassets.cohorts.simulate_common import mask
from medassets.evaluation.figures import OVERALL, ROBUSTNESS_REPORT, Finding, origin_of
from medassets.evaluation.metrics import bootstrap_ci, ece, mean_ci, ranks_of
from medassets.knowledge.common_conditions import CommonKnowledge

#: (unknown, wrong) shares: each alone, and the mix of an ordinary consultation.
GRID = (
    (0.0, 0.0),
    *((round(0.1 * step, 1), 0.0) for step in range(1, 6)),
    *((0.0, wrong) for wrong in (0.01, 0.02, 0.05, 0.1)),
    (0.2, 0.05),
)
LINE = "naive_bayes"

#: Patients in, probabilities (n, c) of each model by name out.
PredictAll = Callable[[pa.Table], Mapping[str, NDArray[np.floating]]]


def robustness_report(
    predict: PredictAll,
    patients: pa.Table,
    knowledge: CommonKnowledge,
    *,
    grid: tuple[tuple[float, float], ...] = GRID,
    seed: int = 0,
    resamples: int = 200,
) -> pa.Table:
    """Measure every model at every point of the grid.

    Args:
        predict: all models at once, on the same table.
        patients: rows of ``clinical/common_patients`` that no model was trained on.
        knowledge: conditions in the order of the probabilities' columns.
        grid: (unknown, wrong) shares of answers.
        seed: of hiding, falsifying and the intervals.
        resamples: bootstrap samples.

    Returns:
        A table ``evaluation/robustness_report`` with ``top1``, ``top3`` and ``ece``.

    Raises:
        ValueError: no patients.
    """
    if not patients.num_rows:
        raise ValueError("no patients to measure robustness on")
    truth = np.array([knowledge.condition_index[c] for c in patients.column("condition").to_pylist()])
    origin = origin_of(patients)
    rows: list[dict[str, Any]] = []
    for point, (unknown, wrong) in enumerate(grid):
        corrupted = mask(patients, knowledge, seed=seed + point, unknown_rate=unknown, wrong_rate=wrong)
        for model, probabilities in predict(corrupted).items():
            for metric, (value, low, high) in _figures(probabilities, truth, seed, resamples).items():
                rows.append(
                    {
                        "model": model,
                        "group": OVERALL,
                        "metric": metric,
                        "value": value,
                        "low": low,
                        "high": high,
                        "n": len(truth),
                        "origin": origin,
                        "unknown_rate": unknown,
                        "wrong_rate": wrong,
                    }
                )
    return conform(pa.Table.from_pylist(rows, schema=ROBUSTNESS_REPORT.schema), ROBUSTNESS_REPORT)


def _figures(
    probabilities: NDArray[np.floating], truth: NDArray[np.int64], seed: int, resamples: int
) -> dict[str, tuple[float, float, float]]:
    ranks = ranks_of(probabilities, truth)
    means, intervals = mean_ci(np.stack([ranks <= 1, ranks <= 3], 1), seed=seed, resamples=resamples)
    found = {
        name: (float(mean), float(interval[0]), float(interval[1]))
        for name, mean, interval in zip(("top1", "top3"), means, intervals, strict=True)
    }
    low, high = bootstrap_ci(
        lambda w: ece(probabilities, truth, weights=w), len(truth), seed=seed, resamples=resamples
    )
    return {**found, "ece": (ece(probabilities, truth), low, high)}


def value_at(report: pa.Table, model: str, metric: str, unknown: float, wrong: float) -> float:
    """The figure of a model at one point of the grid.

    Raises:
        KeyError: the report has no such figure.
    """
    for row in report.to_pylist():
        here = (row["model"], row["metric"]) == (model, metric)
        if here and np.isclose(row["unknown_rate"], unknown) and np.isclose(row["wrong_rate"], wrong):
            return float(row["value"])
    raise KeyError(f"no {metric} of {model} at {unknown:.0%} unknown and {wrong:.0%} wrong")


def check_against_line(report: pa.Table, model: str, *, line: str = LINE, slack: float = 0.005) -> Finding:
    """Fail where a model falls below naive Bayes by more than ``slack`` in top-1 at any point of the grid."""
    points = sorted({(row["unknown_rate"], row["wrong_rate"]) for row in report.to_pylist()})
    gaps = {}
    for unknown, wrong in points:
        gap = value_at(report, model, "top1", unknown, wrong) - value_at(report, line, "top1", unknown, wrong)
        gaps[f"{unknown:.0%} unknown, {wrong:.0%} wrong"] = gap
    below = {point: gap for point, gap in gaps.items() if gap < -slack}
    if below:
        listed = "; ".join(f"{gap:+.3f} at {point}" for point, gap in below.items())
        return Finding(False, f"{model} is below {line} by more than {slack:.3f} in top-1: {listed}", gaps)
    worst = min(gaps, key=lambda point: gaps[point])
    message = (
        f"{model} holds the line of {line} at {len(points)} points (least: {gaps[worst]:+.3f} at {worst})"
    )
    return Finding(True, message, gaps)
