"""Hyperparameter studies: Optuna, stored in SQLite, resumable; Ray Tune as another engine for clusters.

What belongs here: search spaces, the objective, and running a study within its budget. What does not: Ray's
side (``ray_engine``), where the store lies and what is logged of each trial: the caller says so (a callback
may open a nested MLflow run).

The objective is the log-loss on held-out folds of the training rows, as recorded and as probes; trials that
fall behind the median after some folds are pruned. Test and validation parts are never looked at. The trial's
number and the seed fix every draw, so a resumed study goes on as the unbroken one would (with Ray, where
trials run side by side, it goes on from the same trials).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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


class StudyError(RuntimeError):
    """No trial finished within the budget."""


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
        StudyError: no trial finished within ``tuning.timeout_s``.
        EngineError: ``tuning.engine`` is ``ray`` and Ray is not installed.
    """
    if name not in TUNED:
        raise ValueError(f"no search space for {name!r}; there are {', '.join(TUNED)}")
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    store = optuna.storages.get_storage(storage or optuna.storages.InMemoryStorage())
    study = optuna.create_study(
        direction="minimize",
        storage=store,
        study_name=study_name or f"common_{name}",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=config.tuning.startup_trials, n_warmup_steps=1),
    )
    if not study.trials:
        study.enqueue_trial(first_settings(name, config), skip_if_exists=True)
    folds = len(np.unique(data.folds))
    if config.tuning.engine == "ray":
        _on_ray(study, store, name, data, config, callback)
    else:
        _in_process(study, name, data, config, callback)
    values = {
        trial.number: float(trial.value)
        for trial in study.trials
        if trial.value is not None and _state(trial, folds) == "COMPLETE"
    }
    if not values:
        raise StudyError(f"no trial of {study.study_name} finished within {config.tuning.timeout_s} s")
    best = min(values, key=lambda number: (values[number], number))
    chosen = _with(config, name, study.trials[best].params)
    return StudyResult(chosen, values[best], best, _table(study, folds))


def _in_process(
    study: optuna.Study,
    name: str,
    data: TrainingData,
    config: CommonConfig,
    callback: TrialCallback | None,
) -> None:
    """Run one trial after another until the budget is spent."""
    import optuna

    def tell(_study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if callback:
            callback(trial.number, dict(trial.params), trial.value, trial.state.name)

    until = time.monotonic() + config.tuning.timeout_s
    while _finished(study) < config.tuning.trials and time.monotonic() < until:
        # A sampler for each trial: a resumed study then draws what the unbroken one would have drawn.
        number = _finished(study)
        study.sampler = optuna.samplers.TPESampler(
            seed=(config.seed + number) % 2**32, n_startup_trials=config.tuning.startup_trials
        )
        study.optimize(lambda trial: _objective(trial, name, data, config), n_trials=1, callbacks=[tell])


def _on_ray(
    study: optuna.Study,
    store: Any,
    name: str,
    data: TrainingData,
    config: CommonConfig,
    callback: TrialCallback | None,
) -> None:
    """Let Ray run what the budget still allows; the callback is told when all of it has ended."""
    from medassets.learners.common.ray_engine import run_trials

    before, settings = {trial.number for trial in study.trials if trial.state.is_finished()}, config.tuning
    if len(before) >= settings.trials:
        return
    run_trials(
        partial(suggest, name),
        partial(_losses, name, data, config),
        storage=store,
        study_name=study.study_name,
        trials=settings.trials - len(before),
        timeout_s=settings.timeout_s,
        startup_trials=settings.startup_trials,
        threads=config.threads,
        seed=(config.seed + len(before)) % 2**32,
    )
    folds = len(np.unique(data.folds))
    for trial in study.trials:
        if callback and trial.number not in before:
            callback(trial.number, dict(trial.params), trial.value, _state(trial, folds))


def _finished(study: optuna.Study) -> int:
    return sum(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.trials)


def _state(trial: optuna.trial.FrozenTrial, folds: int) -> str:
    """Optuna's name of a trial's state; one that Ray stopped before its last fold is a pruned one."""
    stopped = trial.state.name == "COMPLETE" and len(trial.intermediate_values) < folds
    return "PRUNED" if stopped else str(trial.state.name)


def _objective(trial: optuna.Trial, name: str, data: TrainingData, config: CommonConfig) -> float:
    import optuna

    losses: list[float] = []
    for fold, loss in enumerate(_losses(name, data, config, suggest(name, trial))):
        losses.append(loss)
        trial.report(float(np.mean(losses)), fold)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.mean(losses))


def _losses(name: str, data: TrainingData, config: CommonConfig, params: dict[str, Any]) -> Iterator[float]:
    return fold_losses(name, data, _with(config, name, params))


def fold_losses(name: str, data: TrainingData, config: CommonConfig) -> Iterator[float]:
    """Yield each fold's log-loss, the mean over its rows as recorded and as probes."""
    probe = data.probe(config)
    for fold in np.unique(data.folds):
        held = np.flatnonzero(data.folds == fold)
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
        "width": trial.suggest_int("width", 32, 160, step=32),
        "hidden": trial.suggest_int("hidden", 32, 160, step=32),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "epochs": trial.suggest_int("epochs", 4, 20, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
    }


def first_settings(name: str, config: CommonConfig) -> dict[str, Any]:
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


def _table(study: optuna.Study, folds: int) -> pa.Table:
    trials = study.trials
    return pa.table(
        {
            "number": pa.array([trial.number for trial in trials], pa.int64()),
            "state": pa.array([_state(trial, folds) for trial in trials], pa.string()),
            "value": pa.array([trial.value for trial in trials], pa.float64()),
            "params": pa.array([json.dumps(trial.params, sort_keys=True) for trial in trials], pa.string()),
        }
    )
