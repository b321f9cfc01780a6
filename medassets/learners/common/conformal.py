"""Thresholds of conformal prediction sets with a stated coverage.

What belongs here: finding thresholds, and their meaning. What does not: applying them
(``medassets.features.pooling.ConformalSets``).

Split-conformal prediction with the least-ambiguous score, the probability of the true condition (Sadinle, Lei
and Wasserman, JASA 2019), on rows that the models were not fitted on: out-of-fold rows and the validation
part, as recorded and as probes. One threshold for each band of unanswered questions (Mondrian: Vovk et al.,
2005), because the promise must hold when little is known too.

The rule's coverage is the nominal one. Where the model is right more often than that, the rule leaves some
sets empty; a person is always shown the most probable condition as well, which can only raise the coverage.
"""

from __future__ import annotations

import numpy as np

from medassets.features.pooling import ConformalSets

#: Upper ends of the bands of the share of unanswered questions; the last band is open.
BAND_EDGES = (0.1, 0.25, 0.4)
#: Fewest rows that a band's threshold is found from; a smaller band takes the neighbour's.
MIN_BAND = 100


def fit_conformal(
    probabilities: np.ndarray, labels: np.ndarray, unknown: np.ndarray, coverage: float
) -> ConformalSets:
    """Find the thresholds.

    Args:
        probabilities: (n, n_conditions) calibrated, of rows that the models were not fitted on.
        labels: (n,) true condition.
        unknown: (n,) share of questions without an answer.
        coverage: nominal coverage, for example 0.95.

    Raises:
        ValueError: no rows, or coverage outside 0..1.
    """
    if not len(labels):
        raise ValueError("conformal thresholds need at least one row")
    if not 0 < coverage < 1:
        raise ValueError(f"coverage is {coverage}, allowed: above 0 and below 1")
    own = probabilities[np.arange(len(labels)), labels]
    edges = np.array(BAND_EDGES)
    band = np.searchsorted(edges, unknown, side="left")
    thresholds = np.full(len(edges) + 1, np.nan)
    for number in range(len(thresholds)):
        rows = band == number
        if rows.sum() >= MIN_BAND:
            thresholds[number] = _quantile(own[rows], coverage)
    known = np.flatnonzero(~np.isnan(thresholds))
    if not len(known):
        thresholds[:] = _quantile(own, coverage)
    else:
        nearest = known[np.abs(np.arange(len(thresholds))[:, None] - known).argmin(axis=1)]
        thresholds = thresholds[nearest]
    return ConformalSets(coverage, edges, thresholds)


def _quantile(own: np.ndarray, coverage: float) -> float:
    """Largest threshold that ``coverage`` of n + 1 exchangeable rows reach; 0 if n is too small."""
    rank = int(np.floor((len(own) + 1) * (1 - coverage)))
    return float(np.sort(own)[rank - 1]) if rank >= 1 else 0.0
