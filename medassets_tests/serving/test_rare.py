import numpy as np
import pyarrow as pa
import pytest

from medassets.features.prevalence import write_prior
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets.serving.rare import RarePredictor
from medassets.serving.rare_explain import discriminating_phenotypes
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology, typical_findings

ONTOLOGY = made_ontology()
CASES = made_cases(ONTOLOGY)
KNOWLEDGE = made_knowledge(ONTOLOGY, CASES)
BOTH = RankerConfig(
    "quick", ("clean", "published"), 2, 1, ListwiseConfig(hidden=8, epochs=3, batch=8, negatives=10)
)


@pytest.fixture(scope="module")
def ranker():
    return RareRanker(BOTH).fit(KNOWLEDGE, CASES)


@pytest.fixture(scope="module")
def predictor(ranker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rare")
    ranker.export_bundle(folder)
    return RarePredictor.load(folder)


def test_the_bundle_answers_as_the_ranker_scores(ranker, predictor):
    np.testing.assert_array_equal(predictor.score(CASES[:8]), ranker.score(CASES[:8]))
    assert predictor.candidates == ranker.candidates
    assert predictor.shots.tolist() == ranker.model.memory.shots.tolist()
    assert predictor.metadata["training_origin"] == ["published_case"]
    assert set(predictor.metadata["learned"]) == {"clean", "published"}


def test_an_answer_names_disease_reasons_similar_patients_and_what_to_look_for(predictor):
    findings = typical_findings(4)
    answer = predictor.answer(findings[:4], [findings[5]], 700.0, "F", 5)
    first = answer["candidates"][0]
    assert first["disease_id"] == "OMIM:900004" and first["n_known_cases"] == 6
    assert len(answer["candidates"]) == 5
    probabilities = [c["probability"] for c in answer["candidates"]]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) + answer["unknown_probability"] <= 1 + 1e-6
    reasons = {r["hpo_id"]: r for r in first["explanation"]}
    assert reasons[findings[0]]["direction"] == "for" and reasons[findings[0]]["state"] == "observed"
    assert reasons[findings[5]]["direction"] == "against" and reasons[findings[5]]["state"] == "excluded"
    assert answer["similar_cases"][0]["disease_id"] == "OMIM:900004"
    assert answer["similar_cases"][0]["pmids"][0].startswith("PMID:")
    assert answer["confidence"] in ("high", "moderate", "low")


def test_what_to_look_for_next_is_not_answered_already(predictor):
    findings = typical_findings(4)
    answer = predictor.answer(findings[:3], [findings[4]], None, "unknown", 5)
    asked = {row["hpo_id"] for row in answer["look_for_next"]}
    assert asked and asked.isdisjoint(findings[:3]) and findings[4] not in asked
    special = {f.replace("HP:92", "HP:93") for f in [findings[4]]}
    assert asked.isdisjoint(special)
    gains = [row["gain"] for row in answer["look_for_next"]]
    assert gains == sorted(gains, reverse=True) and gains[0] <= np.log2(10)


def test_the_gain_is_highest_for_a_term_that_splits_the_candidates(predictor):
    from medassets.features.cases import CaseSet

    case = CaseSet.single(ONTOLOGY, typical_findings(4)[:2])
    ranking = next(predictor.model.rankings(case))
    frequency = predictor.model.evidence.frequencies(ranking.candidates)
    best = discriminating_phenotypes(predictor.model, case, ranking, frequency, 1)[0]
    frequencies = list(best["frequency"].values())
    assert max(frequencies) - min(frequencies) > 0.3


def test_abstention_says_why(predictor, monkeypatch):
    monkeypatch.setattr(type(predictor), "abstains_above", -1.0)
    answer = predictor.answer([typical_findings(0)[0]], [], None, "unknown", 3)
    assert answer["abstain"] and "not among the diseases that I know" in answer["reason"]
    assert answer["confidence"] == "low"


def test_unknown_terms_are_named(predictor):
    with pytest.raises(ValueError, match="HP:7777777"):
        predictor.answer(["HP:7777777"], [], None, "unknown", 3)


def test_equivalent_ids_mean_the_same_candidate(predictor):
    assert predictor.canonical("ORPHA:1") == "OMIM:900001"
    assert predictor.canonical("OMIM:5") == "OMIM:5"
    assert predictor.candidate("ORPHA:1")["equivalents"] == ["OMIM:900001", "ORPHA:1"]


def test_publications_can_be_left_out_of_cases_and_rows(predictor):
    clean = predictor.without_publications({"PMID:1"})
    assert clean.shots[0] == 4 and predictor.shots[0] == 6
    assert clean.candidates == predictor.candidates and clean.protocol == "clean"
    assert len(clean.model.knowledge.disease) == len(predictor.model.knowledge.disease) - 3
    published = predictor.as_published({"PMID:1"})
    assert published.shots[0] == 4 and published.protocol == "published"
    assert len(published.model.knowledge.disease) == len(predictor.model.knowledge.disease)


def test_without_a_published_head_the_clean_one_scores_and_says_so(predictor):
    from dataclasses import replace

    only_clean = RarePredictor(replace(predictor.model, heads={"clean": predictor.model.heads["clean"]}))
    published = only_clean.as_published({"PMID:1"})
    assert published.protocol == "clean" and published.shots[0] == 4


def test_a_bundle_of_other_features_is_refused(ranker, tmp_path):
    ranker.export_bundle(tmp_path)
    text = (tmp_path / "rare.json").read_text(encoding="utf-8")
    (tmp_path / "rare.json").write_text(text.replace("own_cosine", "own_sine"), encoding="utf-8")
    with pytest.raises(ValueError, match="features"):
        RarePredictor.load(tmp_path)


def test_a_prior_by_prevalence_moves_the_ranking_and_what_it_starts_from(ranker, predictor, tmp_path):
    findings = typical_findings(4)
    asked = (findings[:4], [], 700.0, "F", 5)
    plain = predictor.answer(*asked)
    second = plain["candidates"][1]["disease_id"]
    ranker.export_bundle(tmp_path)
    prevalences = pa.table({"disease_id": [second, "OMIM:900004"], "per_million": [1000.0, 0.01]})
    write_prior(prevalences, 1.0, tmp_path)
    weighted = RarePredictor.load(tmp_path)
    answer = weighted.answer(*asked)
    was, now = ({c["disease_id"]: c for c in found["candidates"]} for found in (plain, answer))
    assert now[second]["probability"] > was[second]["probability"]
    assert now[second]["pre_test"] > was[second]["pre_test"] == pytest.approx(1 / len(predictor.candidates))
    assert answer["unknown_probability"] == plain["unknown_probability"]
    column = weighted.candidates.index(second)
    shift = weighted.score(CASES[:2]) - predictor.score(CASES[:2])
    assert shift[:, column] == pytest.approx(np.log(1000 / 0.01) / 2, rel=1e-3)
    assert weighted.without_publications(["PMID:0"]).prior is weighted.prior
