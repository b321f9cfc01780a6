import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.cohorts.splits import publication_groups
from medassets.learners.rare.episodes import EpisodeError, EpisodeSampler, RetrievalSteps
from medassets_tests.learners.rare.fixtures_few_shot import made_up_cases, made_up_knowledge, made_up_ontology


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=20, max_size=60),
    st.integers(1, 3),
    st.integers(0, 1000),
)
@settings(max_examples=60)
def test_support_and_query_never_share_a_publication(
    cases: list[tuple[int, int]], shots: int, seed: int
) -> None:
    labels = np.array([d for d, _ in cases])
    groups = [f"PMID:{p}" for _, p in cases]
    sampler = EpisodeSampler(labels, groups, shots=shots)
    if len(sampler.diseases) < 2:
        with pytest.raises(EpisodeError, match="2-way"):
            sampler.sample(np.random.default_rng(seed), 2, 5)
        return
    episode = sampler.sample(np.random.default_rng(seed), 2, 5)
    assert np.bincount(episode.support_class).tolist() == [shots, shots]
    for c in range(2):
        support = {groups[i] for i in episode.support[episode.support_class == c]}
        query = {groups[i] for i in episode.query[episode.query_class == c]}
        assert query
        assert support.isdisjoint(query)
        assert (labels[episode.query[episode.query_class == c]] == episode.candidates[c]).all()


def test_same_seed_gives_same_episodes() -> None:
    labels, groups = np.repeat(np.arange(4), 6), [f"PMID:{i // 2}" for i in range(24)]
    first, second = (list(EpisodeSampler(labels, groups, shots=2).episodes(1, 3, 2, 4)) for _ in range(2))
    assert all(
        np.array_equal(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_retrieval_step_shows_other_publications_and_hides_their_annotations() -> None:
    knowledge = made_up_knowledge(made_up_ontology())
    cases = made_up_cases(knowledge)
    cases.pmids[0] = cases.pmids[1] = cases.pmids[2] = ("PMID:ann0",)
    steps = RetrievalSteps(knowledge, cases, folds=3, seed=1)
    groups = publication_groups(cases.case_ids, cases.pmids)
    for fold in range(3):
        step = steps.sample(np.random.default_rng(fold), fold, 10, 4)
        assert {groups[i] for i in step.query}.isdisjoint({groups[i] for i in step.support})
        assert np.bincount(step.support_class).min() >= 1
        assert np.array_equal(step.candidates[step.query_class], steps.labels[step.query])
    own = int(steps.fold[0])
    assert steps.profiles(own)[0].nnz == 0
    assert steps.profiles((own + 1) % 3)[0].nnz > 0
