"""Does the window look like the training data? Tests by symptom and group, corrected for their number.

What belongs here: the tests, the correction and the alert. What does not: the samples (``samples``) and the
pages (``drift_pages``).

Shares are compared with Fisher's exact test where counts are small and the z-test of two proportions
otherwise, certainties with Kolmogorov and Smirnov's. A report holds hundreds of tests, so q-values control
the false discovery rate (Benjamini and Hochberg, 1995); and because a large window finds every difference
significant, a feature drifts only where the difference matters too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from scipy import stats

from medassets.cohorts.schema import conform
from medassets.evaluation.figures import Finding
from medassets.monitoring.samples import Sample
from medassets.monitoring.tables import DRIFT_REPORT

ALL = "all"
#: Expected count below which the exact test is used: far out in the tails, where corrected tests are decided,
#: the normal approximation is wrong long before the usual five.
SMALL = 100
#: Share of the reference outside which a number is an outlier, at each end.
TAIL = 0.005


@dataclass(frozen=True)
class DriftLimits:
    """What counts as drift.

    Attributes:
        q: largest q-value.
        share: smallest difference of two shares that matters.
        distance: smallest Kolmogorov-Smirnov distance of two certainties that matters.
        min_n: rows that window and reference need before anything is judged.
        min_known: answered rows behind a feature's share.
    """

    q: float = 0.001
    share: float = 0.10
    distance: float = 0.15
    min_n: int = 50
    min_known: int = 30


@dataclass(frozen=True)
class Comparison:
    """One test."""

    kind: str
    group: str
    feature: str
    label: str
    reference: float
    current: float
    p_value: float
    n_reference: int
    n_current: int
    matters: bool
    q_value: float = field(default=float("nan"))

    def drifted(self, limits: DriftLimits) -> bool:
        """Whether it is both significant and large enough."""
        return self.matters and self.q_value <= limits.q


def compare(
    reference: Sample,
    current: Sample,
    limits: DriftLimits | None = None,
    baseline: Sample | None = None,
) -> list[Comparison]:
    """Compare a window with the training data.

    Args:
        reference: training data of the served bundle.
        current: window of the log, with the same features.
        limits: what counts.
        baseline: earlier rows of the log; answers are compared with its own where the reference has none.

    Returns:
        One comparison a feature, group and kind, with q-values; empty where the window is too small.
    """
    limits = limits or DriftLimits()
    if min(len(reference), len(current)) < limits.min_n:
        return []
    found = [*_inputs(ALL, reference, current, limits), *_missing(reference, current, limits)]
    found += _outliers(reference, current, limits)
    for name, of in current.groups.items():
        for value in sorted(set(of)):
            rows = of == value
            known = reference.groups[name] == value if name in reference.groups else None
            before = reference if known is None else reference.take(known)
            if min(rows.sum(), len(before)) >= limits.min_n:
                found += _inputs(f"{name}={value}", before, current.take(rows), limits)
    asked_before = reference if any(reference.first) else baseline
    if asked_before is not None and len(asked_before) >= limits.min_n:
        found += _answers(asked_before, current, limits)
    return with_q_values(found)


def with_q_values(found: Iterable[Comparison]) -> list[Comparison]:
    """Add Benjamini and Hochberg's q-values over all comparisons."""
    listed = list(found)
    if not listed:
        return []
    q = stats.false_discovery_control([item.p_value for item in listed], method="bh")
    return [replace(item, q_value=float(value)) for item, value in zip(listed, q, strict=True)]


def report(
    day: str, bundle: str, parts: Mapping[str, list[Comparison]], limits: DriftLimits | None = None
) -> pa.Table:
    """Rows of ``monitoring/drift_report`` for one day."""
    limits = limits or DriftLimits()
    rows = [
        {
            "day": day,
            "bundle": bundle,
            "part": part,
            "kind": item.kind,
            "group": item.group,
            "feature": item.feature,
            "label": item.label,
            "reference": item.reference,
            "current": item.current,
            "p_value": item.p_value,
            "q_value": item.q_value,
            "n_reference": item.n_reference,
            "n_current": item.n_current,
            "drifted": item.drifted(limits),
        }
        for part, items in parts.items()
        for item in items
    ]
    return conform(pa.Table.from_pylist(rows, schema=DRIFT_REPORT.schema), DRIFT_REPORT)


