"""Metrics of ranked and probabilistic answers, with bootstrap confidence intervals; numpy only.

What belongs here: figures computed from ranks, probabilities and true classes. What does not: protocols
(which cases, which split), plots and reports.

Intervals are percentile bootstrap intervals (Efron and Tibshirani, 1993). Where patients share a publication,
pass ``groups``: whole groups are then drawn, because their members are not independent. The differential F1
follows DDXPlus (Fansi Tchango et al., NeurIPS 2022): sets of conditions with more than 0.01 of the mass, F1
of each patient, averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Interval = list[float]

#: Conditions with at most this share of a differential's mass do not count as part of it (DDXPlus).
DIFFERENTIAL_MASS = 0.01
#: Numbers held at once while resampling: 4 million float64 are 32 MB.
_CHUNK = 4_000_000


def ranks_of(scores: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Rank of the true candidate in each row; ties share the middle of their ranks.

    Args:
        scores: (n, candidates), higher is better.
        truth: (n,) column of the true candidate, or -1 where it is not among the candidates.

    Returns:
        (n,) ranks from 1; infinity where the truth is no candidate.
    """
    scores, truth = np.asarray(scores), np.asarray(truth, dtype=np.int64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1]:
        raise ValueError(f"scores {scores.shape} and truth {truth.shape} do not belong together")
    if truth.size and truth.max() >= scores.shape[1]:
        raise ValueError(f"truth {truth.max()} is not a column of scores {scores.shape}")
    ranks = np.full(len(truth), np.inf)
    known = np.flatnonzero(truth >= 0)
    own = scores[known, truth[known]][:, None]
    ranks[known] = (scores[known] > own).sum(1) + ((scores[known] == own).sum(1) - 1) / 2 + 1
    return ranks


