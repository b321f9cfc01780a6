import numpy as np
import pytest

from medassets.features.cases import CaseSet
from medassets.features.rare_evidence import FEATURES, SCORES, Evidence
from medassets.features.rare_memory import KERNELS, CaseMemory
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology, typical_findings

ONTOLOGY = made_ontology()
CASES = made_cases(ONTOLOGY)
KNOWLEDGE = made_knowledge(ONTOLOGY, CASES)
MEMORY = CaseMemory.fit(KNOWLEDGE, CASES)
EVIDENCE = Evidence(MEMORY, ONTOLOGY)


def column(listed, name):
    return listed.features[:, FEATURES.index(name)]


def test_a_case_alone_and_in_a_batch_gives_the_same_numbers():
    batch = list(EVIDENCE.lists(CASES[:20]))
    for i in (0, 7, 19):
        alone = next(EVIDENCE.lists(CASES[i : i + 1]))
        assert alone.candidates.tolist() == batch[i].candidates.tolist()
        np.testing.assert_allclose(alone.features, batch[i].features, rtol=1e-5, atol=1e-5)


def test_a_known_case_is_its_own_nearest_neighbour():
    for i, listed in enumerate(EVIDENCE.lists(CASES[:12])):
        own = listed.candidates == KNOWLEDGE.labels(CASES)[i]
        assert column(listed, "nearest_implied")[own][0] == pytest.approx(1, abs=1e-5)
        assert (column(listed, "nearest_implied") <= 1 + 1e-5).all()


def test_gaps_are_distances_to_the_best_of_the_list():
    listed = next(EVIDENCE.lists(CASES[:1]))
    for name in SCORES:
        gap = column(listed, f"{name}_gap")
        assert gap.max() == pytest.approx(0, abs=1e-6) and (gap <= 1e-6).all()


def test_scores_of_blocks_equal_those_of_the_plain_formula():
    case = CASES[3:4]
    listed = next(EVIDENCE.lists(case))
    frequency = MEMORY.own.toarray()[listed.candidates]
    background = MEMORY.background
    o, implied = case.observed[0], sorted(ONTOLOGY.implied(case.observed[0].tolist()))
    e = np.array([t for t in case.excluded[0] if t not in implied])
    observed = np.log(0.98 * frequency[:, o] + 0.02 * background[o] + 1e-5) - np.log(background[o] + 1e-5)
    np.testing.assert_allclose(column(listed, "own_observed"), observed.sum(1), rtol=1e-4, atol=1e-4)
    excluded = np.log1p(-0.95 * frequency[:, e]) - np.log1p(-0.95 * background[e])
    np.testing.assert_allclose(column(listed, "own_excluded"), excluded.sum(1), rtol=1e-4, atol=1e-4)
    q, d = np.zeros(len(ONTOLOGY)), frequency * MEMORY.ic
    q[implied] = MEMORY.ic[implied]
    cosine = d @ q / np.maximum(np.linalg.norm(d, axis=1), 1e-6) / np.linalg.norm(q)
    np.testing.assert_allclose(column(listed, "own_cosine"), cosine, rtol=1e-4, atol=1e-5)


def test_an_excluded_term_that_an_observed_one_contradicts_says_nothing():
    finding = typical_findings(2)[0]
    plain = CaseSet.single(ONTOLOGY, [finding])
    both = CaseSet.single(ONTOLOGY, [finding], ["HP:0000118"])
    np.testing.assert_array_equal(next(EVIDENCE.lists(plain)).features, next(EVIDENCE.lists(both)).features)


def test_a_case_without_observed_terms_still_gets_a_list():
    listed = next(EVIDENCE.lists(CaseSet.single(ONTOLOGY, [], [typical_findings(1)[0]])))
    assert len(listed.candidates) > 0 and np.isfinite(listed.features).all()


def test_without_any_known_case_only_annotations_speak():
    memory = CaseMemory.fit(KNOWLEDGE, CASES[:0])
    listed = next(Evidence(memory, ONTOLOGY).lists(CASES[:1]))
    assert memory.shots.sum() == 0
    assert np.isfinite(listed.features).all() and (column(listed, "has_case") == 0).all()


def test_memory_is_the_same_after_saving_and_has_the_same_bytes(tmp_path):
    MEMORY.save(tmp_path / "a")
    CaseMemory.fit(KNOWLEDGE, CASES).save(tmp_path / "b")
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
    again = CaseMemory.load(tmp_path / "a")
    assert set(again.kernels) == set(KERNELS)
    np.testing.assert_array_equal(again.ridge, MEMORY.ridge)
