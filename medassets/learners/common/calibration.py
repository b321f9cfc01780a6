"""Calibration of pooled scores: temperature or isotonic, whichever is better on rows that it was not fitted
on.

What belongs here: fitting and choosing. What does not: the arithmetic (``medassets.features.pooling``).

Temperature scaling: Guo et al., ICML 2017. Isotonic: one monotone map of all (row, condition) probabilities,
then renormalised (Zadrozny and Elkan, KDD 2002). The choice is by cross-validated log-loss; a tie goes to
temperature.
"""

from __future__ import annotations

import numpy as np

from medassets.features.answer_codes import log_softmax
from medassets.features.pooling import Calibration

_NO_KNOTS = np.zeros((2, 0))


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """The temperature with the least log-loss."""
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        return float(-log_softmax(scores / np.exp(log_t))[np.arange(len(labels)), labels].mean())

    best = minimize_scalar(loss, bounds=(-2.0, 3.0), method="bounded")
    return Calibration("temperature", float(np.exp(best.x)), _NO_KNOTS)


def fit_isotonic(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """A monotone map from probabilities at temperature 1 to observed shares."""
    from sklearn.isotonic import IsotonicRegression

    p = np.exp(log_softmax(scores))
    truth = np.zeros_like(p)
    truth[np.arange(len(labels)), labels] = 1
    # A pseudo-row at either end keeps the map off 0 and 1, which no finite sample can justify.
    x = np.concatenate([[0.0, 1.0], p.ravel()])
    y = np.concatenate([[0.5 / (len(p) + 1), 1 - 0.5 / (len(p) + 1)], truth.ravel()])
    fitted = IsotonicRegression(y_min=1e-6, y_max=1 - 1e-6, out_of_bounds="clip").fit(x, y)
    return Calibration("isotonic", 1.0, np.stack([fitted.X_thresholds_, fitted.y_thresholds_]))


def choose_calibration(
    scores: np.ndarray, labels: np.ndarray, *, folds: int = 5, seed: int = 0
) -> tuple[Calibration, dict[str, float]]:
    """Fit both, keep the better.

    Args:
        scores: (n, n_conditions) pooled scores of rows that the base models were not fitted on.
        labels: (n,) true condition.
        folds: of the comparison.
        seed: of the folds.

    Returns:
        The calibration, fitted on all rows, and the cross-validated log-loss of either method.
    """
    fold = np.random.default_rng(seed).permutation(len(labels)) % folds
    losses = {}
    for name, fit in (("temperature", fit_temperature), ("isotonic", fit_isotonic)):
        total = 0.0
        for held in range(folds):
            out = fold == held
            if not out.any() or out.all():
                continue
            p = fit(scores[~out], labels[~out]).probabilities(scores[out])
            total -= np.log(np.maximum(p[np.arange(int(out.sum())), labels[out]], 1e-12)).sum()
        losses[name] = total / len(labels)
    better = losses["isotonic"] < losses["temperature"] - 1e-3
    return (fit_isotonic if better else fit_temperature)(scores, labels), losses
