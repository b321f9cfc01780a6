import csv
import json
from collections import Counter

import numpy as np
import pytest

from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.quarantine import SourceError

KNOWLEDGE = CommonKnowledge.bundled()


def test_the_bundled_table_has_its_announced_size() -> None:
    assert KNOWLEDGE.recorded.shape == (49, 223)
    assert sum(c.patients for c in KNOWLEDGE.conditions) == 1_025_602
    assert KNOWLEDGE.prior.sum() == pytest.approx(1)
    assert Counter(e.type for e in KNOWLEDGE.evidences) == {"B": 208, "C": 9, "M": 6}
    assert KNOWLEDGE.condition_names == sorted(KNOWLEDGE.condition_names)
    numbers = [int(code[2:]) for code in KNOWLEDGE.codes]
    assert numbers == sorted(numbers)


def test_a_site_can_follow_what_the_figures_say() -> None:
    def likely(condition: str, evidence: str) -> float:
        return KNOWLEDGE.probability[KNOWLEDGE.condition_index[condition], KNOWLEDGE.evidence_index[evidence]]

    assert likely("Bronchitis", "E_201") > 0.5 > 0.05 > likely("Inguinal hernia", "E_201")  # cough
    assert likely("Acute COPD exacerbation / infection", "E_123") == 0.826227


def test_named_defaults_do_not_pass_for_positive_answers() -> None:
    travel, pain, site = (KNOWLEDGE.evidence_index[code] for code in ("E_204", "E_53", "E_55"))
    assert (KNOWLEDGE.recorded[:, travel] == 1).all()  # the form always has the question ...
    assert (KNOWLEDGE.probability[:, travel] < 0.1).all()  # ... and that is not travelling
    assert not KNOWLEDGE.measured[travel] and KNOWLEDGE.measured[pain]
    assert (KNOWLEDGE.probability[:, site] <= KNOWLEDGE.probability[:, pain] + 1e-12).all()
    assert KNOWLEDGE.parents[site] == pain


def test_every_wording_is_there_once_in_both_languages() -> None:
    for field in ("label_en", "label_es", "question_en", "question_es"):
        texts = [getattr(evidence, field) for evidence in KNOWLEDGE.evidences]
        assert all(texts) and len(set(texts)) == len(texts), field
    assert all(
        e.question_en.endswith("?") and "¿" in e.question_es for e in KNOWLEDGE.evidences if e.type == "B"
    )
    for evidence in KNOWLEDGE.evidences:
        assert evidence.group not in ("", "other")
        labels = [value.label_es for value in evidence.values]
        assert len(set(labels)) == len(labels), evidence.code
    assert 20 < sum(e.red_flag for e in KNOWLEDGE.evidences) < 60
    assert all(c.name_es and c.name_en and c.icd10[0].isupper() for c in KNOWLEDGE.conditions)


def test_answers_of_one_sex_are_marked() -> None:
    assert {e.code for e in KNOWLEDGE.evidences if e.sex == "F"} == {
        "E_11",
        "E_141",
        "E_145",
        "E_163",
        "E_167",
    }
    sexes = {value.code: value.sex for value in KNOWLEDGE.evidence("E_55").values}
    assert (sexes["V_168"], sexes["V_186"], sexes["V_89"]) == ("M", "F", None)


def test_degrees_are_told_from_names() -> None:
    assert KNOWLEDGE.evidence("E_56").ordinal and not KNOWLEDGE.evidence("E_54").ordinal
    assert KNOWLEDGE.evidence("E_56").answer_codes()[:3] == ["E_56", "E_56_@_0", "E_56_@_1"]


def test_an_unknown_name_gets_near_matches() -> None:
    with pytest.raises(KeyError, match="Influenza"):
        KNOWLEDGE.condition("Influenca")
    with pytest.raises(KeyError, match="unknown evidence 'E_999'"):
        KNOWLEDGE.evidence("E_999")


def test_the_version_follows_the_content() -> None:
    other = CommonKnowledge(KNOWLEDGE.conditions, KNOWLEDGE.evidences, KNOWLEDGE.recorded * 0.5)
    assert other.version != KNOWLEDGE.version
    same = CommonKnowledge(KNOWLEDGE.conditions, KNOWLEDGE.evidences, KNOWLEDGE.recorded.copy())
    assert same.version == KNOWLEDGE.version


def test_figures_outside_their_range_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        CommonKnowledge(KNOWLEDGE.conditions, KNOWLEDGE.evidences, KNOWLEDGE.recorded + 1)
    with pytest.raises(ValueError, match="shape"):
        CommonKnowledge(KNOWLEDGE.conditions, KNOWLEDGE.evidences, KNOWLEDGE.recorded.T)


