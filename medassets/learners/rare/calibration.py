"""Fitting the calibration of the ranker on held-out episodes.

What belongs here: choosing temperatures, offsets and the weight of "none that I know" by likelihood. What
does not: applying them (``features.rare_network``). Only episodes of the training part are read.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from medassets.features.rare_evidence import FEATURES
from medassets.features.rare_network import Calibration, case_description
from medassets.learners.rare.ranker_episodes import Episodes

_HAS_CASE = FEATURES.index("has_case")
_PENALTY = 1e-4


def describe(episodes: Episodes) -> np.ndarray:
    """Return the case descriptions of all episodes: (n, 6)."""
    return np.stack([case_description(f[: max(int((c >= 0).sum()), 1)], FEATURES)
                     for f, c in zip(episodes.features, episodes.candidates, strict=True)])  # fmt: skip


def fit_calibration(episodes: Episodes, logits: np.ndarray) -> Calibration:
    """Choose the calibration that makes the true answers most likely.

    The true answer of an episode whose disease is not on the list is "none that I know". Episodes count by
    their weight, so that one publication with hundreds of cases does not set the scale.

    Args:
        episodes: held-out episodes.
        logits: (n, K) of networks that were not learned on the episode's fold.
    """
    listed = episodes.candidates >= 0
    kind = (episodes.features[:, :, _HAS_CASE] > 0.5).astype(np.int64)
    description = describe(episodes)
    center, spread = description.mean(axis=0), description.std(axis=0)
    center[0], spread = 0.0, np.where(spread > 1e-6, spread, 1.0)
    standard = (description - center) / spread
    truth = np.where(episodes.target >= 0, episodes.target, logits.shape[1])
    weight = episodes.weight / episodes.weight.sum()
    rows = np.arange(len(episodes))

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
