"""Does the model serve men and women, the young and the old alike?

What belongs here: accuracy, calibration and critical misses by sex and age group with intervals, and the
check on their gaps. What does not: drift over time (``medassets.monitoring``), thresholds of the whole model
(``safety``).

Groups are compared with fairlearn's ``MetricFrame`` (Weerts et al., JMLR 2023). Intervals are basic bootstrap
intervals: resampling inflates the calibration error of a small group just as the small sample itself does,
and the basic interval takes that off again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medassets.evaluation.figures import FAIRNESS_REPORT, OVERALL, Figure, Finding, figure_table, number
from medassets.evaluation.metrics import ece
from medassets.evaluation.safety import exact_interval, missed

AGE_GROUPS = ((0, 4), (5, 14), (15, 29), (30, 44), (45, 59), (60, 74), (75, 200))
METRICS = ("accuracy", "ece", "critical_miss_rate")


@dataclass(frozen=True)
class FairnessBounds:
    """Largest gaps to the whole that are allowed, and the smallest group that is judged.

    Attributes:
        accuracy: a group's accuracy may be lower by this much.
        ece: its calibration error may be higher by this much.
        critical_miss_rate: its share of critical misses may be higher by this much.
        min_n: groups with fewer rows behind a figure are reported and not judged.
    """

    accuracy: float = 0.02
    ece: float = 0.03
    critical_miss_rate: float = 0.02
    min_n: int = 20


def age_group_names(ages: NDArray[np.floating]) -> NDArray[np.str_]:
    """Name of each age's group, ``15-29`` or ``75+``; ``unknown`` for NaN."""
    names = np.full(len(ages), "unknown", dtype="<U8")
    for low, high in AGE_GROUPS:
        name = f"{low}+" if high == AGE_GROUPS[-1][1] else f"{low}-{high}"
        names[(np.asarray(ages) >= low) & (np.asarray(ages) <= high)] = name
    return names


def fairness_report(
    probabilities: NDArray[np.floating],
    truth: NDArray[np.integer],
    severity: NDArray[np.integer],
    patients: pa.Table,
    *,
    model: str,
    resamples: int = 200,
    seed: int = 0,
) -> pa.Table:
    """Measure each sex and each age group.

    Args:
        probabilities: (n, c), rows as in ``patients``.
        truth: (n,) columns.
        severity: (c,).
        patients: rows of ``clinical/common_patients`` (``sex``, ``age`` and ``origin`` are read).
        model: name of the model.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        A table ``evaluation/fairness_report``: groups ``overall``, ``sex=F``, ``age=15-29``, ...

    Raises:
        ValueError: no rows, or arrays of different lengths.
    """
    from fairlearn.metrics import MetricFrame

    probabilities = np.asarray(probabilities, dtype=np.float64)
    if not len(truth) or len(truth) != len(probabilities) or len(truth) != patients.num_rows:
        raise ValueError(
            f"{len(probabilities)} predictions, {len(truth)} truths, {patients.num_rows} patients"
        )
    severe, miss = missed(probabilities, truth, severity)
    rows = np.arange(len(truth))
    statistic: dict[str, Callable[[NDArray[np.int64]], float]] = {
        "accuracy": lambda r: float((probabilities[r].argmax(1) == truth[r]).mean()),
        "ece": lambda r: ece(probabilities[r], truth[r]),
        "critical_miss_rate": lambda r: float(miss[r].sum() / severe[r].sum()) if severe[r].any() else np.nan,
    }
    base = {
        "accuracy": np.ones(len(truth), bool),
        "ece": np.ones(len(truth), bool),
        "critical_miss_rate": severe,
    }
    ages = age_group_names(patients.column("age").to_numpy(zero_copy_only=False).astype(np.float64))
    sexes = np.array([sex or "unknown" for sex in patients.column("sex").to_pylist()])
    origin = "+".join(sorted(set(patients.column("origin").to_pylist())))
    figures = []
    for axis, labels in (("sex", sexes), ("age", ages)):
        # MetricFrame hands each metric its group's rows; their numbers stand in for truth and prediction.
        frame = MetricFrame(
            metrics={name: _of_rows(function) for name, function in statistic.items()},
            y_true=rows,
            y_pred=rows,
            sensitive_features=labels,
        )
        names = sorted(frame.by_group.index, key=lambda name: (len(name.split("-")[0].strip("+")), name))
        groups = {f"{axis}={name}": np.flatnonzero(labels == name) for name in names}
        if axis == "sex":
            groups = {OVERALL: rows, **groups}
        for group, members in groups.items():
            for name in METRICS:
                value = (
                    frame.overall[name] if group == OVERALL else frame.by_group.loc[group.split("=")[1], name]
                )
                counted = int(base[name][members].sum())
                low, high = _basic_interval(statistic[name], members, float(value), resamples, seed)
                if name != "ece" and low == high and counted:
                    # All right or none missed: resampling shows no doubt where there is some.
                    low, high = exact_interval(round(float(value) * counted), counted)
                figures.append(Figure(model, group, name, number(value), low, high, counted, origin))
    return figure_table(figures, FAIRNESS_REPORT)


