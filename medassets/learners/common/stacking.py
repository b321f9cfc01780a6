"""The meta-learner: how much each base model's opinion counts, learned from out-of-fold predictions.

What belongs here: fitting the log-linear pool. What does not: its arithmetic
(``medassets.features.pooling``).

Stacking (Wolpert, 1992) with a multinomial logistic regression on log-probabilities. Its coefficients are
shared by
all conditions: one weight a model and one change of that weight with the share of unanswered questions,
instead of one for each pair of conditions, which 1,500 rows cannot support. Weights are not negative: a model
is listened to or it is not. Ridge penalties hold slopes and biases near zero.
"""

from __future__ import annotations

import numpy as np

from medassets.features.answer_codes import log_softmax
from medassets.features.pooling import PROBABILITY_FLOOR, Pool


def fit_pool(
    names: tuple[str, ...],
    log_proba: np.ndarray,
    unknown: np.ndarray,
    labels: np.ndarray,
    *,
    ridge: float = 1.0,
    bias_ridge: float = 20.0,
) -> Pool:
    """Fit weights by penalised maximum likelihood.

    Args:
        names: models.
        log_proba: (n_models, n, n_conditions) out-of-fold log-probabilities.
        unknown: (n,) share of questions without an answer.
        labels: (n,) true condition.
        ridge: penalty on slopes and on the distance of weights from an equal share.
        bias_ridge: penalty on the conditions' biases.
    """
    from scipy.optimize import minimize

    models, rows, classes = log_proba.shape
    floored = np.maximum(log_proba, np.log(PROBABILITY_FLOOR)).astype(np.float64)
    own = floored[:, np.arange(rows), labels]
    equal = 1 / models
    truth = np.bincount(labels, minlength=classes)

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        weights, slopes, bias = theta[:models], theta[models : 2 * models], theta[2 * models :]
        mixed = weights[:, None] + slopes[:, None] * unknown
        scores = np.einsum("mn,mnc->nc", mixed, floored) + bias
        log_p = log_softmax(scores)
        p = np.exp(log_p)
        loss = -log_p[np.arange(rows), labels].sum()
        pull = np.einsum("nc,mnc->mn", p, floored) - own
        penalty = ridge * (((weights - equal) ** 2).sum() + (slopes**2).sum()) + bias_ridge * (bias**2).sum()
        gradient = np.concatenate(
            [
                pull.sum(axis=1) + 2 * ridge * (weights - equal),
                pull @ unknown + 2 * ridge * slopes,
                p.sum(axis=0) - truth + 2 * bias_ridge * bias,
            ]
        )
        return loss + penalty, gradient

    start = np.concatenate([np.full(models, equal), np.zeros(models + classes)])
    bounds = [(0.0, None)] * models + [(None, None)] * (models + classes)
    best = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300})
    return Pool(names, best.x[:models], best.x[models : 2 * models], best.x[2 * models :])
