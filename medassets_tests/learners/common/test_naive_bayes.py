"""Naive Bayes: unknown says nothing, figures are updated by records, simulated rows are not counted."""

import numpy as np
import pytest

from medassets.features.common import PRESENT, UNKNOWN
from medassets.learners.common.naive_bayes import NaiveBayes
from medassets.learners.common.patients import CommonPatients
from medassets_tests.learners.common import small


def fitted(patients: CommonPatients | None = None) -> NaiveBayes:
    return NaiveBayes.fit(small.knowledge(), small.data().space, patients)


def test_all_unknown_gives_the_prior():
    nothing = np.full((1, small.data().space.n_features), UNKNOWN, dtype=np.int8)
    for bayes in (fitted(), fitted(small.data().train)):
        assert bayes.predict_proba(nothing)[0] == pytest.approx(small.knowledge().prior, abs=1e-6)


def test_unknown_is_not_absent():
    space = small.data().space
    fever = space.index["E_91"]
    row = np.zeros((1, space.n_features), dtype=np.int8)
    unknown = row.copy()
    unknown[0, fever] = UNKNOWN
    influenza = small.knowledge().condition_index["Influenza"]
    bayes = fitted()
    assert bayes.log_proba(unknown)[0, influenza] > bayes.log_proba(row)[0, influenza]


def test_a_detail_under_an_absent_question_adds_nothing():
    """Pain is absent for all: whether its place is absent too says no more."""
    space, bayes = small.data().space, fitted(small.data().train)
    pain, place = space.index["E_53"], space.index["E_55"]
    contributions = bayes.scores.contributions(np.zeros(space.n_features, dtype=np.int8))
    assert np.allclose(contributions[place], 0)
    assert not np.allclose(contributions[pain], 0)


def test_simulated_rows_are_not_counted():
    train = small.data().train
    simulated = CommonPatients(
        train.ids, train.matrix, train.labels, train.differential, np.full(len(train), "simulated", object)
    )
    assert np.array_equal(fitted(simulated).scores.table, fitted().scores.table)
    assert not np.array_equal(fitted(train).scores.table[:, :6], fitted().scores.table[:, :6])


def test_one_wrong_answer_does_not_rule_a_condition_out():
    """A person with all of GERD's picture and one answer that GERD never gives."""
    space, knowledge = small.data().space, small.knowledge()
    gerd = knowledge.condition_index["GERD"]
    row = np.zeros((1, space.n_features), dtype=np.int8)
    likely = np.flatnonzero((knowledge.probability[gerd] > 0.5) & knowledge.measured)
    row[0, likely] = PRESENT
    never = np.flatnonzero((knowledge.probability[gerd] == 0) & knowledge.measured & (space.parents < 0))
    others = knowledge.probability[:, never].max(axis=0)
    row[0, never[others.argmax()]] = PRESENT
    assert fitted().predict_proba(row)[0].argmax() == gerd


def test_values_drawn_for_simulated_patients_follow_records():
    space, train = small.data().space, small.data().train
    bayes = fitted(train)
    extra = small.data().extra
    assert extra is not None
    completed = bayes.complete(space, extra, np.random.default_rng(0))
    place = space.details[space.index["E_55"]]
    rows = completed.matrix[:, space.index["E_55"]] == PRESENT
    assert rows.any()
    assert (completed.matrix[rows, place] == PRESENT).any()
    assert not (extra.matrix[:, place] == PRESENT).any()
    assert np.array_equal(bayes.complete(space, extra, np.random.default_rng(0)).matrix, completed.matrix)


def test_save_and_load(tmp_path):
    bayes = fitted(small.data().train)
    bayes.save(tmp_path / "a")
    bayes.save(tmp_path / "b")
    again = NaiveBayes.load(tmp_path / "a")
    assert np.allclose(again.log_proba(small.rows()), bayes.log_proba(small.rows()), atol=1e-4)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_batches_and_single_rows_agree():
    bayes, matrix = fitted(small.data().train), small.rows(20)
    single = np.vstack([bayes.scores.score(row) for row in matrix])
    assert np.allclose(bayes.scores.score(matrix), single)


def test_contributions_sum_to_a_component_of_the_score():
    bayes, row = fitted(small.data().train), small.rows(1)[0]
    parts = bayes.scores._score_components(row[None])[0]
    total = bayes.scores.contributions(row).sum(axis=0)
    assert np.isclose(parts, total).all(axis=1).any()
