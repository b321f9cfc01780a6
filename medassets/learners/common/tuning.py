"""Hyperparameter studies: Optuna, stored in SQLite, resumable; Ray Tune as another engine for clusters.

What belongs here: search spaces, the objective, and running a study within its budget. What does not: where
the
store lies and what is logged of each trial: the caller says so (a callback may open a nested MLflow run).

The objective is the log-loss on held-out folds of the training rows, as recorded and as probes; trials that
fall behind the median after some folds are pruned. Test and validation parts are never looked at. The trial's
number and the seed fix every draw, so a resumed study goes on as the unbroken one would.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from medassets.learners.common.base import fit_model
from medassets.learners.common.config import BoostingConfig, CommonConfig, ForestConfig, NetworkConfig
from medassets.learners.common.training import TrainingData, without_fold

if TYPE_CHECKING:
    import optuna

#: Told the trial's number, its parameters, its value (None if pruned) and its state.
TrialCallback = Callable[[int, dict[str, Any], float | None, str], None]
TUNED = ("boosting", "forest", "network")


class EngineError(RuntimeError):
    """The engine asked for is not installed; the message says how to get it."""


@dataclass(frozen=True)
class StudyResult:
    """Outcome of a study.

    Attributes:
        config: the config given, with the best trial's parameters for the tuned model.
        value: its mean log-loss.
        best_trial: its number in the store.
        trials: number, state, value, params (JSON) of every trial in the store.
    """

    config: CommonConfig
    value: float
    best_trial: int
    trials: pa.Table


def run_study(
    name: str,
    data: TrainingData,
    config: CommonConfig,
    *,
    storage: str | None = None,
    study_name: str | None = None,
    callback: TrialCallback | None = None,
) -> StudyResult:
    """Search the settings of one base model.

    Args:
        name: ``boosting``, ``forest`` or ``network``.
        data: rows; only the training part is used.
        config: ``tuning`` holds trials, seconds and engine.
        storage: Optuna's URL, for example ``sqlite:////path/studies.db``; None keeps the study in memory.
        study_name: in the store; a study of this name is resumed until it has ``tuning.trials`` trials.
        callback: told of each finished trial.

    Raises:
        ValueError: no such model to tune.
        EngineError: ``tuning.engine`` is ``ray`` and Ray is not installed.
    """
    if name not in TUNED:
        raise ValueError(f"no search space for {name!r}; there are {', '.join(TUNED)}")
    if config.tuning.engine == "ray":
        return _run_ray(name, data, config, callback)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize",
        storage=storage,
        study_name=study_name or f"common_{name}",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=config.tuning.startup_trials, n_warmup_steps=1),
    )
    if not study.trials:
        study.enqueue_trial(_defaults(name, config), skip_if_exists=True)
    until = time.monotonic() + config.tuning.timeout_s
    while _finished(study) < config.tuning.trials and time.monotonic() < until:
        # A sampler for each trial: a resumed study then draws what the unbroken one would have drawn.
        number = _finished(study)
        study.sampler = optuna.samplers.TPESampler(
            seed=(config.seed + number) % 2**32, n_startup_trials=config.tuning.startup_trials
        )
        study.optimize(
            lambda trial: _objective(trial, name, data, config),
            n_trials=1,
            callbacks=[_told(callback)] if callback else None,
        )
    best = study.best_trial
    return StudyResult(_with(config, name, best.params), float(study.best_value), best.number, _table(study))


def _finished(study: optuna.Study) -> int:
    from optuna.trial import TrialState

    return sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in study.trials)


def _objective(trial: Any, name: str, data: TrainingData, config: CommonConfig) -> float:
    import optuna

    losses: list[float] = []
    for fold, loss in enumerate(fold_losses(name, data, _with(config, name, suggest(name, trial)))):
        losses.append(loss)
        trial.report(float(np.mean(losses)), fold)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.mean(losses))


def fold_losses(name: str, data: TrainingData, config: CommonConfig) -> Any:
    """Yield each fold's log-loss, the mean over its rows as recorded and as probes."""
    probe = data.probe(config)
    for fold in range(config.folds):
        held = np.flatnonzero(data.folds == fold)
        if not len(held):
            continue
        model = fit_model(name, data, without_fold(data, fold), config)
        matrix = np.concatenate([data.train.matrix[held], probe[held]])
        labels = np.tile(data.train.labels[held], 2)
        yield float(-np.maximum(model.log_proba(matrix), -12.0)[np.arange(len(labels)), labels].mean())


