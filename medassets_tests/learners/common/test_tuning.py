"""Studies: seeded, resumable, told of each trial."""

import json
import sys
import warnings

import pytest

from medassets.learners.common.config import BoostingConfig, CommonConfig, ForestConfig, TuningConfig
from medassets.learners.common.ray_engine import EngineError
from medassets.learners.common.training import subsample
from medassets.learners.common.tuning import TUNED, first_settings, run_study, suggest
from medassets_tests.learners.common import small

SMALL = subsample(small.data(), 6, seed=1)


def config(trials: int) -> CommonConfig:
    tuning = TuningConfig(trials=trials, timeout_s=60, startup_trials=1)
    return small.CONFIG.model_copy(
        update={"tuning": tuning, "forest": ForestConfig(trees=40), "boosting": BoostingConfig(rounds=20)}
    )


def test_a_study_is_resumed_to_its_budget(tmp_path):
    storage, told = f"sqlite:///{tmp_path / 'studies.db'}", []

    def callback(number, params, value, state):
        told.append((number, state))

    first = run_study("forest", SMALL, config(2), storage=storage, callback=callback)
    assert first.trials.num_rows == 2 and len(told) == 2
    more = run_study("forest", SMALL, config(3), storage=storage, callback=callback)
    assert more.trials.num_rows == 3 and len(told) == 3
    assert more.trials.slice(0, 2).equals(first.trials)
    same = run_study("forest", SMALL, config(3), storage=storage)
    assert same.trials.equals(more.trials) and same.value == more.value


def test_a_resumed_study_goes_on_as_an_unbroken_one(tmp_path):
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    for trials in (1, 2, 3):
        resumed = run_study("forest", SMALL, config(trials), storage=storage)
    unbroken = run_study("forest", SMALL, config(3))
    assert resumed.trials.column("params").equals(unbroken.trials.column("params"))


def test_the_best_trial_becomes_the_config():
    result = run_study("boosting", SMALL, config(2))
    best = json.loads(result.trials.column("params")[result.best_trial].as_py())
    assert result.config.boosting.depth == best["depth"]
    assert result.config.forest == config(2).forest


@pytest.mark.parametrize("profile", ["quick", "full"])
@pytest.mark.parametrize("name", TUNED)
def test_the_configured_settings_stand_in_the_search_space(name, profile):
    """Optuna refuses, or warns of, a first trial that it could not have drawn."""
    import optuna

    settings = first_settings(name, getattr(CommonConfig, profile)())
    study = optuna.create_study()
    study.enqueue_trial(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert suggest(name, study.ask()) == settings


def test_models_without_a_search_space_are_named():
    with pytest.raises(ValueError, match="naive_bayes"):
        run_study("naive_bayes", SMALL, config(1))


def test_ray_is_asked_for_only_where_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    tuning = TuningConfig(trials=1, engine="ray")
    with pytest.raises(EngineError, match=r"ray\[tune\]"):
        run_study("forest", SMALL, small.CONFIG.model_copy(update={"tuning": tuning}))


@pytest.mark.integration
def test_ray_resumes_the_same_study(tmp_path):
    storage, told = f"sqlite:///{tmp_path / 'studies.db'}", []
    begun = run_study("forest", SMALL, config(1), storage=storage)
    on_ray = config(3).model_copy(
        update={"tuning": TuningConfig(trials=3, timeout_s=60, engine="ray", startup_trials=1)}
    )
    result = run_study(
        "forest", SMALL, on_ray, storage=storage, callback=lambda number, *_: told.append(number)
    )
    assert result.trials.slice(0, 1).equals(begun.trials)
    assert told == [1, 2] == result.trials.column("number").to_pylist()[1:]
    assert result.value <= begun.value
    assert (
        result.config.forest.trees
        == json.loads(result.trials.column("params")[result.best_trial].as_py())["trees"]
    )
