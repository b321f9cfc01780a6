"""Gradient-boosted trees (XGBoost: Chen and Guestrin, KDD 2016) over the encoded answers.

What belongs here: fitting, scoring and storing the booster. What does not: rows and folds (``training``) and
the export (``onnx_export``). Fitted on numpy arrays without column names, as the exporter wants it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medassets.features.model_inputs import ModelInputs
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.patients import CommonPatients
from medassets.learners.common.storage import load_inputs, save_inputs

if TYPE_CHECKING:
    import xgboost


@dataclass(frozen=True)
class BoostingModel:
    """A fitted booster with the columns it reads; ``booster`` has exact SHAP values by ``pred_contribs``."""

    booster: xgboost.Booster
    inputs: ModelInputs
    name: str = "boosting"

    @classmethod
    def fit(
        cls, patients: CommonPatients, inputs: ModelInputs, n_conditions: int, config: CommonConfig, **_: Any
    ) -> BoostingModel:
        """Fit on rows of a symptom matrix (unknown answers as -1, a value of their own)."""
        return cls(_boost(patients, inputs, n_conditions, config, config.boosting.rounds), inputs)

    def continued(
        self, patients: CommonPatients, n_conditions: int, config: CommonConfig, *, rounds: int
    ) -> BoostingModel:
        """A booster with further rounds on other rows; this one stays as it is."""
        more = _boost(patients, self.inputs, n_conditions, config, rounds, self.booster)
        return BoostingModel(more, self.inputs)

    def log_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64 log-probabilities of rows of a symptom matrix."""
        return np.log(np.maximum(self.predict_proba(matrix), 1e-12))

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64."""
        return self.predict_inputs(self.inputs.transform(matrix)).astype(np.float64)

    def predict_inputs(self, X: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float32 of rows that are already a model's input: (n, n_inputs) float32."""
        return self.booster.inplace_predict(X)

    def save(self, directory: Path) -> None:
        """Write the booster as JSON and its columns."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "booster.json").write_bytes(bytes(self.booster.save_raw("json")))
        save_inputs(self.inputs, directory)

    @classmethod
    def load(cls, directory: Path) -> BoostingModel:
        """Read what ``save`` wrote."""
        import xgboost

        booster = xgboost.Booster()
        booster.load_model(bytearray((directory / "booster.json").read_bytes()))
        return cls(booster, load_inputs(directory))

    def describe(self) -> str:
        """One line for a report."""
        params = json.loads(self.booster.save_config())["learner"]["gradient_booster"]["gbtree_model_param"]
        return f"{params['num_trees']} trees over {len(self.inputs)} columns"


def _boost(
    patients: CommonPatients,
    inputs: ModelInputs,
    n_conditions: int,
    config: CommonConfig,
    rounds: int,
    start: xgboost.Booster | None = None,
) -> xgboost.Booster:
    """Boost some rounds, from nothing or on top of a booster."""
    import xgboost

    settings = config.boosting
    data = xgboost.DMatrix(inputs.transform(patients.matrix), label=patients.labels, nthread=config.threads)
    params = {
        "objective": "multi:softprob",
        "num_class": n_conditions,
        "tree_method": "hist",
        # Answers have three values and degrees eleven: few bins are exact but for age.
        "max_bin": 32,
        "max_depth": settings.depth,
        "eta": settings.learning_rate,
        "subsample": settings.subsample,
        "colsample_bytree": settings.columns,
        "min_child_weight": settings.min_child_weight,
        "lambda": settings.l2,
        "seed": config.seed,
        "nthread": config.threads,
    }
    return xgboost.train(params, data, rounds, xgb_model=start)
