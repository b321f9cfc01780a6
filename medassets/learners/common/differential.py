"""The differential head: which conditions a reference differential would name, and with what mass.

What belongs here: fitting and storing the head. What does not: its input
(``medassets.features.differential_inputs``) and how sets are made of its scores
(``medassets.features.pooling``).

DDXPlus differentials come from a rule-based system: they hold conditions that share findings with the
patient, not only those that remain likely, so the posterior alone is a poor guide. The head is two
multi-output boosters (membership by logistic loss, root of the mass by squared error), which follow rules
better than a network does from so few references. Rows without a reference are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medassets.features.differential_inputs import DifferentialInputs
from medassets.features.model_inputs import ModelInputs
from medassets.features.pooling import DIFFERENTIAL_MASS
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.patients import CommonPatients
from medassets.learners.common.storage import load_arrays, load_inputs, save_arrays, save_inputs

if TYPE_CHECKING:
    import xgboost

#: Fewest reference differentials that a head is learned from.
MIN_REFERENCES = 100


@dataclass(frozen=True)
class DifferentialHead:
    """Two fitted boosters over ``DifferentialInputs``."""

    member: xgboost.Booster
    mass: xgboost.Booster
    inputs: DifferentialInputs

    @classmethod
    def fit(
        cls,
        patients: CommonPatients,
        log_posterior: np.ndarray,
        knowledge: CommonKnowledge,
        inputs: ModelInputs,
        config: CommonConfig,
    ) -> DifferentialHead | None:
        """Fit on rows with a reference differential; None where there are fewer than ``MIN_REFERENCES``.

        Args:
            patients: rows.
            log_posterior: (n, n_conditions) naive Bayes log-posterior, out of fold for rows it was fitted on.
            knowledge: which symptoms belong to which condition.
            inputs: columns of the symptom matrix.
            config: ``differential``, ``seed`` and ``threads``.
        """
        import xgboost

        rows = np.flatnonzero(~np.isnan(patients.differential).any(axis=1))
        if len(rows) < MIN_REFERENCES:
            return None
        columns = DifferentialInputs(inputs, *_pictures(knowledge))
        X = columns.transform(patients.matrix[rows], log_posterior[rows])
        reference = patients.differential[rows]
        settings = config.differential
        params: dict[str, Any] = {
            "tree_method": "hist",
            "max_bin": 64,
            "max_depth": settings.depth,
            "eta": settings.learning_rate,
            "colsample_bytree": settings.columns,
            "subsample": settings.subsample,
            "min_child_weight": settings.min_child_weight,
            "lambda": settings.l2,
            "seed": config.seed,
            "nthread": config.threads,
        }
        named = xgboost.DMatrix(
            X, label=(reference > DIFFERENTIAL_MASS).astype(np.float32), nthread=config.threads
        )
        member = xgboost.train(params | {"objective": "binary:logistic"}, named, settings.rounds)
        weighed = xgboost.DMatrix(X, label=np.sqrt(reference).astype(np.float32), nthread=config.threads)
        small = {
            "objective": "reg:squarederror",
            "min_child_weight": 2.0,
            "max_depth": min(4, settings.depth),
        }
        mass = xgboost.train(params | small, weighed, settings.mass_rounds)
        return cls(member, mass, columns)

    def predict(self, matrix: np.ndarray, log_posterior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds of membership and root of the mass, each (n, n_conditions) float32."""
        X = self.inputs.transform(matrix, log_posterior)
        odds = self.member.inplace_predict(X, predict_type="margin")
        return odds, self.mass.inplace_predict(X)

    def save(self, directory: Path) -> None:
        """Write boosters as JSON and columns as arrays."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, booster in (("member", self.member), ("mass", self.mass)):
            (directory / f"{name}.json").write_bytes(bytes(booster.save_raw("json")))
        save_inputs(self.inputs.inputs, directory)
        pictures = {"pictured": self.inputs.pictured, "symptoms": self.inputs.symptoms}
        save_arrays(directory / "pictures.npz", pictures)

    @classmethod
    def load(cls, directory: Path) -> DifferentialHead:
        """Read what ``save`` wrote."""
        import xgboost

        boosters = []
        for name in ("member", "mass"):
            booster = xgboost.Booster()
            booster.load_model(bytearray((directory / f"{name}.json").read_bytes()))
            boosters.append(booster)
        columns = DifferentialInputs(load_inputs(directory), **load_arrays(directory / "pictures.npz"))
        return cls(boosters[0], boosters[1], columns)


def _pictures(knowledge: CommonKnowledge) -> tuple[np.ndarray, np.ndarray]:
    """(n_conditions, n_base) symptoms of each condition, and which evidences are symptoms at all."""
    pictured = np.zeros((len(knowledge.conditions), len(knowledge.evidences)), dtype=bool)
    for row, condition in enumerate(knowledge.conditions):
        pictured[row, [knowledge.evidence_index[code] for code in condition.symptoms]] = True
    return pictured, np.array([not evidence.is_antecedent for evidence in knowledge.evidences])
