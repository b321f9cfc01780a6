"""Several requests are answered at once, from the same models: each gets the answer it would get alone."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from medassets.ingest.text import TextMatcher
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets.serving.inquiry_build import build_inquiry
from medassets.serving.rare import RarePredictor
from medassets.serving.terms import TermIndex, hpo_findings
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology, typical_findings

SMALL = ListwiseConfig(hidden=8, epochs=3, batch=8, negatives=10)


@pytest.fixture
def hurried():
    """Threads change as often as they can."""
    was = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(was)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rare")
    ontology = made_ontology()
    cases = made_cases(ontology)
    config = RankerConfig("quick", ("clean", "published"), 2, 1, SMALL)
    RareRanker(config).fit(made_knowledge(ontology, cases), cases).export_bundle(folder)
    return RarePredictor.load(folder)


def same_together(ask, asked):
    alone = [ask(one) for one in asked]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, asked * 8)) == alone * 8


@pytest.mark.integration
def test_rare_diseases(hurried, predictor):
    asked = [typical_findings(disease)[: 2 + disease % 3] for disease in range(12)]
    same_together(lambda findings: predictor.answer(findings, [], None, "unknown", 3), asked)


def test_interview(hurried):
    inquiry = build_inquiry(CommonKnowledge.bundled())
    asked = [(["E_201"], ["E_91"]), (["E_53"], []), (["E_66", "E_214"], ["E_201"])]
    same_together(lambda one: inquiry.next_questions(one[0], one[1], n=3), asked)


def test_text_and_terms(hurried, ontology):
    matcher, index = TextMatcher.from_ontology(ontology), TermIndex(hpo_findings(ontology))
    texts = ["Seizures, no microcephaly.", "Focal-onset seizure", "no epileptic fit"]
    same_together(lambda text: matcher.find(text, "en"), texts)
    same_together(index.search, ["seizure", "micro", "epileptic"])
