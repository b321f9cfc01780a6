"""Ray Tune as the engine of a study: the same search space and objective, trials spread over a cluster.

What belongs here: handing one study's trials to Ray and waiting for them. What does not: the search space,
the objective and the store, which are the study's own (``tuning``). Trials are drawn from and told to the
same Optuna study as without Ray, so either engine resumes what the other began.

``RAY_ADDRESS`` names the cluster; without it Ray starts on this machine and is stopped afterwards. Parameters
that run at the same time are drawn without each other's result, so the order of trials, and what TPE draws
from them, is not the one that a single process gives.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

#: Ray sends no statistics, starts no dashboard and writes no logs for viewers that nobody opened.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class EngineError(RuntimeError):
    """The engine asked for is not installed; the message says how to get it."""


def run_trials(
    space: Callable[[Any], dict[str, Any]],
    losses: Callable[[dict[str, Any]], Iterable[float]],
    *,
    storage: BaseStorage,
    study_name: str,
    trials: int,
    timeout_s: float,
    startup_trials: int,
    threads: int,
    seed: int,
) -> None:
    """Run further trials of a study that stands in ``storage``; results are read from there.

    Args:
        space: draws settings with Optuna's ``suggest_*`` calls; pickled with the search's own state.
        losses: yields the loss of one fold after another; pickled to the workers.
        storage: Optuna's store, which this process alone writes to.
        study_name: the study, already created.
        trials: how many more.
        timeout_s: seconds after which none is started any more.
        startup_trials: trials before slow ones are stopped.
        threads: processor cores of a trial.
        seed: of the sampler.

    Raises:
        EngineError: Ray Tune is not installed.
    """
    try:
        import ray
        from ray import tune
        from ray.tune.schedulers import MedianStoppingRule
        from ray.tune.search.optuna import OptunaSearch
    except ImportError as error:
        raise EngineError(
            "tuning.engine is 'ray' but Ray Tune is not installed: "
            "pip install 'ray[tune]', or use engine 'optuna'"
        ) from error
    import optuna

    search = OptunaSearch(
        space,
        metric="loss",
        mode="min",
        storage=storage,
        study_name=study_name,
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup_trials),
    )
    stopping = MedianStoppingRule(
        metric="loss", mode="min", grace_period=2, min_samples_required=startup_trials
    )
    with _cluster(ray, threads), tempfile.TemporaryDirectory() as folder:
        wanted = tune.with_resources(tune.with_parameters(_trainable, losses=losses), {"cpu": threads})
        tune.Tuner(
            wanted,
            tune_config=tune.TuneConfig(
                search_alg=search, scheduler=stopping, num_samples=trials, time_budget_s=timeout_s
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()


def _trainable(params: dict[str, Any], losses: Callable[[dict[str, Any]], Iterable[float]]) -> None:
    """Run in a worker: report the mean over the folds so far after each of them."""
    from ray import tune

    seen: list[float] = []
    for loss in losses(params):
        seen.append(loss)
        tune.report({"loss": float(np.mean(seen))})


@contextmanager
def _cluster(ray: Any, threads: int) -> Iterator[None]:
    """Join the cluster that is there, or start Ray on this machine for the time of the study."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if "RAY_ADDRESS" not in os.environ:
        options |= {"num_cpus": max(threads, os.cpu_count() or 1), "include_dashboard": False}
    ray.init(**options)
    try:
        yield
    finally:
        ray.shutdown()
