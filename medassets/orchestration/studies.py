"""Hyperparameter studies in the graph: each trial a nested MLflow run, and training by what they found.

What belongs here: logging trials and handing their outcome to training. What does not: the studies
(``learners.common.studies``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from medassets.orchestration.tracking import MlflowTracking
from medassets.orchestration.training import common_config
from medassets.settings import Settings

if TYPE_CHECKING:
    from medassets.learners.common.base import TrainedBase
    from medassets.learners.common.config import CommonConfig
    from medassets.learners.common.studies import CommonStudies
    from medassets.learners.common.training import TrainingData
    from medassets.learners.common.tuning import TrialCallback


def search(
    data: TrainingData,
    config: CommonConfig,
    storage: str,
    tracking: MlflowTracking,
    context: dg.AssetExecutionContext,
) -> CommonStudies:
    """Run the studies; each trial that ends becomes a run nested in the asset's run, itself in Dagster's.

    Without a Dagster run (a plain script) trials go to the studies' store alone.

    Args:
        data: rows; only the training part is used.
        config: models, budget and engine.
        storage: Optuna's URL; studies of the same rows and settings are resumed.
        tracking: where trials are logged.
        context: the running step.
    """
    from medassets.learners.common.studies import run_studies

    if context.run is None:
        return run_studies(data, config, storage=storage)
    tracking.client()
    import mlflow

    def told(model: str) -> TrialCallback:
        def log(number: int, params: dict[str, Any], value: float | None, state: str) -> None:
            with mlflow.start_run(run_name=f"{model} trial {number}", nested=True):
                mlflow.log_params(params)
                mlflow.set_tags({"model": model, "trial": number, "state": state})
                if value is not None:
                    mlflow.log_metric("log_loss", value)

        return log

    with tracking.tracked_run(context.run, context.log, "models/common_study trials"):
        found = run_studies(data, config, storage=storage, told=told)
    context.add_output_metadata({"trials": dg.MetadataValue.json(found.trials), "store": storage})
    return found


def train_by(study: CommonStudies | None, base: str, data: TrainingData, settings: Settings) -> TrainedBase:
    """Train a base model with the settings that a study chose, where it chose any, and say which trial's.

    Args:
        study: the studies, or None for a model that none searches.
        base: name of the base model.
        data: rows and folds.
        settings: the installation.
    """
    from medassets.learners.common.base import train_base

    config = common_config(settings)
    trained = train_base(base, data, study.configured(config) if study else config)
    trained.metadata["params"]["study"] = study.source_of(base) if study else None
    return trained