def mean_ci(
    values: ArrayLike,
    *,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """Mean of each column and its bootstrap interval.

    Args:
        values: (n, k), one row a patient; n at least 1.
        groups: (n,) cluster of each row; whole clusters are drawn. ``None`` draws rows.
        resamples: number of bootstrap samples.
        confidence: mass inside the interval.
        seed: of the draw; the same input gives the same interval.

    Returns:
        Means (k,) and intervals (k, 2).

    Raises:
        ValueError: no rows, or groups of another length.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    sums, sizes = _cluster_sums(values, groups)
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, values.shape[1]))
    step = max(1, _CHUNK // len(sizes))
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        counts = _counts(rng, stop - start, len(sizes))
        drawn[start:stop] = (counts @ sums) / (counts @ sizes)[:, None]
    return values.mean(0), _percentiles(drawn, confidence)


def bootstrap_ci(
    statistic: Callable[[FloatArray], float],
    n: int,
    *,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 300,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of any statistic that accepts row weights, for figures that are not plain means.

    Args:
        statistic: takes weights (n,) - how often each row was drawn - and returns one number.
        n: number of rows.
        groups, resamples, confidence, seed: as in :func:`mean_ci`.
    """
    if n < 1:
        raise ValueError("an interval needs at least one row")
    cluster = np.arange(n) if groups is None else _group_codes(groups, n)
    rng = np.random.default_rng(seed)
    n_clusters = int(cluster.max()) + 1
    drawn = np.array([statistic(_counts(rng, 1, n_clusters)[0][cluster]) for _ in range(resamples)])
    return _percentiles(drawn[:, None], confidence)[0].tolist()


def rank_metrics(
    ranks: ArrayLike,
    *,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Top-1, top-3, top-10 and mean reciprocal rank, each with a 95 % interval.

    Args:
        ranks: (n,) from 1; infinity where the truth was not ranked.
        groups: (n,) publication group of each case, for a cluster bootstrap.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        ``{"n", "top1", "top3", "top10", "mrr", "ci95": {"top1": [lo, hi], ...}}``; all ``None`` where n is 0.
    """
    r = np.asarray(ranks, dtype=np.float64)
    names = ("top1", "top3", "top10", "mrr")
    if r.size == 0:
        return {"n": 0, **dict.fromkeys(names), "ci95": dict.fromkeys(names)}
    if np.isnan(r).any() or (r < 1).any():
        raise ValueError("ranks start at 1 and are not NaN")
    values = np.stack([r <= 1, r <= 3, r <= 10, 1 / r], axis=1)
    means, intervals = mean_ci(values, groups=groups, resamples=resamples, seed=seed)
    ci95 = dict(zip(names, intervals.tolist(), strict=True))
    return {"n": int(r.size), **_named(names, means), "ci95": ci95}


def top_k(probabilities: ArrayLike, truth: ArrayLike, k: int) -> float:
    """Share of rows whose true class is among the k most probable; ties take the middle of their ranks."""
    return float((ranks_of(probabilities, truth) <= k).mean())


def macro_f1(
    truth: ArrayLike, predicted: ArrayLike, *, min_support: int = 1, weights: FloatArray | None = None
) -> float:
    """Unweighted mean of the classes' F1.

    Args:
        truth: (n,) class numbers from 0.
        predicted: (n,) class numbers from 0.
        min_support: classes with fewer true rows are left out; rows wrongly given to the others still count.
        weights: (n,) weight of each row; support is counted without it.

    Returns:
        Macro F1, or NaN where no class has the support.
    """
    t, p = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if t.size == 0:
        return float("nan")
    n_classes = int(max(t.max(), p.max())) + 1
    support = np.bincount(t, minlength=n_classes)
    weight = np.ones(len(t)) if weights is None else weights
    actual = np.bincount(t, weight, n_classes)
    claimed = np.bincount(p, weight, n_classes)
    hits = np.bincount(t, weight * (t == p), n_classes)
    # A resample may lose a class altogether; it then says nothing about that class's F1.
    counted = (support >= max(min_support, 1)) & (actual + claimed > 0)
    return float((2 * hits[counted] / (actual + claimed)[counted]).mean()) if counted.any() else float("nan")


def differential_f1_rows(predicted: ArrayLike, reference: ArrayLike) -> FloatArray:
    """F1 between predicted and reference differential of each patient.

    Args:
        predicted: (n, conditions) probability mass.
        reference: (n, conditions) probability mass; a row without mass above 0.01 has no reference.

    Returns:
        (n,) values in [0, 1]; NaN where there is no reference.
    """
    p, y = np.asarray(predicted) > DIFFERENTIAL_MASS, np.asarray(reference) > DIFFERENTIAL_MASS
    if p.shape != y.shape:
        raise ValueError(f"differentials of different shapes: {p.shape} and {y.shape}")
    size = p.sum(1) + y.sum(1)
    f1 = 2 * (p & y).sum(1) / np.maximum(size, 1)
    return np.where(y.any(1), f1, np.nan)


def differential_f1(predicted: ArrayLike, reference: ArrayLike) -> float:
    """Mean of :func:`differential_f1_rows` over the patients that have a reference; NaN where none has."""
    rows = differential_f1_rows(predicted, reference)
    rows = rows[~np.isnan(rows)]
    return float(rows.mean()) if rows.size else float("nan")


def ece(
    probabilities: ArrayLike, truth: ArrayLike, *, bins: int = 15, weights: FloatArray | None = None
) -> float:
    """Expected calibration error of the most probable class, equal-width bins (Guo et al., ICML 2017).

    Args:
        probabilities: (n, classes).
        truth: (n,) class numbers.
        bins: number of bins over [0, 1].
        weights: (n,) weight of each row.
    """
    p, t = np.asarray(probabilities, dtype=np.float64), np.asarray(truth)
    if len(p) == 0:
        return float("nan")
    confidence, correct = p.max(1), p.argmax(1) == t
    weight = np.ones(len(p)) if weights is None else weights
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weight * confidence, bins) - np.bincount(bin_of, weight * correct, bins)
    return float(np.abs(gap).sum() / weight.sum())


def brier_rows(probabilities: ArrayLike, truth: ArrayLike) -> FloatArray:
    """Multiclass Brier score of each row, from 0 (sure and right) to 2 (sure and wrong)."""
    p, t = np.asarray(probabilities, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    return (p**2).sum(1) - 2 * p[np.arange(len(p)), t] + 1


def brier(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """Mean multiclass Brier score (Brier, 1950)."""
    rows = brier_rows(probabilities, truth)
    return float(rows.mean()) if rows.size else float("nan")


def classification_metrics(
    probabilities: ArrayLike,
    truth: ArrayLike,
    *,
    predicted_differential: ArrayLike | None = None,
    reference_differential: ArrayLike | None = None,
    min_support: int = 5,
    resamples: int = 300,
    seed: int = 0,
) -> dict[str, Any]:
    """All figures of a common-disease evaluation with 95 % intervals.

    Args:
        probabilities: (n, classes), rows sum to 1.
        truth: (n,) class numbers.
        predicted_differential: (n, classes) the differential, where it is an output of its own.
        reference_differential: (n, classes) mass of the reference; without it that figure is ``None``.
        min_support: classes with fewer true rows do not enter ``macro_f1``.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        ``{"n", "top1", "top3", "top5", "macro_f1", "differential_f1", "ece", "brier", "ci95": {...}}``.
    """
    p, t = np.asarray(probabilities, dtype=np.float64), np.asarray(truth, dtype=np.int64)
    names = ("top1", "top3", "top5", "macro_f1", "differential_f1", "ece", "brier")
    result: dict[str, Any] = {"n": len(t), **dict.fromkeys(names), "ci95": dict.fromkeys(names)}
    if len(t) == 0:
        return result
    ranks, guess = ranks_of(p, t), p.argmax(1)
    plain = ("top1", "top3", "top5", "brier")
    values = np.stack([ranks <= 1, ranks <= 3, ranks <= 5, brier_rows(p, t)], axis=1)
    means, intervals = mean_ci(values, resamples=resamples, seed=seed)
    result |= _named(plain, means)
    result["ci95"] |= dict(zip(plain, intervals.tolist(), strict=True))
    weighted: dict[str, Callable[[FloatArray | None], float]] = {
        "macro_f1": lambda w: macro_f1(t, guess, min_support=min_support, weights=w),
        "ece": lambda w: ece(p, t, weights=w),
    }
    for name, statistic in weighted.items():
        value = statistic(None)
        if not np.isnan(value):
            result[name] = value
            result["ci95"][name] = bootstrap_ci(statistic, len(t), resamples=resamples, seed=seed)
    if reference_differential is not None:
        own = p if predicted_differential is None else predicted_differential
        rows = differential_f1_rows(own, reference_differential)
        rows = rows[~np.isnan(rows)]
        if rows.size:
            mean, interval = mean_ci(rows[:, None], resamples=resamples, seed=seed)
            result["differential_f1"] = float(mean[0])
            result["ci95"]["differential_f1"] = interval[0].tolist()
    return result


def _named(names: Sequence[str], values: FloatArray) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def _counts(rng: np.random.Generator, resamples: int, n: int) -> FloatArray:
    """How often each of n units stands in each resample: (resamples, n)."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def _group_codes(groups: Sequence[Any] | NDArray[Any], n: int) -> NDArray[np.int64]:
    codes = np.unique(np.asarray(groups), return_inverse=True)[1]
    if codes.shape != (n,):
        raise ValueError(f"{n} rows, but {codes.size} groups")
    return codes.astype(np.int64)


def _cluster_sums(
    values: FloatArray, groups: Sequence[Any] | NDArray[Any] | None
) -> tuple[FloatArray, FloatArray]:
    """Column sums (clusters, k) and sizes (clusters,); each row is its own cluster without groups."""
    if len(values) == 0:
        raise ValueError("an interval needs at least one row")
    if groups is None:
        return values, np.ones(len(values), dtype=np.float64)
    codes = _group_codes(groups, len(values))
    n_clusters = int(codes.max()) + 1
    sums = np.stack(
        [np.bincount(codes, column, n_clusters).astype(np.float64) for column in values.T], axis=1
    )
    return sums, np.bincount(codes, minlength=n_clusters).astype(np.float64)


def _percentiles(drawn: FloatArray, confidence: float) -> FloatArray:
    """(resamples, k) to (k, 2)."""
    tail = (1 - confidence) / 2
    return np.nanquantile(drawn, [tail, 1 - tail], axis=0).T
