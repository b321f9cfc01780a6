import numpy as np
import pytest

from medassets.features.cases import CaseSet
from medassets.learners.rare.likelihood import RareLikelihood
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology, typical_findings

ONTOLOGY = made_ontology()
CASES = made_cases(ONTOLOGY)
KNOWLEDGE = made_knowledge(ONTOLOGY, CASES)


def test_it_finds_the_disease_whose_findings_are_given():
    case = CaseSet.single(ONTOLOGY, typical_findings(9))
    for model in (RareLikelihood(use_cases=False), RareLikelihood()):
        scores = model.fit(KNOWLEDGE, CASES).score(case)
        assert scores.shape == (1, len(KNOWLEDGE))
        assert model.candidates[int(scores[0].argmax())] == "OMIM:900009"


def test_without_cases_it_does_not_depend_on_them():
    model, none = RareLikelihood(use_cases=False), RareLikelihood(use_cases=False)
    model.fit(KNOWLEDGE, CASES)
    none.fit(KNOWLEDGE, CASES[:0])
    np.testing.assert_array_equal(model.score(CASES[:5]), none.score(CASES[:5]))


def test_the_explanation_adds_up_to_the_score():
    model = RareLikelihood().fit(KNOWLEDGE, CASES)
    case = CASES[4:5]
    evidence = model.explain(case, 0, "OMIM:900000", ONTOLOGY.terms, ONTOLOGY.names)
    implied = ONTOLOGY.implied(case.observed[0].tolist())
    assert not implied.intersection(case.excluded[0].tolist())
    column = KNOWLEDGE.index["OMIM:900000"]
    assert sum(e.log_ratio for e in evidence) == pytest.approx(model.score(case)[0, column], abs=1e-4)
    assert [abs(e.log_ratio) for e in evidence] == sorted((abs(e.log_ratio) for e in evidence), reverse=True)
    with pytest.raises(KeyError):
        model.explain(case, 0, "OMIM:1", ONTOLOGY.terms, ONTOLOGY.names)


def test_saved_and_loaded_it_scores_the_same(tmp_path):
    model = RareLikelihood().fit(KNOWLEDGE, CASES)
    model.save(tmp_path)
    again = RareLikelihood.load(tmp_path)
    np.testing.assert_array_equal(again.score(CASES), model.score(CASES))
    assert again.metadata == model.metadata
    with pytest.raises(RuntimeError, match="not fitted"):
        RareLikelihood().score(CASES)
