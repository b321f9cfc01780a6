"""Critical false negatives: severe conditions that a model leaves out of its first three.

What belongs here: the figure with its interval, the list of patients, the check. What does not: accuracy
over all conditions (``metrics``) and groups of people (``fairness``).

Severity is DDXPlus's scale, 1 (life-threatening) to 5 (mild); severe is 1 or 2. Misses are few, so the
interval is the exact binomial one (Clopper and Pearson, 1934): a bootstrap of no misses would claim that
none is possible.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import beta

from medassets.cohorts.schema import conform
from medassets.evaluation.figures import CRITICAL_MISSES, OVERALL, Figure, Finding
from medassets.evaluation.metrics import ranks_of

FIRST = 3
SEVERE = 2
#: Share of severe patients that may be missed before the check fails.
MAX_MISS_RATE = 0.01


def missed(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    severity: NDArray[np.integer],
    *,
    first: int = FIRST,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which patients have a severe condition, and which of them the model misses.

    Args:
        probabilities: (n, c).
        truth: (n,) column of each patient's condition.
        severity: (c,) severity of each condition.
        first: a condition ranked behind this many others is missed.

    Returns:
        ``severe`` (n,) and ``missed`` (n,), a part of it.

    Raises:
        ValueError: arrays that do not belong together.
    """
    if len(severity) != np.shape(probabilities)[1]:
        raise ValueError(f"{len(severity)} severities for {np.shape(probabilities)[1]} conditions")
    severe = np.asarray(severity)[truth] <= SEVERE
    return severe, severe & (ranks_of(probabilities, truth) > first)


def exact_interval(hits: int, n: int, confidence: float = 0.95) -> list[float]:
    """Clopper-Pearson interval of ``hits`` out of ``n``; all of [0, 1] where n is 0."""
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return [low, high]


def critical_miss_metrics(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    severity: NDArray[np.integer],
    *,
    first: int = FIRST,
) -> dict[str, Any]:
    """Share of severe patients whose condition is not among the first three.

    Returns:
        ``{"n" (severe patients), "misses", "critical_miss_rate" (None where n is 0), "ci95": {...}}``.
    """
    severe, miss = missed(probabilities, truth, severity, first=first)
    n, misses = int(severe.sum()), int(miss.sum())
    return {
        "n": n,
        "misses": misses,
        "critical_miss_rate": misses / n if n else None,
        "ci95": {"critical_miss_rate": exact_interval(misses, n)},
    }


def critical_miss_figures(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    severity: NDArray[np.integer],
    conditions: list[str],
    *,
    model: str,
    origin: str,
) -> list[Figure]:
    """The share overall and for each severe condition that has patients."""
    severe, miss = missed(probabilities, truth, severity)
    groups = [(OVERALL, severe)]
    groups += [(f"condition={conditions[c]}", truth == c) for c in np.unique(truth[severe])]
    figures = []
    for name, rows in groups:
        n, misses = int(rows.sum()), int(miss[rows].sum())
        low, high = exact_interval(misses, n)
        rate = misses / n if n else None
        figures.append(Figure(model, name, "critical_miss_rate", rate, low, high, n, origin))
    return figures


def list_critical_misses(
    probabilities: NDArray[np.floating],
    patients: pa.Table,
    conditions: list[str],
    severity: NDArray[np.integer],
    *,
    model: str,
) -> pa.Table:
    """List the patients whose severe condition is missed, the most dangerous first.

    Args:
        probabilities: (n, c), rows as in ``patients``.
        patients: rows of ``clinical/common_patients``.
        conditions: (c,) names.
        severity: (c,).
        model: name of the model.

    Returns:
        A table ``evaluation/critical_misses``.
    """
    index = {name: c for c, name in enumerate(conditions)}
    truth = np.array([index[name] for name in patients.column("condition").to_pylist()], dtype=np.int64)
    _, miss = missed(probabilities, truth, severity)
    rows = np.flatnonzero(miss)
    rows = rows[np.argsort(np.asarray(severity)[truth[rows]], kind="stable")]
    picked = patients.take(pa.array(rows))
    leading = np.asarray(probabilities)[rows].argmax(1)
    table = pa.table(
        {
            "patient_id": picked.column("patient_id"),
            "condition": picked.column("condition"),
            "severity": pa.array(np.asarray(severity)[truth[rows]], pa.int8()),
            "rank": ranks_of(probabilities, truth)[rows],
            "probability": np.asarray(probabilities, dtype=np.float64)[rows, truth[rows]],
            "leading": pa.array([conditions[c] for c in leading], pa.string()),
            "leading_probability": np.asarray(probabilities, dtype=np.float64)[rows, leading],
            "age": picked.column("age"),
            "sex": picked.column("sex"),
            "n_unknown": pa.array([len(u or []) for u in picked.column("unknown").to_pylist()], pa.int32()),
            "model": pa.array([model] * len(rows), pa.string()),
            "origin": picked.column("origin"),
        }
    )
    return conform(table, CRITICAL_MISSES)


def check_critical_misses(metrics: dict[str, Any], *, max_rate: float = MAX_MISS_RATE) -> Finding:
    """Fail where more severe patients are missed than allowed.

    Args:
        metrics: as ``critical_miss_metrics`` returns them.
        max_rate: share of severe patients that may be missed. The share itself decides, not its interval:
            with lives at stake the doubt goes to the patient.
    """
    n, misses = metrics["n"], metrics["misses"]
    low, high = metrics["ci95"]["critical_miss_rate"]
    if not n:
        return Finding(
            False, "no patient with a severe condition was evaluated: safety is not shown", metrics
        )
    rate = misses / n
    message = (
        f"{misses} of {n} patients with a condition of severity 1 or 2 are missed from the first {FIRST}: "
        f"{rate:.2%} (95 % interval {low:.2%} to {high:.2%}), allowed {max_rate:.2%}"
    )
    return Finding(rate <= max_rate, message, metrics)
