"""Learning on: the new condition mix is learned, the old is kept, and the champion stays as it was."""

from dataclasses import replace

import numpy as np
import pytest

from medassets.cohorts.simulate_common import simulate
from medassets.learners.common.ensemble import CommonEnsemble
from medassets.learners.common.incremental import continue_ensemble, with_fresh
from medassets.learners.common.patients import CommonPatients
from medassets_tests.learners.common import small


@pytest.fixture(scope="module")
def fresh() -> CommonPatients:
    table = simulate(small.knowledge(), seed=77, per_condition=10, draw_values=True)
    return CommonPatients.from_table(table, small.data().space, small.knowledge())


@pytest.fixture(scope="module")
def champion(tmp_path_factory) -> CommonEnsemble:
    """As it comes back from the registry, not as it left training."""
    folder = tmp_path_factory.mktemp("champion")
    small.ensemble().save(folder)
    return CommonEnsemble.load(folder)


@pytest.fixture(scope="module")
def continued(champion, fresh) -> CommonEnsemble:
    return continue_ensemble(champion, small.data(), fresh, small.CONFIG)


def test_every_learned_model_grows_and_the_champion_stays(champion, continued):
    assert continued.models["boosting"].booster.num_boosted_rounds() == 8  # 6 and a quarter more
    assert champion.models["boosting"].booster.num_boosted_rounds() == 6
    assert len(continued.models["forest"].forest.estimators_) == 10
    assert len(champion.models["forest"].forest.estimators_) == 8
    rows = small.rows()
    before = small.ensemble().predict(rows).probabilities
    np.testing.assert_allclose(champion.predict(rows).probabilities, before, atol=1e-6)
    for name in continued.models:
        now, then = (e.models[name].log_proba(rows) for e in (continued, champion))
        assert np.abs(now - then).max() > 1e-6, name


def test_old_patients_are_not_forgotten(champion, continued):
    test = small.data().test
    old, new = (
        (e.predict(test.matrix).probabilities.argmax(1) == test.labels).mean() for e in (champion, continued)
    )
    assert new >= old - 0.05


def test_it_is_saved_like_any_other_and_the_same_twice(champion, continued, fresh, tmp_path):
    continued.save(tmp_path)
    rows = small.rows()
    np.testing.assert_allclose(
        CommonEnsemble.load(tmp_path).predict(rows).probabilities,
        continued.predict(rows).probabilities,
        atol=1e-6,
    )
    again = continue_ensemble(champion, small.data(), fresh, small.CONFIG)
    np.testing.assert_array_equal(again.predict(rows).probabilities, continued.predict(rows).probabilities)


def test_new_rows_join_the_extras_of_a_full_retraining(fresh):
    joined = with_fresh(small.data(), fresh)
    assert len(joined.extra) == len(small.data().extra) + len(fresh)
    assert len(with_fresh(replace(small.data(), extra=None), fresh).extra) == len(fresh)


def test_rows_of_too_few_conditions_are_refused_by_a_forest(champion, fresh):
    one = fresh.take(fresh.labels == fresh.labels[0])
    with pytest.raises(ValueError, match="conditions"):
        champion.models["forest"].continued(one, 6, small.CONFIG, trees=2)
    with pytest.raises(ValueError, match="no new rows"):
        continue_ensemble(champion, small.data(), fresh.take(np.arange(0)), small.CONFIG)
