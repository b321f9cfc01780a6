"""The stateless interview: wording, contradictions, and what is kept in the bundle."""

import pyarrow as pa
import pytest

from medassets.cohorts.simulate_common import simulate
from medassets.features.inquiry import InquiryInputError, InquirySettings
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.serving.inquiry import Inquiry
from medassets.serving.inquiry_build import ERROR_RATES, build_inquiry, fit_inquiry
from medassets_tests.features.test_answer_tables import PAIN, PLACED

KNOWLEDGE = CommonKnowledge.bundled()
INQUIRY = build_inquiry(KNOWLEDGE, PAIN, InquirySettings(safety_first=False))


def test_asks_in_the_language_wanted() -> None:
    english = INQUIRY.next_questions(["E_91"], age=30, sex="F")
    spanish = INQUIRY.next_questions(["E_91"], age=30, sex="F", language="es")
    code = english["questions"][0]["code"]
    assert code == spanish["questions"][0]["code"]
    evidence = KNOWLEDGE.evidence(code)
    assert english["questions"][0]["question"] == evidence.question_en
    assert spanish["questions"][0]["question"] == evidence.question_es
    assert english["reason"] != spanish["reason"]
    with pytest.raises(InquiryInputError, match="'fr' is not offered; allowed: en, es"):
        INQUIRY.next_questions(language="fr")  # type: ignore[arg-type]


def test_what_is_known_is_not_asked_again() -> None:
    present, absent, unknown = ["E_53"], ["E_91"], ["E_201"]
    for _ in range(6):
        reply = INQUIRY.next_questions(present, absent, unknown, age=30, sex="F")
        question = reply["questions"][0]["code"]
        assert question not in {*(p.partition("_@_")[0] for p in present), *absent, *unknown}
        unknown.append(question)


def test_details_carry_their_values_with_labels() -> None:
    placed = build_inquiry(KNOWLEDGE, PLACED, InquirySettings(safety_first=False))
    place = placed.next_questions(["E_53"], age=30, sex="F", language="es")["questions"][0]
    assert (place["code"], place["type"]) == ("E_55", "M")
    expected = [
        {"code": f"E_55_@_{value.code}", "label": value.label_es}
        for value in KNOWLEDGE.evidence("E_55").values
    ]
    assert place["values"] == expected


def test_questions_of_one_group_stand_together() -> None:
    groups = [q["group"] for q in INQUIRY.next_questions(age=30, sex="F", n=12)["questions"]]
    assert len(groups) == 12
    seen = list(dict.fromkeys(groups))
    assert groups == sorted(groups, key=seen.index)


def test_a_detail_implies_its_question() -> None:
    stated = INQUIRY.next_questions(["E_53", "E_55_@_V_89"], age=30, sex="F")
    implied = INQUIRY.next_questions(["E_55_@_V_89"], age=30, sex="F")
    assert implied["leading"] == stated["leading"]
    assert implied["n_answered"] == 2


def test_a_detail_tells_its_question_though_that_was_left_open() -> None:
    opened = INQUIRY.next_questions(["E_55_@_V_89"], unknown=["E_53"], age=30, sex="F")
    assert opened["leading"] == INQUIRY.next_questions(["E_55_@_V_89"], age=30, sex="F")["leading"]


def test_denying_one_value_leaves_the_question_open() -> None:
    placed = build_inquiry(KNOWLEDGE, PLACED, InquirySettings(safety_first=False))
    reply = placed.next_questions(["E_53"], ["E_55_@_V_89"], age=30, sex="F")
    assert reply["questions"][0]["code"] == "E_55"


def test_default_details_alone_say_nothing() -> None:
    nothing = INQUIRY.next_questions(age=30, sex="F")
    defaults = INQUIRY.next_questions(["E_55_@_V_123", "E_56_@_0"], age=30, sex="F")
    assert defaults["leading"] == nothing["leading"]


def test_absent_detail_is_its_default() -> None:
    absent = INQUIRY.next_questions(["E_53"], ["E_57"], age=30, sex="F")
    named = INQUIRY.next_questions(["E_53", "E_57_@_V_123"], age=30, sex="F")
    assert absent["leading"] == named["leading"]


