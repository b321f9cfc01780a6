import hashlib
from dataclasses import replace

import numpy as np
import pytest

from medassets.cohorts.splits import part_of_group, publication_groups
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.learners.rare.calibration import HeldOutLogits, fit_calibration
from medassets.learners.rare.likelihood import RareLikelihood
from medassets.learners.rare.listwise import ListwiseConfig, merge, train_network
from medassets.learners.rare.ranker import RankerConfig, RareRanker, list_logits
from medassets.learners.rare.ranker_episodes import brief_cases, held_out_knowledge, make_episodes
from medassets_tests.fixtures_ranker import (
    Crosswalk,
    annotation,
    made_annotations,
    made_cases,
    made_knowledge,
    made_ontology,
    typical_findings,
)

ONTOLOGY = made_ontology()
CASES = made_cases(ONTOLOGY)
KNOWLEDGE = made_knowledge(ONTOLOGY, CASES)
SMALL = RankerConfig("quick", ("clean",), 2, 1, ListwiseConfig(hidden=8, epochs=3, batch=8, negatives=10))
SIMULATED = replace(
    CASES, origins=["simulated"] * len(CASES), pmids=[(f"SIM:{case}",) for case in CASES.case_ids]
)
FRESH = made_cases(ONTOLOGY, per_disease=2, diseases=16, seed=5)


@pytest.fixture(scope="module")
def ranker() -> RareRanker:
    return RareRanker(SMALL).fit(KNOWLEDGE, CASES)


def content(directory):
    return {
        str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(directory.rglob("*"))
        if p.is_file()
    }


def top1(model, cases):
    return float((model.score(cases).argmax(1) == KNOWLEDGE.labels(cases)).mean())


def test_it_ranks_new_cases_far_above_chance_with_and_without_known_cases(ranker):
    assert top1(ranker, FRESH) > 0.6
    unseen = FRESH[np.array([d >= "OMIM:900012" for d in FRESH.disease_ids])]
    assert top1(ranker, unseen) > 0.4


def test_clean_episodes_leave_out_the_rows_of_the_held_out_publications():
    held = CASES[:2]
    assert held.pmids[0] == ("PMID:0",)
    one = CASES[2:4]
    assert len(held_out_knowledge(KNOWLEDGE, one, "clean").disease) == len(KNOWLEDGE.disease) - 3
    assert held_out_knowledge(KNOWLEDGE, one, "published") is KNOWLEDGE


def test_episodes_hold_whole_publications_out():
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=3, seed=0)
    groups = np.array(publication_groups(CASES.case_ids, CASES.pmids))[episodes.case]
    for group in np.unique(groups):
        assert len(set(episodes.fold[groups == group])) == 1
    assert sorted(episodes.case) == list(range(len(CASES)))
    assert (episodes.shots < 6).all()
    listed = episodes.target >= 0
    truth = KNOWLEDGE.labels(CASES)[episodes.case]
    assert (episodes.candidates[np.flatnonzero(listed), episodes.target[listed]] == truth[listed]).all()


def test_few_cases_stand_for_a_large_publication_and_all_of_it_is_held_out():
    everything = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0)
    few = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0, per_group=1)
    groups = np.array(publication_groups(CASES.case_ids, CASES.pmids))
    assert sorted(groups[few.case]) == sorted(set(groups))
    place = {case: i for i, case in enumerate(everything.case)}
    same = [place[case] for case in few.case]
    np.testing.assert_array_equal(few.features, everything.features[same])
    np.testing.assert_array_equal(few.shots, everything.shots[same])
    for group in set(groups):
        total = everything.weight[groups[everything.case] == group].sum()
        assert few.weight[groups[few.case] == group].sum() == pytest.approx(total)


def test_the_number_of_episodes_is_bounded_and_a_bound_out_of_reach_changes_nothing():
    everything = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0, per_group=1)
    few = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0, per_group=1, most=5)
    same = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0, per_group=1, most=len(CASES))
    assert len(few.case) == 5 and set(few.case) <= set(everything.case)
    np.testing.assert_array_equal(same.case, everything.case)
    np.testing.assert_array_equal(same.features, everything.features)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, ranker):
    ranker.save(tmp_path / "a")
    RareRanker(SMALL).fit(KNOWLEDGE, CASES).save(tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    other = RankerConfig(SMALL.profile, SMALL.protocols, SMALL.n_folds, 1, SMALL.listwise, seed=1)
    RareRanker(other).fit(KNOWLEDGE, CASES).save(tmp_path / "c")
    assert content(tmp_path / "a") != content(tmp_path / "c")


def test_saved_and_loaded_it_scores_the_same(tmp_path, ranker):
    ranker.save(tmp_path)
    again = RareRanker.load(tmp_path)
    assert again.config == ranker.config and again.metadata == ranker.metadata
    np.testing.assert_array_equal(again.score(FRESH[:5]), ranker.score(FRESH[:5]))


def test_an_ensemble_is_the_mean_of_its_members():
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0)
    first = train_network(episodes[episodes.fold == 0], SMALL.listwise, 1)
    second = train_network(episodes[episodes.fold == 1], SMALL.listwise, 2)
    rows = episodes.features[0][episodes.candidates[0] >= 0]
    # Within the bounds of the clipping, the members' own standardizations give the same values.
    mild = np.clip(rows, first.mean - 2 * first.scale, first.mean + 2 * first.scale)
    mild = np.clip(mild, second.mean - 2 * second.scale, second.mean + 2 * second.scale)
    mean = (first.logits(mild) + second.logits(mild)) / 2
    np.testing.assert_allclose(merge([first, second]).logits(mild), mean, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("steps", [1, 2, 9, 18])
def test_any_number_of_steps_is_learned(steps):
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0)
    few = episodes[np.flatnonzero(episodes.target >= 0)[:8]]
    learned = train_network(few, ListwiseConfig(hidden=8, epochs=steps, batch=8, negatives=10), 0)
    assert np.isfinite(learned.logits(few.features[0])).all()