def suggest(name: str, trial: Any) -> dict[str, Any]:
    """Draw settings of a model from its search space, with Optuna's ``suggest_*`` calls."""
    if name == "boosting":
        return {
            "rounds": trial.suggest_int("rounds", 20, 160, log=True),
            "depth": trial.suggest_int("depth", 2, 7),
            "learning_rate": trial.suggest_float("learning_rate", 0.05, 0.5, log=True),
            "subsample": trial.suggest_float("subsample", 0.5, 1.0),
            "columns": trial.suggest_float("columns", 0.1, 0.8),
            "min_child_weight": trial.suggest_float("min_child_weight", 0.1, 4.0, log=True),
            "l2": trial.suggest_float("l2", 0.1, 10.0, log=True),
        }
    if name == "forest":
        return {
            "trees": trial.suggest_int("trees", 40, 200, log=True),
            "min_leaf": trial.suggest_int("min_leaf", 1, 5),
            "max_leaves": trial.suggest_int("max_leaves", 500, 3000, log=True),
            "columns": trial.suggest_float("columns", 0.02, 0.3, log=True),
        }
    return {
        "width": trial.suggest_categorical("width", [48, 96, 160]),
        "hidden": trial.suggest_categorical("hidden", [48, 96, 160]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "epochs": trial.suggest_int("epochs", 4, 20, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
    }


def _defaults(name: str, config: CommonConfig) -> dict[str, Any]:
    """The config's own settings, tried first: a study never ends below where it began."""
    settings = getattr(config, name).model_dump()
    settings.pop("batch", None)
    if settings.get("columns") == "sqrt":
        settings["columns"] = 0.05
    return settings


def _with(config: CommonConfig, name: str, params: dict[str, Any]) -> CommonConfig:
    kinds: dict[str, type[BoostingConfig] | type[ForestConfig] | type[NetworkConfig]]
    kinds = {"boosting": BoostingConfig, "forest": ForestConfig, "network": NetworkConfig}
    tuned = kinds[name](**{**getattr(config, name).model_dump(), **params})
    return config.model_copy(update={name: tuned})


def _told(callback: TrialCallback) -> Callable[[Any, Any], None]:
    def tell(_study: Any, trial: Any) -> None:
        callback(trial.number, dict(trial.params), trial.value, trial.state.name)

    return tell


def _table(study: Any) -> pa.Table:
    return pa.table(
        {
            "number": pa.array([trial.number for trial in study.trials], pa.int64()),
            "state": pa.array([trial.state.name for trial in study.trials], pa.string()),
            "value": pa.array([trial.value for trial in study.trials], pa.float64()),
            "params": pa.array(
                [json.dumps(trial.params, sort_keys=True) for trial in study.trials], pa.string()
            ),
        }
    )


def _run_ray(
    name: str, data: TrainingData, config: CommonConfig, callback: TrialCallback | None
) -> StudyResult:
    """The same search space and objective, trials spread over a Ray cluster."""
    try:
        from ray import tune
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise EngineError(
            "tuning.engine is 'ray' but Ray Tune is not installed: "
            "pip install 'ray[tune]', or use engine 'optuna'"
        ) from error

    def trainable(params: dict[str, Any]) -> None:
        losses: list[float] = []
        for loss in fold_losses(name, data, _with(config, name, params)):
            losses.append(loss)
            tune.report({"loss": float(np.mean(losses)), "folds": len(losses)})

    def space(trial: Any) -> None:
        suggest(name, trial)

    search = OptunaSearch(space, metric="loss", mode="min", seed=config.seed)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=search, num_samples=config.tuning.trials, time_budget_s=config.tuning.timeout_s
        ),
    )
    grid = tuner.fit()
    results = [grid[number] for number in range(len(grid))]
    done = [
        (number, result)
        for number, result in enumerate(results)
        if result.metrics and "loss" in result.metrics
    ]
    if not done:
        raise EngineError("no Ray trial finished: see Ray's own log")
    for number, result in done:
        if callback:
            callback(number, dict(result.config), result.metrics["loss"], "COMPLETE")
    best, chosen = min(done, key=lambda item: item[1].metrics["loss"])
    trials = pa.table(
        {
            "number": pa.array([number for number, _ in done], pa.int64()),
            "state": pa.array(["COMPLETE"] * len(done), pa.string()),
            "value": pa.array([result.metrics["loss"] for _, result in done], pa.float64()),
            "params": pa.array(
                [json.dumps(result.config, sort_keys=True) for _, result in done], pa.string()
            ),
        }
    )
    return StudyResult(_with(config, name, chosen.config), float(chosen.metrics["loss"]), best, trials)
