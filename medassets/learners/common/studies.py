"""The studies of a training: which base models are searched, and the settings that training takes from them.

What belongs here: one study a model on a sample of the training rows, and the outcome as a model asset that
can be stored. What does not: a single study (``tuning``), where the store lies and how trials are logged.

A study's name holds a hash of its rows and settings, so that a store resumes a study only where both are the
same. With a budget too small to choose by (``TuningConfig.apply`` is false, the quick profile) trials are
recorded, and training keeps the configured settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.learners.common.config import CommonConfig
from medassets.learners.common.storage import load_json, save_json
from medassets.learners.common.training import TrainingData, subsample
from medassets.learners.common.tuning import TrialCallback, run_study


@dataclass(frozen=True)
class CommonStudies:
    """Outcome of all studies.

    Attributes:
        chosen: model to the settings of its best trial.
        applied: whether training takes them.
        trials: every trial: model, number, state, value, params (JSON).
        metadata: ``{"params", "metrics"}``: study names, best trials, their log-loss.
    """

    chosen: dict[str, dict[str, Any]]
    applied: bool
    trials: list[dict[str, Any]]
    metadata: dict[str, Any]

    def configured(self, config: CommonConfig) -> CommonConfig:
        """Give the settings that training uses: the best trials' where they count, else as configured."""
        if not self.applied:
            return config
        return CommonConfig.model_validate(config.model_dump() | self.chosen)

    def source_of(self, model: str) -> dict[str, Any] | None:
        """Name the study and trial that a model's settings come from; None where they were configured."""
        if not self.applied or model not in self.chosen:
            return None
        return {name: self.metadata["params"][name][model] for name in ("study", "best_trial")}

    def save(self, directory: Path) -> None:
        """Write as JSON."""
        directory.mkdir(parents=True, exist_ok=True)
        save_json(directory / "studies.json", vars(self))

    @classmethod
    def load(cls, directory: Path) -> CommonStudies:
        """Read what ``save`` wrote."""
        return cls(**load_json(directory / "studies.json"))


def run_studies(
    data: TrainingData,
    config: CommonConfig,
    *,
    storage: str | None = None,
    told: Callable[[str], TrialCallback] | None = None,
) -> CommonStudies:
    """Search every model that ``config.tuning.models`` names, on a sample of the training part.

    Args:
        data: rows; validation and test are not looked at.
        config: ``tuning`` holds models, rows, trials, seconds for each model, and the engine.
        storage: Optuna's URL; None keeps the studies in memory.
        told: gives the callback that hears of a model's trials.
    """
    tuning = config.tuning
    sample = subsample(data, tuning.rows_per_condition, config.seed)
    chosen: dict[str, dict[str, Any]] = {}
    trials: list[dict[str, Any]] = []
    names, best, losses = {}, {}, {}
    for model in tuning.models:
        names[model] = f"common_{model}_{_content_key(sample, config)}"
        found = run_study(
            model,
            sample,
            config,
            storage=storage,
            study_name=names[model],
            callback=told(model) if told else None,
        )
        chosen[model] = getattr(found.config, model).model_dump(mode="json")
        best[model], losses[f"{model}_log_loss"] = found.best_trial, found.value
        trials += [{"model": model, **row} for row in found.trials.to_pylist()]
    params = {
        "study": names,
        "best_trial": best,
        "best": chosen,
        "applied": tuning.apply,
        "n_train": len(sample.train),
        "origins": sample.origins,
        **tuning.model_dump(mode="json"),
    }
    return CommonStudies(chosen, tuning.apply, trials, {"params": params, "metrics": losses})


def _content_key(data: TrainingData, config: CommonConfig) -> str:
    """Hash what a trial's value depends on: rows, folds and all settings but the budget."""
    digest = hashlib.blake2b(config.model_dump_json(exclude={"tuning", "threads"}).encode(), digest_size=6)
    extra = [] if data.extra is None else [data.extra.matrix, data.extra.labels]
    for array in (data.train.matrix, data.train.labels, data.folds, *extra):
        digest.update(array.tobytes())
    return digest.hexdigest()
