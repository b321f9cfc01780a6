"""The inquiry engine: information, order of questions, and laws that any interview obeys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.features.answer_tables import fit_answer_tables
from medassets.features.inquiry import (
    NO,
    NOT_APPLICABLE,
    OPEN,
    UNKNOWN,
    YES,
    InquiryEngine,
    InquiryInputError,
    InquirySettings,
)
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets_tests.features.test_answer_tables import PAIN, PLACED

KNOWLEDGE = CommonKnowledge.bundled()
CODES = KNOWLEDGE.codes


def build(rows=None, **options) -> InquiryEngine:
    return InquiryEngine(
        fit_answer_tables(KNOWLEDGE, rows),
        KNOWLEDGE.severity,
        np.array([e.red_flag for e in KNOWLEDGE.evidences]),
        [e.sex for e in KNOWLEDGE.evidences],
        InquirySettings(**options),
    )


PLAIN = build(safety_first=False)
VALUED = build(PAIN, safety_first=False)


def start(engine: InquiryEngine, sex: str = "F", age: float = 40.0):
    return engine.start(np.array([age]), [sex])


def entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


@given(
    st.lists(
        st.sampled_from([c for c in CODES if KNOWLEDGE.evidence(c).type == "B"]), unique=True, max_size=5
    )
)
@settings(max_examples=25)
def test_information_is_the_expected_fall_of_entropy(known: list[str]) -> None:
    interview = start(PLAIN)
    answers = PLAIN.encode([known[::2]], [[]])
    for code in known:
        PLAIN.tell(interview, answers, np.array([PLAIN.code_index[code]]))
    information = PLAIN.information(interview)[0]
    p = interview.posterior[0]
    for code in ("E_91", "E_201", "E_66"):
        j = PLAIN.code_index[code]
        if interview.known[0, j] != OPEN:
            assert information[j] == -1
            continue
        yes = PLAIN.tables.outcome[:, PLAIN.tables.outcome_start[j] + 1]
        after = sum((p * like).sum() * entropy(p * like / (p * like).sum()) for like in (yes, 1 - yes))
        assert information[j] == pytest.approx(entropy(p) - after, abs=2e-9)
        assert -1e-9 <= information[j] <= entropy(p) + 1e-9


@given(st.permutations(["E_91", "E_201", "E_66", "E_79", "E_129"]))
@settings(max_examples=20)
def test_order_of_answers_does_not_matter(order: list[str]) -> None:
    def told(codes) -> np.ndarray:
        interview = start(PLAIN)
        answers = PLAIN.encode([["E_91", "E_66"]], [["E_79"]])
        for code in codes:
            PLAIN.tell(interview, answers, np.array([PLAIN.code_index[code]]))
        return interview.posterior

    np.testing.assert_allclose(told(order), told(sorted(order)), atol=1e-12)


def test_an_unknown_answer_changes_nothing_and_is_not_asked_again() -> None:
    interview = start(PLAIN)
    before = interview.posterior
    j = PLAIN.code_index["E_91"]
    PLAIN.tell(interview, PLAIN.encode([[]], [["E_91"]]), np.array([j]))
    np.testing.assert_array_equal(interview.posterior, before)
    assert interview.known[0, j] == UNKNOWN
    assert PLAIN.information(interview)[0, j] == -1


@pytest.mark.parametrize("answer", [[], ["E_53"]])
def test_details_are_asked_only_after_their_question_is_affirmed(answer: list[str]) -> None:
    interview = start(VALUED)
    pain, place = VALUED.code_index["E_53"], VALUED.code_index["E_55"]
    assert VALUED.information(interview)[0, place] == -1
    VALUED.tell(interview, VALUED.encode([answer], [[]]), np.array([pain]))
    assert interview.known[0, pain] == (YES if answer else NO)
    if answer:
        assert VALUED.information(interview)[0, place] > 0
    else:
        assert interview.known[0, place] == NOT_APPLICABLE
        assert VALUED.information(interview)[0, place] == -1


def test_a_question_is_credited_with_what_its_details_would_tell() -> None:
    j = VALUED.code_index["E_53"]
    placed = build(PLACED, safety_first=False)
    own = PLAIN.information(start(PLAIN))[0, j]
    assert placed.information(start(placed))[0, j] > 1.5 * own
    assert placed.choose(start(placed), placed.information(start(placed)))[0][0] == j


def test_values_move_the_posterior_to_the_conditions_that_have_them() -> None:
    interview = start(VALUED)
    answers = VALUED.encode([["E_53", "E_55_@_V_89", "E_56_@_9"]], [[]])
    for code in ("E_53", "E_55", "E_56"):
        VALUED.tell(interview, answers, np.array([VALUED.code_index[code]]))
    p = interview.posterior[0]
    assert (
        p[KNOWLEDGE.condition_index["Cluster headache"]] > 3 * p[KNOWLEDGE.condition_index["Inguinal hernia"]]
    )


def test_red_flags_come_first_while_a_severe_condition_is_possible() -> None:
    careful = VALUED.with_settings(InquirySettings(safety_first=True))
    interview = start(careful)
    information = careful.information(interview)
    question, urgent = careful.choose(interview, information)
    assert urgent[0]
    assert KNOWLEDGE.evidences[question[0]].red_flag
    plain, not_urgent = VALUED.choose(interview, information)
    assert not not_urgent[0]
    assert information[0, plain[0]] == information.max()
    # Once nothing severe is possible, information alone decides.
    mild = np.where(KNOWLEDGE.severity <= 2, -50.0, 0.0)
    interview.log_posterior += mild
    assert not careful.choose(interview, careful.information(interview))[1][0]


def test_questions_of_the_other_sex_are_not_asked() -> None:
    women = [e.code for e in KNOWLEDGE.evidences if e.sex == "F"]
    assert women
    man, unknown = start(PLAIN, "M"), start(PLAIN, "unknown")
    for code in women:
        j = PLAIN.code_index[code]
        assert PLAIN.information(man)[0, j] == -1
        assert PLAIN.information(unknown)[0, j] >= 0


def test_stopping_has_a_reason() -> None:
    interview = start(PLAIN)
    information = PLAIN.information(interview)
    assert PLAIN.stop_reason(interview, information) == [None]
    assert build(certainty=0.01).stop_reason(interview, information) == ["certain"]
    assert build(min_information=5.0).stop_reason(interview, information) == ["nothing_left"]
    PLAIN.tell(interview, PLAIN.encode([[]], [[]]), np.array([PLAIN.code_index["E_91"]]))
    assert build(max_questions=1).stop_reason(interview, information) == ["limit"]


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        (["E_9999"], "unknown evidence 'E_9999'"),
        (["E_56_@_11"], "E_56 has no value '11'; allowed: 0, 1"),
        (["E_91_@_V_1"], "E_91 is a yes/no question and takes no value"),
    ],
)
def test_unreadable_evidence_is_named(evidence: list[str], message: str) -> None:
    with pytest.raises(InquiryInputError, match=message):
        PLAIN.encode([evidence], [[]])


@pytest.mark.parametrize("age", [-1.0, 121.0])
def test_impossible_ages_are_refused(age: float) -> None:
    with pytest.raises(InquiryInputError, match="outside 0 to 120"):
        start(PLAIN, age=age)


def test_an_unknown_age_is_no_information() -> None:
    aged = build(PAIN)
    nothing = aged.start(np.array([np.nan]), ["unknown"]).posterior
    np.testing.assert_allclose(nothing[0], KNOWLEDGE.prior, atol=1e-12)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="certainty"):
        InquirySettings(certainty=1.5)
