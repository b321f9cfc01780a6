import numpy as np
import pytest

from medassets.evaluation.rare import (
    compared_candidates,
    evaluate_ranker,
    known_case_groups,
    person_groups,
    rank_cases,
)
from medassets.features.rare import RareKnowledge
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets_tests.fixtures_ranker import (
    Crosswalk,
    made_annotations,
    made_cases,
    made_knowledge,
    made_ontology,
)

ONTOLOGY = made_ontology()
TRAIN = made_cases(ONTOLOGY)
TEST = made_cases(ONTOLOGY, per_disease=2, diseases=16, seed=9)
KNOWLEDGE = made_knowledge(ONTOLOGY, TRAIN)
CONFIG = RankerConfig(
    "quick", ("clean", "published"), 2, 1, ListwiseConfig(hidden=8, epochs=3, batch=8, negatives=10)
)


@pytest.fixture(scope="module")
def model():
    return RareRanker(CONFIG).fit(KNOWLEDGE.without_publications({"PMID:1"}), TRAIN).model


def test_the_comparison_ranks_what_is_annotated_or_has_a_case():
    knowledge = RareKnowledge.build(ONTOLOGY, made_annotations(), TRAIN)
    among = compared_candidates(knowledge, TRAIN)
    assert {knowledge.candidates[i] for i in np.flatnonzero(~among)} == {"ORPHA:0", "ORPHA:1"}
    bare = knowledge.without_diseases(np.array([c == "OMIM:900015" for c in knowledge.candidates]))
    assert not compared_candidates(bare, TRAIN)[knowledge.index["OMIM:900015"]]


def test_ranks_share_ties_and_are_infinite_for_strangers():
    def score(cases):
        return np.tile([3.0, 1.0, 1.0, 2.0], (len(cases), 1))

    truth = np.array([0, 1, 3, -1])
    everyone = np.ones(4, bool)
    among = np.array([False, True, True, True])
    ranks = rank_cases(score, TEST[:4], truth, everyone, among)
    assert ranks.tolist() == [[1, 3.5, 2, np.inf], [np.inf, 2.5, 1, np.inf]]


def test_groups_part_the_cases_by_what_is_known():
    truth = KNOWLEDGE.labels(TEST)
    shots = np.bincount(KNOWLEDGE.labels(TRAIN), minlength=len(KNOWLEDGE))
    groups = known_case_groups(truth, shots, KNOWLEDGE.has_annotation) | person_groups(TEST, ONTOLOGY)
    assert groups["shots_5_50"].sum() == 24 and groups["shots_0"].sum() == 8
    assert (groups["sex_F"] | groups["sex_M"]).all()
    assert groups["age_1_to_5"].all()
    assert any(name.startswith("organ_System") for name in groups)


def test_rows_name_protocol_list_group_and_origin(model):
    rows = evaluate_ranker(model, KNOWLEDGE, TEST)
    assert {r["protocol"] for r in rows} == {"clean", "published"}
    assert {r["candidates"] for r in rows} == {"own", "all"}
    whole = [r for r in rows if r["group"] == "all" and r["metric"] == "top1" and r["candidates"] == "own"]
    assert all(r["n"] == len(TEST) and r["low"] <= r["value"] <= r["high"] for r in whole)
    assert all(r["value"] > 0.5 and r["origin"] == "published_case" for r in whole)
    other = RareKnowledge.build(ONTOLOGY, made_annotations(), crosswalk=Crosswalk(), databases=("ORPHA",))
    with pytest.raises(ValueError, match="other candidates"):
        evaluate_ranker(model, other, TEST)
