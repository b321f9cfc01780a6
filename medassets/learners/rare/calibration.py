"""Fitting the calibration of the ranker on held-out episodes.

What belongs here: choosing temperatures, offsets and the weight of "none that I know" by likelihood. What
does not: applying them (``features.rare_network``). Only episodes of the training part are read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from medassets.features.rare_evidence import FEATURES
from medassets.features.rare_network import Calibration, case_description
from medassets.learners.rare.ranker_episodes import Episodes

_HAS_CASE = FEATURES.index("has_case")
_PENALTY = 1e-4


@dataclass(frozen=True, eq=False)
class HeldOutLogits:
    """What calibration needs of held-out episodes: n episodes, K places on a list.

    Attributes:
        logits: (n, K) of networks that were not learned on the episode's fold.
        listed: (n, K) bool, whether a place is taken.
        has_case: (n, K) 1 where the candidate has known cases, else 0.
        target: (n,) place of the true disease, K where it is not listed.
        weight: (n,) weight of the episode.
        description: (n, 6) as :func:`case_description` gives it.
    """

    logits: np.ndarray
    listed: np.ndarray
    has_case: np.ndarray
    target: np.ndarray
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
            np.where(episodes.target >= 0, episodes.target, logits.shape[1]),
            episodes.weight,
            np.stack(description),
        )

    def with_more(self, other: HeldOutLogits) -> HeldOutLogits:
        """Return the episodes of both."""
        names = self.__dataclass_fields__
        return HeldOutLogits(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))


def fit_calibration(held_out: HeldOutLogits) -> Calibration:
    """Choose the calibration that makes the true answers most likely.

    The true answer of an episode whose disease is not on the list is "none that I know". Episodes count by
    their weight, so that one publication with hundreds of cases does not set the scale.
    """
    logits, listed, kind = held_out.logits, held_out.listed, held_out.has_case
    description, truth = held_out.description, held_out.target
    center, spread = description.mean(axis=0), description.std(axis=0)
    center[0], spread = 0.0, np.where(spread > 1e-6, spread, 1.0)
    standard = (description - center) / spread
    weight = held_out.weight / held_out.weight.sum()
    rows = np.arange(len(logits))

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        inverse, offset = np.exp(x[:2]), np.array([x[2], 0.0])
        z = np.where(listed, inverse[kind] * logits + offset[kind], -np.inf)
        z = np.concatenate([z, (standard @ x[3:])[:, None]], axis=1)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        nll = -np.log(np.maximum(p[rows, truth], 1e-12)) @ weight
        slope = p * weight[:, None]
        slope[rows, truth] -= weight
        body = slope[:, :-1] * listed
        scaled = body * logits
        gradient = np.concatenate(
            [
                [inverse[k] * scaled[kind == k].sum() for k in (0, 1)],
                [body[kind == 0].sum()],
                slope[:, -1] @ standard + 2 * _PENALTY * x[3:],
            ]
        )
        return float(nll + _PENALTY * (x[3:] @ x[3:])), gradient

    start = np.zeros(3 + description.shape[1])
    start[3] = float(np.median(np.where(listed, logits, -np.inf).max(axis=1)))
    x = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    unknown = x[3:] / spread
    unknown[0] -= float((x[3:] / spread)[1:] @ center[1:])
    return Calibration(np.exp(x[:2]), np.array([x[2], 0.0]), unknown)