@pytest.mark.parametrize(
    ("present", "absent", "unknown", "message"),
    [
        (["E_91"], ["E_91"], [], "E_91 is stated both present and absent"),
        (["E_91"], [], ["E_91"], "E_91 is stated both present and unknown"),
        ([], ["E_91"], ["E_91"], "E_91 is stated both absent and unknown"),
        (["E_56_@_3", "E_56_@_4"], [], [], "E_56 has one value at a time, stated: 3, 4"),
        (["E_55_@_V_89"], ["E_53"], [], "E_55 only applies with E_53, which is stated absent"),
        (["E_9999"], [], [], "unknown evidence 'E_9999'"),
        (["E_55_@_V_89"], ["E_55_@_V_89"], [], "E_55_@_V_89 is stated both present and absent"),
        ([], ["E_55_@_V_9999"], [], "unknown value 'E_55_@_V_9999'"),
        ([], ["E_9999"], [], "unknown evidence 'E_9999'"),
    ],
)
def test_contradictions_are_named(present, absent, unknown, message) -> None:
    with pytest.raises(InquiryInputError, match=message):
        INQUIRY.next_questions(present, absent, unknown)


def test_all_unknown_is_answered_widely() -> None:
    binary = [code for code in KNOWLEDGE.codes if KNOWLEDGE.evidence(code).type == "B"]
    values = [code for code in KNOWLEDGE.codes if KNOWLEDGE.evidence(code).type != "B"]
    reply = INQUIRY.next_questions(unknown=[*binary, *values])
    assert reply["should_stop"]
    assert reply["reason_code"] == "nothing_left"
    assert reply["questions"] == []
    assert reply["certainty"] == pytest.approx(KNOWLEDGE.prior.max())


def test_stops_when_certain() -> None:
    reply = INQUIRY.with_settings(InquirySettings(certainty=0.01)).next_questions(["E_91"])
    assert reply["should_stop"]
    assert (reply["reason_code"], reply["questions"]) == ("certain", [])


def test_safety_comes_first_on_request() -> None:
    careful = INQUIRY.with_settings(InquirySettings(safety_first=True))
    reply = careful.next_questions(["E_53"], age=60, sex="M")
    assert reply["reason_code"] == "urgent"
    assert reply["questions"][0]["red_flag"]
    assert reply["questions"][0]["asked_first_for_safety"]


def test_kept_interview_asks_the_same(tmp_path) -> None:
    INQUIRY.save(tmp_path / "a")
    INQUIRY.save(tmp_path / "b")
    again = Inquiry.load(tmp_path / "a")
    assert again.metadata == INQUIRY.metadata
    assert again.metadata["training_origin"] == ["ddxplus"]
    expected = INQUIRY.next_questions(["E_53"], ["E_91"], age=50, sex="M", n=5, language="es")
    assert again.next_questions(["E_53"], ["E_91"], age=50, sex="M", n=5, language="es") == expected
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_missing_file_is_an_error(tmp_path) -> None:
    INQUIRY.save(tmp_path)
    (tmp_path / "outcome.npy").unlink()
    with pytest.raises(FileNotFoundError, match="outcome"):
        Inquiry.load(tmp_path)


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the stopping rule on few simulated patients: quick, and enough to tell."""
    monkeypatch.setattr("medassets.serving.inquiry_build.ENOUGH_ROWS", 300)


def test_simulated_rows_never_enter_the_tables(few_rows: None) -> None:
    simulated = simulate(KNOWLEDGE, seed=2, total=5)
    fitted = fit_inquiry(KNOWLEDGE, simulated, budget=5.0)
    assert fitted.metadata["n_patients"] == 0
    assert fitted.metadata["training_origin"] == []
    assert fitted.metadata["params"]["certainty"] < 0.98
    assert fit_inquiry(KNOWLEDGE, simulated, budget=5.0).metadata == fitted.metadata


def test_recorded_rows_are_all_counted_in_the_end() -> None:
    rows = simulate(KNOWLEDGE, seed=2, total=300)
    origin = rows.schema.get_field_index("origin")
    recorded = rows.set_column(origin, rows.schema.field(origin), pa.array(["ehr"] * 300))
    fitted = fit_inquiry(KNOWLEDGE, pa.concat_tables([recorded, rows.slice(0, 50)]))
    assert fitted.metadata["n_patients"] == 300
    assert fitted.metadata["training_origin"] == ["ehr"]


def test_doubt_in_answers_is_bought_only_where_the_budget_allows(few_rows: None) -> None:
    nobody = simulate(KNOWLEDGE, seed=2, total=1).slice(0, 0)
    assert fit_inquiry(KNOWLEDGE, nobody, budget=20.0).metadata["params"]["error_rate"] == ERROR_RATES[0]
    assert fit_inquiry(KNOWLEDGE, nobody, budget=6.6).metadata["params"]["error_rate"] == ERROR_RATES[1]