CONDITIONS = {
    "Influenza": {
        "condition_name": "Influenza", "cond-name-eng": "Influenza", "icd10-id": "j11.1", "severity": 3,
        "symptoms": {"E_91": {}}, "antecedents": {},
    }
}  # fmt: skip
EVIDENCES = {
    "E_91": {
        "name": "E_91", "code_question": "E_91", "question_en": "Their words?", "is_antecedent": False,
        "default_value": 0, "value_meaning": {}, "possible-values": [], "data_type": "B",
    },
    "E_900": {
        "name": "E_900", "code_question": "E_91", "question_en": "A new one?", "is_antecedent": True,
        "default_value": "V_1", "value_meaning": {"V_1": {"en": "no"}, "V_2": {"en": "a little"}},
        "possible-values": ["V_1", "V_2"], "data_type": "C",
    },
}  # fmt: skip


@pytest.fixture
def release(tmp_path):
    (tmp_path / "release_conditions.json").write_text(json.dumps(CONDITIONS))
    (tmp_path / "release_evidences.json").write_text(json.dumps(EVIDENCES))
    return tmp_path


def test_a_release_brings_its_facts_and_takes_the_bundled_wording(release) -> None:
    knowledge = CommonKnowledge.from_release(release)
    assert knowledge.codes == ["E_91", "E_900"]
    assert knowledge.condition("Influenza").icd10 == "J11.1"
    assert knowledge.condition("Influenza").name_es == "Gripe"
    assert knowledge.evidence("E_91").question_en == KNOWLEDGE.evidence("E_91").question_en
    new = knowledge.evidence("E_900")
    assert (new.question_en, new.parent, new.values[1].label_en) == ("A new one?", "E_91", "a little")
    expected = KNOWLEDGE.recorded[KNOWLEDGE.condition_index["Influenza"], KNOWLEDGE.evidence_index["E_91"]]
    assert knowledge.recorded.tolist() == [[expected, 0.0]]


def test_a_site_can_bring_its_own_figures(release) -> None:
    (release / "evidence_given_condition.csv").write_bytes(
        b"\xef\xbb\xbfcondition,patients,evidence,probability\r\nInfluenza,7,E_91,0.25\r\n"
    )
    knowledge = CommonKnowledge.from_release(release)
    assert knowledge.recorded.tolist() == [[0.25, 0.0]]
    assert knowledge.condition("Influenza").patients == 7


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("release_conditions.json", "{", "release_conditions.json: not JSON"),
        ("release_conditions.json", "[]", "expected one JSON object"),
        ("release_conditions.json", '{"X": {"condition_name": "X"}}', "no figures for condition 'X'"),
        ("release_conditions.json", '{"X": {"condition_name": "Influenza"}}', "no field 'icd10-id'"),
        ("release_evidences.json", '{"E_1": {"name": "E_1", "data_type": "Q"}}', "'Q' is not one of B, C, M"),
        ("evidence_given_condition.csv", "condition,patients\nInfluenza,x\n", "line 2"),
    ],
)
def test_a_broken_release_is_named(release, name: str, content: str, message: str) -> None:
    (release / name).write_text(content)
    with pytest.raises(SourceError, match=message):
        CommonKnowledge.from_release(release)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(SourceError, match=r"release_conditions\.json: file is missing"):
        CommonKnowledge.from_release(tmp_path)


def test_the_bundled_facts_are_those_of_the_release(shared_data) -> None:
    folder = shared_data / "ddxplus"
    with (folder / "evidence_given_condition.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    figures = np.zeros_like(KNOWLEDGE.recorded)
    for row in rows:
        i, j = KNOWLEDGE.condition_index[row["condition"]], KNOWLEDGE.evidence_index[row["evidence"]]
        figures[i, j] = float(row["probability"])
        assert KNOWLEDGE.conditions[i].patients == int(row["patients"])
    assert np.array_equal(figures, KNOWLEDGE.recorded)
    of_site = CommonKnowledge.from_release(folder)
    assert np.array_equal(of_site.recorded, KNOWLEDGE.recorded)
    assert of_site.evidences == KNOWLEDGE.evidences
    pairs = list(zip(of_site.conditions, KNOWLEDGE.conditions, strict=True))
    for theirs, ours in pairs:
        assert (theirs.name, theirs.severity, set(theirs.symptoms), set(theirs.antecedents)) == (
            ours.name,
            ours.severity,
            set(ours.symptoms),
            set(ours.antecedents),
        )
    # One id of the release names another disease (M34 is systemic sclerosis): the bundled one is corrected.
    differing = {a.name: (a.icd10, b.icd10) for a, b in pairs if a.icd10 != b.icd10}
    assert differing == {"SLE": ("M34", "M32.9")}


def test_no_question_repeats_the_release_word_for_word(shared_data) -> None:
    theirs = json.loads((shared_data / "ddxplus" / "release_evidences.json").read_text())

    def words(text: str) -> str:
        return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())

    same = [
        e.code for e in KNOWLEDGE.evidences if words(e.question_en) == words(theirs[e.code]["question_en"])
    ]
    assert same == []
