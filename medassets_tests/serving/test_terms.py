"""Findings are found by name, synonym, misspelling and beginning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.serving.terms import Finding, TermIndex, normalize


@pytest.fixture(scope="module")
def index():
    return TermIndex(
        [
            Finding("HP:0001250", "hpo", {"en": "Seizure"}, ("Seizure", "Epileptic fit", "Seizures")),
            Finding("HP:0000252", "hpo", {"en": "Microcephaly"}, ("Microcephaly", "Small head")),
            Finding(
                "HP:0001263", "hpo", {"en": "Global developmental delay"}, ("Global developmental delay",)
            ),
            Finding(
                "HP:0032894",
                "hpo",
                {"en": "Seizure precipitated by fever"},
                ("Seizure precipitated by fever",),
            ),
            Finding("E_91", "evidence", {"en": "Fever", "es": "Fiebre"}, ("Fever", "Fiebre")),
        ]
    )


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("Seizure", "HP:0001250"),
        ("seizur", "HP:0001250"),
        ("sezure", "HP:0001250"),
        ("epileptic fits", "HP:0001250"),
        ("microcefaly", "HP:0000252"),
        ("head small", "HP:0000252"),
        ("delay developmental", "HP:0001263"),
        ("FIEBRE", "E_91"),
        ("fiébre", "E_91"),
        ("mic", "HP:0000252"),
    ],
)
def test_the_meant_finding_comes_first(index, query, first):
    assert index.search(query)[0]["id"] == first


def test_labels_follow_the_language_where_there_is_one(index):
    assert index.search("fiebre", language="es")[0]["label"] == "Fiebre"
    assert index.search("seizure", language="es")[0]["label"] == "Seizure"


def test_kind_and_limit_are_kept(index):
    assert [r["id"] for r in index.search("fever", kinds=["evidence"])] == ["E_91"]
    assert len(index.search("seizure", limit=1)) == 1


@pytest.mark.parametrize("query", ["", "   ", "???", "xqzw"])
def test_nothing_like_it_gives_nothing(index, query):
    assert index.search(query) == []


@given(st.text(max_size=300))
def test_any_text_is_searched_without_error(query):
    small = TermIndex([Finding("HP:1", "hpo", {"en": "Seizure"}, ("Seizure",))])
    for result in small.search(query):
        assert 0 < result["similarity"] <= 1


@given(st.text(max_size=50))
def test_normalizing_twice_changes_nothing(text):
    assert normalize(normalize(text)) == normalize(text)
