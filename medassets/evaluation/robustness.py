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
#: Metric of the paired difference in top-1 to the line.
ABOVE_LINE = f"top1_above_{LINE}"

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
        A table ``evaluation/robustness_report`` with ``top1``, ``top3``, ``ece`` and, where naive Bayes is
        among the models, the paired difference of the others to it.

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
        predicted = predict(corrupted)
        gaps = _against_line(predicted, truth, seed, resamples)
        for model, probabilities in predicted.items():
            measured = _figures(probabilities, truth, seed, resamples)
            if model in gaps:
                measured[ABOVE_LINE] = gaps[model]
            for metric, (value, low, high) in measured.items():
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


def _against_line(
    found: Mapping[str, NDArray[np.floating]], truth: NDArray[np.int64], seed: int, resamples: int
) -> dict[str, tuple[float, float, float]]:
    """Accuracy above the line's on the same rows, of every other model, with a paired interval."""
    right = {model: (ranks_of(p, truth) <= 1).astype(np.float64) for model, p in found.items()}
    gaps: dict[str, tuple[float, float, float]] = {}
    for model in [name for name in right if name != LINE and LINE in right]:
        mean, interval = mean_ci((right[model] - right[LINE])[:, None], seed=seed, resamples=resamples)
        gaps[model] = (float(mean[0]), float(interval[0, 0]), float(interval[0, 1]))
    return gaps


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


def check_against_line(report: pa.Table, model: str, *, slack: float = 0.005) -> Finding:
    """Fail where a model is surely below naive Bayes by more than ``slack`` in top-1, at any point.

    Surely: the whole paired bootstrap interval of the difference lies below ``-slack``.

    Args:
        report: as ``robustness_report`` returns it.
        model: one of its models, not naive Bayes itself.
        slack: difference that does not matter.

    Raises:
        KeyError: the report does not compare this model with naive Bayes.
    """
    rows = [row for row in report.to_pylist() if (row["model"], row["metric"]) == (model, ABOVE_LINE)]
    if not rows:
        raise KeyError(f"the report does not compare {model!r} with {LINE}")
    gaps = {f"{row['unknown_rate']:.0%} unknown, {row['wrong_rate']:.0%} wrong": row for row in rows}
    figures = {point: row["value"] for point, row in gaps.items()}
    below = [point for point, row in gaps.items() if row["high"] < -slack]
    if below:
        listed = "; ".join(f"{figures[point]:+.3f} at {point}" for point in below)
        return Finding(False, f"{model} is below {LINE} by more than {slack:.3f} in top-1: {listed}", figures)
    worst = min(figures, key=lambda point: figures[point])
    message = (
        f"{model} holds the line of {LINE} at {len(rows)} points (least: {figures[worst]:+.3f} at {worst})"
    )
    return Finding(True, message, figures)
