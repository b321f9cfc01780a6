"""From the models' probabilities to one calibrated answer: pooling, calibration, conformal sets,
differential.

What belongs here: the arithmetic, on arrays that training fitted. What does not: the fitting
(``medassets.learners.common.stacking``, ``calibration``, ``conformal``). On the serving path: numpy only.

Pooling is log-linear with one weight a model (Genest and Zidek, 1986), the multinomial logistic regression on
log-probabilities whose coefficients are shared by all conditions; weights move with the share of unanswered
questions. Temperature follows Guo et al. (ICML 2017). Conformal sets keep conditions whose probability
reaches a threshold (LAC: Sadinle, Lei and Wasserman, 2019), one threshold for each band of unanswered
questions.
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
    above = np.maximum(kept - line, 0.0) * member
    room = 1 - line * member.sum(axis=1, keepdims=True)
    return line * member + above / np.maximum(above.sum(axis=1, keepdims=True), 1e-12) * room


def expected_f1_members(chance: np.ndarray) -> np.ndarray:
    """Sets with the largest expected F1 when members are independent (plug-in rule; Ye et al., ICML 2012).

    Args:
        chance: (n, n_conditions) probability of belonging to the differential.

    Returns:
        (n, n_conditions) bool; at least the likeliest condition is in.
    """
    order = np.argsort(-chance, axis=1, kind="stable")
    sorted_chance = np.take_along_axis(chance, order, axis=1)
    size = np.arange(1, chance.shape[1] + 1)
    expected = 2 * sorted_chance.cumsum(axis=1) / (size + chance.sum(axis=1, keepdims=True))
    keep = size - 1 <= expected.argmax(axis=1)[:, None]
    members = np.zeros(chance.shape, dtype=bool)
    np.put_along_axis(members, order, keep, axis=1)
    return members


@dataclass(frozen=True)
class CommonPrediction:
    """What is said about a batch of patients; all arrays are (n, n_conditions).

    Attributes:
        probabilities: calibrated; rows sum to 1.
        differential: mass on the conditions that a differential would name.
        sets: bool, the conformal rule; ``shown`` has the most probable condition as well.
        models: probabilities of each base model.
    """

    probabilities: np.ndarray
    differential: np.ndarray
    sets: np.ndarray
    shown: np.ndarray
    models: dict[str, np.ndarray]


@dataclass(frozen=True)
class Decision:
    """Pool, calibration and conformal thresholds of one ensemble."""

    pool: Pool
    calibration: Calibration
    conformal: ConformalSets
    softness: float

    def probabilities(self, log_proba: np.ndarray, unknown: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (n, n_conditions) of the models' (n_models, n, n_conditions)."""
        return self.calibration.probabilities(self.pool.scores(log_proba, unknown))

    def predict(
        self,
        log_proba: dict[str, np.ndarray],
        unknown: np.ndarray,
        head: tuple[np.ndarray, np.ndarray] | None,
    ) -> CommonPrediction:
        """Everything that is said about a batch.

        Args:
            log_proba: (n, n_conditions) of each base model.
            unknown: (n,) share of questions without an answer.
            head: scores of membership (log-odds) and root mass from the differential head. None, where the
                training
                data had no reference differentials: the differential is then the softened posterior.
        """
        stacked = np.stack([log_proba[name] for name in self.pool.names])
        p = self.probabilities(stacked, unknown)
        if head is None:
            soft = np.exp(log_softmax(np.log(np.maximum(p, 1e-30)) / self.softness))
            differential = sparsify(soft, soft > DIFFERENTIAL_MASS)
        else:
            chance = 1 / (1 + np.exp(-head[0].astype(np.float64)))
            mass = np.maximum(head[1].astype(np.float64), 1e-3) ** 2
            differential = sparsify(mass, expected_f1_members(chance))
        models = {name: np.exp(values) for name, values in log_proba.items()}
        return CommonPrediction(
            p, differential, self.conformal.rule(p, unknown), self.conformal.sets(p, unknown), models
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays that ``from_arrays`` restores."""
        return {
            "pool_names": np.array(self.pool.names),
            "pool_weights": self.pool.weights,
            "pool_slopes": self.pool.slopes,
            "pool_bias": self.pool.bias,
            "calibration_method": np.array(self.calibration.method),
            "calibration_temperature": np.array(self.calibration.temperature),
            "calibration_knots": self.calibration.knots,
            "conformal_coverage": np.array(self.conformal.coverage),
            "conformal_edges": self.conformal.edges,
            "conformal_thresholds": self.conformal.thresholds,
            "softness": np.array(self.softness),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> Decision:
        """Restore what ``to_arrays`` gave."""
        return cls(
            Pool(
                tuple(str(name) for name in arrays["pool_names"]),
                arrays["pool_weights"],
                arrays["pool_slopes"],
                arrays["pool_bias"],
            ),
            Calibration(
                str(arrays["calibration_method"]),
                float(arrays["calibration_temperature"]),
                arrays["calibration_knots"],
            ),
            ConformalSets(
                float(arrays["conformal_coverage"]),
                arrays["conformal_edges"],
                arrays["conformal_thresholds"],
            ),
            float(arrays["softness"]),
        )
