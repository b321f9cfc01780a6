import numpy as np

from medassets.learners.rare.ablation import FAMILIES, ablation, added, held_out_scores
from medassets.learners.rare.likelihood import RareLikelihood
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker_episodes import make_episodes
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology

ONTOLOGY = made_ontology()
CASES = made_cases(ONTOLOGY)
KNOWLEDGE = made_knowledge(ONTOLOGY, CASES)
EPISODES = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0)
CONFIG = ListwiseConfig(hidden=8, epochs=2, batch=8, negatives=10)


def test_every_score_stands_in_one_family():
    from medassets.features.rare_evidence import SCORES

    members = [s for family in FAMILIES.values() for s in family]
    assert sorted(members) == sorted(SCORES)


def test_alone_and_removed_are_measured_on_the_same_episodes():
    rows = ablation(EPISODES, CONFIG, 0, {"ridge regression": ("ridge",)})
    assert {r["setting"] for r in rows} == {"all", "alone", "removed"}
    assert len({r["n"] for r in rows if r["group"] == "all"}) == 1
    assert all(0 <= r["top1"] <= r["top10"] <= 1 for r in rows)


def test_a_method_that_knows_the_truth_lifts_the_ranker():
    truth = KNOWLEDGE.labels(CASES)[EPISODES.case]
    oracle = (np.arange(len(KNOWLEDGE)) == truth[:, None]).astype(np.float32)
    rows = added(EPISODES, {"oracle": oracle}, CONFIG, 0)
    by = {r["setting"]: r["top1"] for r in rows if r["group"] == "all"}
    assert by["alone"] >= by["added"] > by["all"]


def test_scores_of_a_method_are_made_without_the_held_out_fold():
    scores = held_out_scores(RareLikelihood, KNOWLEDGE, CASES, EPISODES, "published")
    fold = EPISODES.fold == 0
    held = np.isin(np.arange(len(CASES)), EPISODES.case[fold])
    expected = RareLikelihood().fit(KNOWLEDGE, CASES[~held]).score(CASES[EPISODES.case[fold]])
    np.testing.assert_array_equal(scores[fold], expected)


def test_a_method_never_sees_a_case_of_a_held_out_publication():
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0, per_group=1)
    seen = []

    class Spy:
        def fit(self, knowledge, cases):
            seen.append({p for pmids in cases.pmids for p in pmids})

        def score(self, cases):
            assert not seen[-1] & {p for pmids in cases.pmids for p in pmids}
            return np.zeros((len(cases), len(KNOWLEDGE)), np.float32)

    held_out_scores(Spy, KNOWLEDGE, CASES, episodes, "clean")
    assert len(seen) == 2