def test_learning_from_nothing_is_refused():
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0)
    with pytest.raises(ValueError, match="nothing to learn"):
        train_network(episodes[episodes.target < 0], SMALL.listwise, 0)
    with pytest.raises(RuntimeError, match="not fitted"):
        _ = RareRanker().model


def test_calibrated_probabilities_and_unknown_sum_to_one(ranker):
    for ranking in ranker.model.rankings(FRESH[:6]):
        assert ranking.probabilities.sum() + ranking.unknown == pytest.approx(1)
        assert (np.diff(ranking.scores) <= 0).all()


def test_a_new_case_is_learned_at_once_and_the_heads_stay(ranker, tmp_path):
    newcomer = FRESH[np.flatnonzero([d == "OMIM:900015" for d in FRESH.disease_ids])[:1]]
    newer = ranker.add_cases(newcomer)
    column = KNOWLEDGE.index["OMIM:900015"]
    assert ranker.model.memory.shots[column] == 0 and newer.model.memory.shots[column] == 1
    assert newer.model.revision == 1 and newer.model.heads is ranker.model.heads
    with pytest.raises(ValueError, match="known already"):
        newer.add_cases(newcomer)
    stranger = CaseSet.single(ONTOLOGY, [typical_findings(0)[0]])
    with pytest.raises(ValueError, match="not among"):
        ranker.add_cases(stranger)


def test_the_memory_is_refitted_and_the_heads_stay(ranker):
    refitted = ranker.refit_memory(KNOWLEDGE, CASES.concatenate(FRESH))
    assert refitted.model.heads is ranker.model.heads
    assert refitted.model.memory.shots.sum() == len(CASES) + len(FRESH)


def test_a_marked_case_of_a_test_publication_leaves_no_trace(tmp_path):
    """Plant a case and annotation rows of a test publication: everything learned keeps its bytes."""
    test_pmid = next(p for p in (f"PMID:{n}" for n in range(5000, 6000)) if part_of_group(p) == "test")
    mark = "HP:9305011"
    planted = CaseSet(
        ["marked"], ["OMIM:900000"], [np.array([ONTOLOGY.index[mark]], np.int32)], [np.empty(0, np.int32)],
        np.array([1.0]), ["F"], [(test_pmid,)], ["published_case"],
    )  # fmt: skip
    row = annotation("OMIM:900000", mark, test_pmid, frequency=1.0)

    def learn(cases, annotations, directory):
        groups = publication_groups(cases.case_ids, cases.pmids)
        training = np.array([part_of_group(g) == "train" for g in groups])
        train, test = cases[training], cases[~training]
        knowledge = RareKnowledge.build(ONTOLOGY, annotations, train, crosswalk=Crosswalk())
        clean = knowledge.without_publications({p for pmids in test.pmids for p in pmids})
        RareRanker(SMALL).fit(clean, train).save(directory / "ranker")
        RareLikelihood().fit(clean, train).save(directory / "likelihood")
        return clean

    plain = learn(CASES, made_annotations(), tmp_path / "plain")
    marked = learn(CASES.concatenate(planted), made_annotations(row), tmp_path / "marked")
    assert content(tmp_path / "plain") == content(tmp_path / "marked")
    assert ONTOLOGY.index[mark] not in marked.term and len(plain.term) == len(marked.term)


def test_a_marked_case_of_a_training_publication_does_leave_a_trace(tmp_path):
    """The counterpart, without which the test above would prove nothing."""
    marked = CASES.observed[0].copy()
    marked[0] = ONTOLOGY.index["HP:9305011"]
    changed = CaseSet(
        CASES.case_ids, CASES.disease_ids, [np.sort(marked), *CASES.observed[1:]], CASES.excluded,
        CASES.age_days, CASES.sex, CASES.pmids, CASES.origins,
    )  # fmt: skip
    RareLikelihood().fit(KNOWLEDGE, CASES).save(tmp_path / "a")
    RareLikelihood().fit(KNOWLEDGE, changed).save(tmp_path / "b")
    assert content(tmp_path / "a") != content(tmp_path / "b")


