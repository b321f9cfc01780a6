"""Fitting the calibration of the ranker on held-out episodes.

What belongs here: choosing temperatures and offsets by likelihood, the weights of "none that I know", and
the threshold from which an answer abstains. What does not: applying them (``features.rare_network``). Only
episodes of the training part are read.

A disease counts as unknown where the held-out fold left neither a case nor an annotation row of it, that is
where it was held out whole. A case whose disease is known but not on the list says nothing about either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from medassets.features.rare_evidence import FEATURES
from medassets.features.rare_network import Calibration, case_description, novelty, sigmoid
from medassets.learners.rare.ranker_episodes import Episodes

_HAS_CASE = FEATURES.index("has_case")
_PENALTY = 1e-3
#: Share of cases of known diseases on which an answer may abstain.
FALSE_ABSTENTIONS = 0.05


@dataclass(frozen=True, eq=False)
class HeldOutLogits:
    """What calibration needs of held-out episodes: n episodes, K places on a list.

    Attributes:
        logits: (n, K) of networks that were not learned on the episode's fold.
        listed: (n, K) bool, whether a place is taken.
        has_case: (n, K) 1 where the candidate has known cases, else 0.
        target: (n,) place of the true disease, -1 where it is not listed.
        informed: (n,) bool, whether a case or an annotation row of the true disease was known.
        weight: (n,) weight of the episode.
        description: (n, 7) as :func:`case_description` gives it.
    """

    logits: np.ndarray
    listed: np.ndarray
    has_case: np.ndarray
    target: np.ndarray
    informed: np.ndarray
    weight: np.ndarray
    description: np.ndarray

    @classmethod
    def of(cls, episodes: Episodes, logits: np.ndarray) -> HeldOutLogits:
        """Take what is needed from the episodes."""
        description = [
            case_description(f[: max(int((c >= 0).sum()), 1)].astype(np.float32), FEATURES)
            for f, c in zip(episodes.features, episodes.candidates, strict=True)
        ]
        return cls(
            logits,
            episodes.candidates >= 0,
            (episodes.features[:, :, _HAS_CASE] > 0.5).astype(np.int64),
            episodes.target,
            episodes.annotated | (episodes.shots > 0),
            episodes.weight,
            np.stack(description),
        )

    def with_more(self, other: HeldOutLogits) -> HeldOutLogits:
        """Return the episodes of both."""
        names = self.__dataclass_fields__
        return HeldOutLogits(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))


def fit_calibration(held_out: HeldOutLogits) -> Calibration:
    """Choose the calibration that makes the true answers most likely.

    Episodes count by their weight, so that one publication with hundreds of cases does not set the scale.
    """
    inverse, offset = _fit_scale(held_out)
    kind = held_out.has_case
    z = np.where(held_out.listed, inverse[kind] * held_out.logits + offset[kind], -np.inf)
    top = z.max(axis=1)
    share = np.exp(z - top[:, None])
    log_total = np.log(share.sum(axis=1)) + top
    described = novelty(held_out.description, log_total, 1 / share.sum(axis=1))
    unknown = ~held_out.informed & (held_out.target < 0)
    weights = _fit_unknown(described, unknown, held_out.informed | unknown, held_out.weight)
    p = sigmoid(described @ weights)
    known = held_out.informed
    threshold = _upper_quantile(p[known], held_out.weight[known], FALSE_ABSTENTIONS)
    return Calibration(inverse, offset, weights, np.array([threshold]))


def _fit_scale(held_out: HeldOutLogits) -> tuple[np.ndarray, np.ndarray]:
    """Return inverse temperatures and offsets, (2,) each, by the likelihood of listed true diseases."""
    use = np.flatnonzero(held_out.target >= 0)
    logits, listed, kind = held_out.logits[use], held_out.listed[use], held_out.has_case[use]
    truth, rows = held_out.target[use], np.arange(len(use))
    weight = held_out.weight[use] / held_out.weight[use].sum()

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        inverse, offset = np.exp(x[:2]), np.array([x[2], 0.0])
        z = np.where(listed, inverse[kind] * logits + offset[kind], -np.inf)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        nll = -np.log(np.maximum(p[rows, truth], 1e-12)) @ weight
        slope = p * weight[:, None]
        slope[rows, truth] -= weight
        scaled = slope * logits
        gradient = [*(inverse[k] * scaled[kind == k].sum() for k in (0, 1)), slope[kind == 0].sum()]
        return float(nll), np.array(gradient)

    x = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    return np.exp(x[:2]), np.array([x[2], 0.0])


def _fit_unknown(
    described: np.ndarray, unknown: np.ndarray, use: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Return the weights of a logistic regression of "none that I know"; the first column is constant."""
    x, y, w = described[use], unknown[use].astype(np.float64), weight[use] / weight[use].sum()
    center, spread = x.mean(axis=0), x.std(axis=0)
    center[0], spread = 0.0, np.where(spread > 1e-6, spread, 1.0)
    standard = (x - center) / spread

    def loss(b: np.ndarray) -> tuple[float, np.ndarray]:
        z = standard @ b
        shrunk = np.append(0.0, b[1:])
        nll = w @ (np.logaddexp(0.0, z) - y * z) + _PENALTY * (shrunk @ shrunk)
        return float(nll), standard.T @ (w * (sigmoid(z) - y)) + 2 * _PENALTY * shrunk

    b = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x / spread
    b[0] -= float(b[1:] @ center[1:])
    return np.asarray(b)


def _upper_quantile(values: np.ndarray, weight: np.ndarray, share: float) -> float:
    """Return the value that so large a share of the weight lies above; 1 without values."""
    if len(values) == 0:
        return 1.0
    order = np.argsort(-values, kind="stable")
    above = np.cumsum(weight[order]) / weight.sum()
    return float(values[order[min(int(np.searchsorted(above, share)), len(order) - 1)]])
