"""Answers as HTML: everything escaped, abstention and origin never missing, publications linked."""

import pytest

from medassets.page import markup
from medassets.page.case import Case, Finding

RARE = {
    "candidates": [
        {
            "disease_id": "OMIM:154700", "name": "<b>Marfan</b>", "probability": 0.999, "n_known_cases": 3,
            "explanation": [
                {"label": "A", "state": "observed", "direction": "for", "log_ratio": 2.0},
                {"label": "B", "state": "excluded", "direction": "against", "log_ratio": -1.0},
            ],
        }
    ],
    "confidence": "low", "abstain": True, "reason": "none", "unknown_probability": 0.77,
    "look_for_next": [{"hpo_id": "HP:3", "label": "C", "gain": 0.5}],
    "similar_cases": [{"disease": "D", "pmids": ["PMID:123", "other"], "similarity": 0.5}],
}  # fmt: skip
ANSWER = {
    "prediction_id": "p1", "at": "2026-01-01", "rare": RARE, "common": None, "not_answered": {"common": "x"},
    "training_origin": {"rare": ["published_case"]},
    "versions": {"bundle": "b1", "models": {"rare_ranker": "4"}, "hpo": "2025"},
}  # fmt: skip


@pytest.mark.parametrize(("language", "words"), [("en", "Not among the diseases"), ("es", "No está entre")])
def test_abstention_and_origin_stand_out_in_both_languages(language, words):
    html = markup.differential(ANSWER, "rare", language)
    assert 'role="alert"' in html and words in html and "77 %" in html
    assert markup.origin("published_case", language) in html


def test_values_are_escaped_and_directions_are_words():
    html = markup.differential(ANSWER, "rare", "en")
    assert "<b>Marfan" not in html and "&lt;b&gt;Marfan" in html
    assert 'class="word for">for<' in html and 'class="word against">against<' in html
    assert "omim.org/entry/154700" in html and "&gt; 99 %" in html


def test_publications_are_linked():
    html = markup.follow_up(ANSWER, "en")
    assert 'href="https://pubmed.ncbi.nlm.nih.gov/123/"' in html and "other" in html and "C" in html


def test_a_part_without_an_answer_says_why():
    assert "common questions" in markup.differential(ANSWER, "common", "en")


def test_understood_words_are_marked_with_term_and_state():
    found = [
        {"start": 0, "end": 4, "name": "Seizure", "state": "observed"},
        {"start": 1, "end": 3, "name": "Inner", "state": "observed"},
        {"start": 9, "end": 14, "name": "Fever", "state": "excluded"},
    ]
    html = markup.highlighted("Fits, no fever <b>", found, "en")
    assert '<mark class="observed">Fits <span>Seizure, present</span></mark>, no ' in html
    assert '<mark class="excluded">fever <span>Fever, absent</span></mark> &lt;b&gt;' in html
    assert "Inner" not in html


def test_the_document_stands_alone():
    case = Case(findings={"HP:1": Finding("HP:1", "hpo", "A <x>", "present")})
    html = markup.document(case, ANSWER, "es")
    assert html.startswith("<!doctype html>") and 'lang="es"' in html and "A &lt;x&gt;" in html
    assert "b1" in html and "rare_ranker 4" in html and "src=" not in html and "<script" not in html


@pytest.mark.parametrize(("share", "shown"), [(0.0, "< 1 %"), (0.5, "50 %"), (1.0, "> 99 %")])
def test_no_probability_is_shown_as_certain(share, shown):
    assert markup.percent(share) == shown
