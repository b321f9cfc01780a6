"""From the models' probabilities to one calibrated answer: pooling, calibration, conformal sets, differential.

What belongs here: the arithmetic, on arrays that training fitted. What does not: the fitting
(``medassets.learners.common.stacking``, ``calibration``, ``conformal``). On the serving path: numpy only.

Pooling is log-linear with one weight a model (Genest and Zidek, 1986), the multinomial logistic regression on
log-probabilities whose coefficients are shared by all conditions; weights move with the share of unanswered
questions. Temperature follows Guo et al. (ICML 2017). Conformal sets keep conditions whose probability reaches a
threshold (LAC: Sadinle, Lei and Wasserman, 2019), one threshold for each band of unanswered questions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medassets.features.answer_codes import log_softmax

#: Probabilities below this are treated as this: a forest says 0 where it has seen nothing.
PROBABILITY_FLOOR = 1e-5
#: DDXPlus counts conditions above this mass as part of a differential.
DIFFERENTIAL_MASS = 0.01


@dataclass(frozen=True)
class Pool:
    """Log-linear pool of models.

    Attributes:
        names: models, in the order of the weights.
        weights: (n_models,) weight with every question answered.
        slopes: (n_models,) change of the weight when no question is answered.
        bias: (n_conditions,).
    """

    names: tuple[str, ...]
    weights: np.ndarray
    slopes: np.ndarray
    bias: np.ndarray

    def scores(self, log_proba: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """Pool log-probabilities.

        Args:
            log_proba: (n_models, n, n_conditions).
            unknown: (n,) share of questions without an answer.

        Returns:
            (n, n_conditions) unnormalised log-probabilities.
        """
        own = self.weights[:, None] + self.slopes[:, None] * unknown
        floored = np.maximum(log_proba, np.log(PROBABILITY_FLOOR))
        return np.einsum("mn,mnc->nc", own, floored) + self.bias


@dataclass(frozen=True)
class Calibration:
    """Map from pooled scores to probabilities.

    Attributes:
        method: ``temperature`` or ``isotonic``.
        temperature: scores are divided by it.
        knots: (2, k) raw and calibrated probability of the isotonic map; empty for ``temperature``.
    """

    method: str
    temperature: float
    knots: np.ndarray

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """(n, n_conditions) probabilities of pooled scores; rows sum to 1."""
        p = np.exp(log_softmax(scores / self.temperature))
        if self.method == "isotonic":
            # A trace of the raw value keeps the order where the map is flat.
            p = np.interp(p, self.knots[0], self.knots[1]) + 1e-6 * p
            p = p / p.sum(axis=1, keepdims=True)
        return p


@dataclass(frozen=True)
class ConformalSets:
    """Thresholds of prediction sets.

    Attributes:
        coverage: nominal coverage.
        edges: (bands - 1,) upper ends of the bands of the share of unanswered questions.
        thresholds: (bands,) a condition is in the set if its probability is at least this.
    """

    coverage: float
    edges: np.ndarray
    thresholds: np.ndarray

    def rule(self, probabilities: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """The calibrated rule itself, (n, n_conditions) bool; a set may be empty where every model doubts."""
        band = np.searchsorted(self.edges, unknown, side="left")
        return probabilities >= self.thresholds[band][:, None]

    def sets(self, probabilities: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """The rule with the most probable condition always kept: what a person is shown."""
        kept = self.rule(probabilities, unknown)
        kept[np.arange(len(kept)), probabilities.argmax(axis=1)] = True
        return kept


def sparsify(mass: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Differential with mass on its members only, each above ``DIFFERENTIAL_MASS``.

    Args:
        mass: (n, n_conditions) non-negative.
        member: (n, n_conditions) bool; a row without members keeps its largest mass.

    Returns:
        (n, n_conditions); rows sum to 1.
    """
    member = member.copy()
    member[np.arange(len(member)), mass.argmax(axis=1)] |= ~member.any(axis=1)
    kept = np.where(member, mass, 0.0) + 1e-9 * member
    kept = kept / kept.sum(axis=1, keepdims=True)
    # Members below the line are lifted just above it, and the others shrink to make room.
    line = 1.02 * DIFFERENTIAL_MASS
    low = member & (kept < line)
    rest = np.where(low, 0.0, kept)
    room = 1 - line * low.sum(axis=1, keepdims=True)
    return np.where(low, line, rest / np.maximum(rest.sum(axis=1, keepdims=True), 1e-12) * room)