def check_fairness(report: pa.Table, bounds: FairnessBounds | None = None) -> Finding:
    """Fail where a group is surely worse than the whole by more than allowed.

    A gap counts when the whole 95 % interval of the group's figure lies beyond the bound, so that a handful
    of people does not raise an alarm by chance; groups below ``min_n`` are named, not judged.

    Args:
        report: as ``fairness_report`` returns it, of one model.
        bounds: allowed gaps.
    """
    bounds = bounds or FairnessBounds()
    rows = report.to_pylist()
    overall = {row["metric"]: row["value"] for row in rows if row["group"] == OVERALL}
    failures, small, judged = [], [], 0
    for row in rows:
        metric, value = row["metric"], row["value"]
        if row["group"] == OVERALL or value is None or overall.get(metric) is None:
            continue
        if row["n"] < bounds.min_n:
            small.append(f"{row['group']} {metric} (n={row['n']})")
            continue
        judged += 1
        allowed = getattr(bounds, metric)
        if metric == "accuracy":
            worse = row["high"] < overall[metric] - allowed
        else:
            worse = row["low"] > overall[metric] + allowed
        if worse:
            failures.append(
                f"{row['group']}: {metric} {value:.3f} ({row['low']:.3f} to {row['high']:.3f}, n={row['n']}) "
                f"against {overall[metric]:.3f} overall, allowed gap {allowed:.3f}"
            )
    message = "; ".join(failures) or f"no gap above its bound in {judged} comparisons"
    if small:
        message += f"; too few rows to judge: {', '.join(small)}"
    return Finding(
        not failures and judged > 0, message, {"failures": failures, "not_judged": small, "judged": judged}
    )


def _of_rows(statistic: Callable[[NDArray[np.int64]], float]) -> Callable[..., float]:
    """Metric in fairlearn's form; the rows of the group arrive as its truth."""

    def metric(y_true: NDArray[np.int64], y_pred: NDArray[np.int64]) -> float:
        return statistic(np.asarray(y_true, dtype=np.int64))

    return metric


def _basic_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    rows: NDArray[np.int64],
    value: float,
    resamples: int,
    seed: int,
) -> tuple[float | None, float | None]:
    """Basic bootstrap interval (Davison and Hinkley, 1997), cut to [0, 1]; None without any value."""
    rng = np.random.default_rng(seed)
    drawn = np.array([statistic(rng.choice(rows, len(rows))) for _ in range(resamples)])
    drawn = drawn[~np.isnan(drawn)]
    if np.isnan(value) or not drawn.size:
        return None, None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.clip(2 * value - high, 0, 1)), float(np.clip(2 * value - low, 0, 1))
