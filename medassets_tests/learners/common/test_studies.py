"""Studies of a training: recorded, stored, and applied only where the budget suffices."""

import json

from medassets.learners.common.base import train_base
from medassets.learners.common.config import BoostingConfig, TuningConfig
from medassets.learners.common.studies import CommonStudies, run_studies
from medassets_tests.learners.common import small


def config(*, apply: bool, trials: int = 2, seed: int = 3):
    tuning = TuningConfig(
        models=("boosting",), rows_per_condition=6, apply=apply, trials=trials, startup_trials=1
    )
    return small.CONFIG.model_copy(
        update={"tuning": tuning, "boosting": BoostingConfig(rounds=20), "seed": seed}
    )


def test_training_takes_what_a_study_chose_only_where_that_is_wanted(tmp_path) -> None:
    heard: list[tuple[str, int]] = []
    storage = f"sqlite:///{tmp_path / 'studies.db'}"

    def told(model):
        return lambda number, *_: heard.append((model, number))

    found = run_studies(small.data(), config(apply=True), storage=storage, told=told)
    assert heard == [("boosting", 0), ("boosting", 1)]
    best = found.metadata["params"]["best_trial"]["boosting"]
    params = json.loads(found.trials[best]["params"])
    assert found.configured(config(apply=True)).boosting.rounds == params["rounds"]
    assert found.configured(config(apply=True)).forest == small.CONFIG.forest
    assert found.source_of("boosting") == {
        "study": found.metadata["params"]["study"]["boosting"],
        "best_trial": best,
    }
    assert found.source_of("naive_bayes") is None

    recorded = run_studies(small.data(), config(apply=False), storage=storage, told=told)
    assert len(heard) == 2, "the same rows and settings resume the same, finished study"
    assert recorded.trials == found.trials
    assert recorded.configured(config(apply=False)) == config(apply=False)
    assert recorded.source_of("boosting") is None


def test_other_settings_are_another_study() -> None:
    names = {
        run_studies(small.data(), config(apply=False, trials=1, seed=seed)).metadata["params"]["study"][
            "boosting"
        ]
        for seed in (3, 4)
    }
    assert len(names) == 2


def test_studies_come_back_as_they_were_stored(tmp_path) -> None:
    found = run_studies(small.data(), config(apply=True, trials=1))
    found.save(tmp_path / "first")
    loaded = CommonStudies.load(tmp_path / "first")
    assert loaded == found
    loaded.save(tmp_path / "second")
    first, second = ((tmp_path / name / "studies.json").read_bytes() for name in ("first", "second"))
    assert first == second


def test_boosters_side_by_side_are_those_one_after_another() -> None:
    one = train_base("boosting", small.data(), small.CONFIG)
    two = train_base("boosting", small.data(), small.CONFIG.model_copy(update={"threads": 2}))
    assert (one.clean == two.clean).all() and (one.probe == two.probe).all()