def alert(table: pa.Table, *, most: int = 8) -> Finding:
    """Pass where nothing drifted; else name the offending features, the largest differences first."""
    rows = table.to_pylist()
    drifted = [row for row in rows if row["drifted"]]
    drifted.sort(key=lambda row: -abs(row["current"] - row["reference"]))
    figures = {"tests": len(rows), "drifted": [_name(row) for row in drifted]}
    if not rows:
        return Finding(True, "too few predictions in the window to compare with the training data", figures)
    if not drifted:
        return Finding(True, f"none of {len(rows)} comparisons drifted", figures)
    shown = "; ".join(
        f"{_name(row)} {row['reference']:.2f} -> {row['current']:.2f} (q={row['q_value']:.1g})"
        for row in drifted[:most]
    )
    more = f"; and {len(drifted) - most} more" if len(drifted) > most else ""
    return Finding(False, f"{len(drifted)} of {len(rows)} comparisons drifted: {shown}{more}", figures)


def drifted_names(table: pa.Table) -> list[str]:
    """Names of what drifted for everyone, each feature once; they begin with the part of the answer."""
    rows = (row for row in table.to_pylist() if row["drifted"] and row["group"] == ALL)
    return list(dict.fromkeys(_name(row) for row in rows))


def _name(row: Mapping[str, str]) -> str:
    group = "" if row["group"] == ALL else f" [{row['group']}]"
    words = f" ({row['label']})" if row["label"] != row["feature"] else ""
    return f"{row['part']} {row['kind']} {row['feature']}{words}{group}"


def _inputs(group: str, reference: Sample, current: Sample, limits: DriftLimits) -> list[Comparison]:
    found = []
    for column, (name, label) in enumerate(zip(current.features, current.labels, strict=True)):
        before, now = (_known(sample.values[:, column]) for sample in (reference, current))
        if min(len(before), len(now)) >= limits.min_known and before.sum() + now.sum():
            found.append(_shares("input", group, name, label, before, now, limits))
    return found


def _missing(reference: Sample, current: Sample, limits: DriftLimits) -> list[Comparison]:
    gone = [np.isnan(sample.values).astype(float) for sample in (reference, current)]
    return [
        _shares("missing", ALL, name, label, gone[0][:, column], gone[1][:, column], limits)
        for column, (name, label) in enumerate(zip(current.features, current.labels, strict=True))
        if gone[0][:, column].any() or gone[1][:, column].any()
    ]


def _outliers(reference: Sample, current: Sample, limits: DriftLimits) -> list[Comparison]:
    found = []
    counts = [np.nansum(sample.values, axis=1) for sample in (reference, current)]
    numbers = (("age", "age in years", reference.age, current.age),
               ("findings", "number of findings", counts[0], counts[1]))  # fmt: skip
    for name, label, before, now in numbers:
        before, now = _known(before), _known(now)
        if min(len(before), len(now)) < limits.min_known:
            continue
        low, high = np.quantile(before, [TAIL, 1 - TAIL])
        outside = [((values < low) | (values > high)).astype(float) for values in (before, now)]
        words = f"{label} outside {low:g} to {high:g}"
        found.append(_shares("outlier", ALL, name, words, outside[0], outside[1], limits))
    return found


def _answers(reference: Sample, current: Sample, limits: DriftLimits) -> list[Comparison]:
    found = []
    names = sorted({*reference.first, *current.first} - {None})
    for name in names:
        before, now = ((sample.first == name).astype(float) for sample in (reference, current))
        found.append(_shares("prediction", ALL, name, name, before, now, limits))
    before, now = _known(reference.probability), _known(current.probability)
    if min(len(before), len(now)) >= limits.min_known:
        distance, p_value = stats.ks_2samp(before, now, method="asymp")
        found.append(
            Comparison(
                "confidence", ALL, "probability", "certainty of the first candidate", float(before.mean()),
                float(now.mean()), float(p_value), len(before), len(now), bool(distance >= limits.distance),
            )
        )  # fmt: skip
    return found


def _shares(
    kind: str, group: str, name: str, label: str, before: np.ndarray, now: np.ndarray, limits: DriftLimits
) -> Comparison:
    a, b = float(before.mean()), float(now.mean())
    p_value = two_shares(int(before.sum()), len(before), int(now.sum()), len(now))
    matters = abs(a - b) >= limits.share
    return Comparison(kind, group, name, label, a, b, p_value, len(before), len(now), matters)


def two_shares(hits: int, n: int, other_hits: int, other_n: int) -> float:
    """P-value that two shares are alike.

    Args:
        hits, n: of the first sample.
        other_hits, other_n: of the second.

    Raises:
        ValueError: a sample is empty.
    """
    if not n or not other_n:
        raise ValueError("a share of no rows cannot be compared")
    pooled = (hits + other_hits) / (n + other_n)
    if pooled in (0.0, 1.0):
        return 1.0
    if min(n, other_n) * min(pooled, 1 - pooled) < SMALL:
        table = [[hits, n - hits], [other_hits, other_n - other_hits]]
        return float(min(1.0, stats.fisher_exact(table)[1]))
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other_n))
    return float(2 * stats.norm.sf(abs(hits / n - other_hits / other_n) / error))


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)]
