"""Interviews: the protocol, the stopping rule, and figures on simulated and on released patients."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from medassets.cohorts.simulate_common import mask, simulate
from medassets.evaluation.inquiry import (
    accuracy_curve,
    choose_settings,
    inquiry_figures,
    inquiry_metrics,
    interview_patients,
)
from medassets.features.inquiry import InquirySettings
from medassets.ingest.ddxplus import read_patients
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.serving.inquiry_build import build_inquiry

KNOWLEDGE = CommonKnowledge.bundled()
PATIENTS = simulate(KNOWLEDGE, seed=3, total=200)
PLAIN = InquirySettings(certainty=0.97, safety_first=False)
ENGINE = build_inquiry(KNOWLEDGE, settings=PLAIN).engine
INTERVIEWS = interview_patients(ENGINE, PATIENTS, max_questions=25)


def test_a_few_questions_find_most_simulated_patients() -> None:
    figures = inquiry_figures(INTERVIEWS, PLAIN)
    assert figures["n"] == 200
    assert figures["top1"] > 0.93
    assert 3 < figures["mean_questions"] < 8
    low, high = figures["ci95"]["top1"]
    assert low <= figures["top1"] <= high
    assert sum(figures["stopped"].values()) == pytest.approx(1)


def test_no_question_is_asked_twice_and_the_complaint_is_not_asked() -> None:
    first = [ENGINE.code_index[code] for code in PATIENTS.column("initial_evidence").to_pylist()]
    for patient in range(50):
        asked = [q for q in INTERVIEWS.question[:, patient] if q >= 0]
        assert len(asked) == len(set(asked))
        assert first[patient] not in asked


def test_more_certainty_never_takes_fewer_questions() -> None:
    counts = [INTERVIEWS.stopped(InquirySettings(certainty=c))[0] for c in (0.5, 0.8, 0.95, 0.99)]
    for fewer, more in itertools.pairwise(counts):
        assert (more >= fewer).all()
    questions = [point["mean_questions"] for point in accuracy_curve(INTERVIEWS)]
    assert questions == sorted(questions)


def test_the_limit_stops() -> None:
    count, reason = INTERVIEWS.stopped(InquirySettings(certainty=1.0, min_information=0.0, max_questions=4))
    assert count.max() == 3  # the initial complaint is the first answer
    assert set(reason) == {"limit"}


def test_unknown_answers_cost_questions_and_accuracy() -> None:
    hidden = mask(PATIENTS, KNOWLEDGE, seed=1, unknown_rate=0.5)
    figures, clear = (
        inquiry_figures(interview_patients(ENGINE, hidden), PLAIN),
        inquiry_figures(INTERVIEWS, PLAIN),
    )
    assert figures["mean_questions"] > clear["mean_questions"]
    assert figures["top1"] <= clear["top1"]


def test_metrics_tell_the_cost_of_safety() -> None:
    metrics = inquiry_metrics(ENGINE, PATIENTS.slice(0, 100))
    assert metrics["settings"]["safety_first"] is False
    assert metrics["safety_first"]["settings"]["safety_first"] is True
    assert metrics["safety_first"]["mean_questions"] > metrics["mean_questions"]


def test_the_stopping_rule_keeps_to_its_budget() -> None:
    chosen = choose_settings(ENGINE, PATIENTS, budget=5.0, max_questions=25)
    assert inquiry_figures(INTERVIEWS, chosen)["mean_questions"] <= 5.0
    assert chosen.min_information == PLAIN.min_information
    assert choose_settings(ENGINE, PATIENTS, budget=7.0, max_questions=25).certainty > chosen.certainty


def test_chunks_do_not_change_an_interview(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medassets.evaluation.inquiry._CHUNK", 64)
    again = interview_patients(ENGINE, PATIENTS, max_questions=25)
    np.testing.assert_array_equal(again.question, INTERVIEWS.question)


def test_bad_patients_are_named() -> None:
    with pytest.raises(ValueError, match="no patients"):
        interview_patients(ENGINE, PATIENTS.slice(0, 0))
    column = PATIENTS.schema.get_field_index("condition")
    stranger = PATIENTS.slice(0, 1).set_column(column, "condition", pa.array(["Plague"]))
    with pytest.raises(ValueError, match="'Plague'"):
        interview_patients(ENGINE, stranger)


def test_released_patients_are_found_in_fewer_questions_than_published(shared_data) -> None:
    knowledge = CommonKnowledge.from_release(shared_data / "ddxplus")
    rows, _ = read_patients(shared_data / "ddxplus" / "release_train_patients.zip", knowledge)
    test = np.arange(rows.num_rows) % 5 == 0
    engine = build_inquiry(knowledge, rows.filter(pa.array(~test)), InquirySettings(certainty=0.99)).engine
    metrics = inquiry_metrics(engine, rows.filter(pa.array(test)))
    assert metrics["top1"] >= 0.985
    assert metrics["mean_questions"] <= 4.5
    assert metrics["safety_first"]["top1"] >= 0.98
    assert metrics["safety_first"]["mean_questions"] <= 6.5