def test_logits_of_lists_do_not_depend_on_the_padding(ranker):
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0)
    network = ranker.model.heads["clean"].network
    logits = list_logits(network, episodes[:3])
    row = episodes.features[1][episodes.candidates[1] >= 0]
    np.testing.assert_allclose(
        logits[1][episodes.candidates[1] >= 0], network.logits(row), rtol=1e-4, atol=1e-4
    )


def test_quick_and_full_say_which_they_are():
    assert RankerConfig.quick().profile == "quick" and RankerConfig.full().profile == "full"
    assert RankerConfig.quick().n_folds < RankerConfig.full().n_folds


def test_leading_candidates_are_asked_of_all_networks(ranker, monkeypatch):
    monkeypatch.setattr("medassets.features.rare_network._LEADING", 5)
    network = ranker.model.heads["clean"].network
    lists = list(ranker.model.evidence.lists(FRESH[:3]))
    starts = np.cumsum([0, *(len(x.candidates) for x in lists[:-1])])
    features = np.concatenate([x.features for x in lists])
    quick, full = network.quick_logits(features, starts), network.logits(features)
    for start, listed in zip(starts, lists, strict=True):
        part = slice(start, start + len(listed.candidates))
        same = np.isclose(quick[part], full[part], atol=1e-5)
        assert same.sum() >= 5 and same[quick[part].argmax()]
    with pytest.raises(ValueError, match="features"):
        network.logits(features[:, :-1])


def test_a_brief_case_keeps_a_few_findings_and_excludes_nothing():
    short = brief_cases(CASES, np.random.default_rng(0))
    for before, after in zip(CASES.observed, short.observed, strict=True):
        assert set(after) <= set(before) and len(after) in {*range(3, 7), len(before)}
        assert (np.diff(after) > 0).all()
    assert all(len(terms) == 0 for terms in short.excluded)
    episodes = make_episodes(KNOWLEDGE, CASES, "clean", n_folds=2, seed=0, brief=0.5)
    assert episodes.brief.sum() == len(CASES) // 2 and len(episodes) == len(CASES) + len(CASES) // 2
    fold = dict(zip(episodes.case[~episodes.brief], episodes.fold[~episodes.brief], strict=True))
    again = zip(episodes.case[episodes.brief], episodes.fold[episodes.brief], strict=True)
    assert all(fold[case] == number for case, number in again)


def test_few_known_diseases_are_refused_and_unknown_ones_more_often():
    rng = np.random.default_rng(0)
    n, k = 2000, 6
    informed = rng.random(n) < 0.8
    logits = rng.normal(size=(n, k)).astype(np.float32)
    target = np.where(informed, rng.integers(0, k, n), -1)
    logits[informed, target[informed]] += 4
    held_out = HeldOutLogits(
        logits, np.ones((n, k), bool), rng.integers(0, 2, (n, k)), target, informed, np.ones(n),
        np.concatenate([np.ones((n, 1)), rng.normal(size=(n, 6))], axis=1),
    )  # fmt: skip
    calibration = fit_calibration(held_out)
    unknown = np.array(
        [
            calibration.probabilities(calibration.adjusted(row, kind), described)[1]
            for row, kind, described in zip(logits, held_out.has_case, held_out.description, strict=True)
        ]
    )
    refused = unknown > calibration.threshold[0]
    assert refused[informed].mean() == pytest.approx(0.05, abs=0.005)
    assert refused[~informed].mean() > 0.3
    assert unknown.mean() == pytest.approx((~informed).mean(), abs=0.02)


def test_some_simulated_diseases_are_held_out_whole_and_some_are_unknown():
    episodes = make_episodes(KNOWLEDGE, SIMULATED, "clean", n_folds=2, seed=0)
    diseases = KNOWLEDGE.labels(SIMULATED)[episodes.case]
    for disease in np.unique(diseases):
        own = diseases == disease
        # Whole: no known case in any episode; else some are known in each.
        assert (episodes.shots[own] == 0).all() or (episodes.shots[own] > 0).all()
    assert 0 < episodes.zero_shot.mean() < 1
    unknown = ~episodes.annotated
    assert (episodes.shots[unknown] == 0).all()
    published = make_episodes(KNOWLEDGE, SIMULATED, "published", n_folds=2, seed=0)
    assert published.annotated.all()


def test_one_head_is_learned_where_no_annotation_cites_a_case():
    both = replace(SMALL, protocols=("clean", "published"))
    assert not KNOWLEDGE.cites({p for pmids in SIMULATED.pmids for p in pmids})
    assert set(RareRanker(both).fit(KNOWLEDGE, SIMULATED).model.heads) == {"clean"}
    assert set(RareRanker(both).fit(KNOWLEDGE, CASES).model.heads) == {"clean", "published"}
