from dataclasses import replace

import numpy as np
import pytest

from medassets.evaluation.rare_ablation import (
    FAMILIES,
    SERVED,
    AblationConfig,
    ablation,
    check_what_is_served,
    few_shot_methods,
    held_out_scores,
)
from medassets.features.rare_evidence import SCORES
from medassets.learners.rare.likelihood import RareLikelihood
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker_episodes import make_episodes
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology
from medassets_tests.learners.rare.fixtures_few_shot import tiny_config

ONTOLOGY = made_ontology()
CASES = made_cases(ONTOLOGY)
KNOWLEDGE = made_knowledge(ONTOLOGY, CASES)
LISTWISE = ListwiseConfig(hidden=8, epochs=4, batch=8, negatives=10)
CONFIG = AblationConfig(None, 2, 1, 8, tiny_config(inner_folds=2), True, LISTWISE)


class Oracle:
    """Knows the diagnosis."""

    def score(self, cases):
        return (np.arange(len(KNOWLEDGE)) == KNOWLEDGE.labels(cases)[:, None]).astype(np.float32)


class Noise:
    """Knows nothing."""

    def score(self, cases):
        return np.random.default_rng(0).random((len(cases), len(KNOWLEDGE)), np.float32)


@pytest.fixture(scope="module")
def rows():
    return ablation(KNOWLEDGE, CASES, CONFIG, lambda known, shown: {"oracle": Oracle(), "noise": Noise()})


def test_every_score_stands_in_one_family():
    members = [s for family in FAMILIES.values() for s in family]
    assert sorted(members) == sorted(SCORES)


def test_every_method_is_measured_alone_added_and_removed_on_the_same_episodes(rows):
    groups = {(r["method"], r["group"]) for r in rows}
    assert {(m, g) for m in ("oracle", "noise") for g in ("alone", "added", "removed")} <= groups
    assert {(family, "removed") for family in FAMILIES} | {(SERVED, "alone")} <= groups
    assert len({r["n"] for r in rows}) == 1
    assert all(r["low"] <= r["value"] <= r["high"] for r in rows)


def test_a_method_that_knows_the_truth_adds_more_than_one_that_knows_nothing(rows):
    by = {(r["method"], r["group"]): r["value"] for r in rows}
    assert by["oracle", "alone"] == 1
    assert by["oracle", "added"] > by["noise", "added"]
    assert by["oracle", "removed"] < by["noise", "removed"]


def test_only_what_surely_adds_is_missed_in_the_ranker():
    row = {"group": "added", "value": 0.02, "high": 0.04}
    helps, unsure = row | {"method": "a", "low": 0.01}, row | {"method": "b", "low": -0.01}
    found = check_what_is_served([helps, unsure, helps | {"method": "c", "group": "removed"}])
    assert not found.passed and found.message.startswith("a would add to the ranker")
    assert check_what_is_served([unsure]).passed


def test_scores_are_made_without_the_held_out_fold():
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0, asked_folds=1)
    assert set(episodes.fold) == {0}
    held = np.isin(np.arange(len(CASES)), episodes.case)
    found = held_out_scores(lambda k, c: {"r": RareLikelihood().fit(k, c)}, KNOWLEDGE, CASES, episodes)["r"]
    known = KNOWLEDGE.without_publications({p for pmids in CASES[held].pmids for p in pmids})
    every = RareLikelihood().fit(known, CASES[~held]).score(CASES[episodes.case])
    listed = episodes.candidates >= 0
    rows, places = np.nonzero(listed)
    np.testing.assert_array_equal(found[listed], every[rows, episodes.candidates[rows, places]])
    assert (found[~listed] == every.min()).all()


def test_a_method_never_sees_a_case_of_a_held_out_publication():
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0, per_group=1)
    seen = []

    class Spy(Noise):
        def score(self, cases):
            assert not seen[-1] & {p for pmids in cases.pmids for p in pmids}
            return super().score(cases)

    def fit(knowledge, cases):
        seen.append({p for pmids in cases.pmids for p in pmids})
        return {"spy": Spy()}

    held_out_scores(fit, KNOWLEDGE, CASES, episodes)
    assert len(seen) == 2


def test_the_quick_profile_keeps_whole_diseases():
    asked = []

    def fit(knowledge, cases):
        asked.append(cases)
        return {"noise": Noise()}

    ablation(KNOWLEDGE, CASES, replace(CONFIG, most_cases=40), fit)
    counted = np.unique([d for cases in asked for d in cases.disease_ids], return_counts=True)[1]
    assert len(counted) == 6 and sum(counted) < 40


def test_all_four_methods_are_fitted_on_the_same_cases():
    methods = few_shot_methods(KNOWLEDGE, CASES, tiny_config())
    assert list(methods) == ["prototypical", "siamese", "transfer", "maml"]
    assert {m.score(CASES[:2]).shape for m in methods.values()} == {(2, len(KNOWLEDGE))}
    alike = CASES[[d == "OMIM:900000" for d in CASES.disease_ids]]
    assert "maml" not in few_shot_methods(KNOWLEDGE, alike, tiny_config(inner_folds=2))
