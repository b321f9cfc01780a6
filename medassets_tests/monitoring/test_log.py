"""What leaves the store for monitoring: the right day, joined, and nothing that identifies a person."""

from datetime import date

import pytest

from medassets.cohorts.schema import duplicated_keys
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.monitoring.confirmed import confirmed_cases, confirmed_patients
from medassets.monitoring.log import days_touched, feedback_of_day, latest_verdicts, log_of_day
from medassets.monitoring.tables import PREDICTION_LOG
from medassets_tests.monitoring.made import START, at, record, store_of, verdict

DAY = START.date()


@pytest.fixture
def store(tmp_path):
    made = store_of(tmp_path, [record(1), record(2, 0.4, age="P40000.000D"), record(3, 1.0)])
    yield made
    made.close()


def test_a_day_holds_its_own_answers(store):
    table = log_of_day(store, DAY)
    assert table.column("prediction_id").to_pylist() == ["p1", "p2"]
    assert log_of_day(store, date(2026, 1, 1)).num_rows == 0 == log_of_day(None, DAY).num_rows
    row = table.to_pylist()[0]
    assert row["site"] == "clinic" and row["common_candidates"][0] == "Bronchitis"
    assert row["rare_probability"] == 0.6 and not row["rare_abstain"]
    assert not duplicated_keys(table, PREDICTION_LOG)


def test_nothing_that_identifies_a_person_leaves(store):
    store.add_feedback("p1", "confirmed", "OMIM:1", "seen by Ottoline Quillfeather")
    day = store.feedback()[0]["at"][:10]
    tables = (log_of_day(store, DAY), feedback_of_day(store, date.fromisoformat(day)))
    whole = "".join(str(table.to_pylist()) for table in tables)
    assert "pseudonym" not in whole and "Quillfeather" not in whole
    # 40,000 days are 109 years: nobody of that age can be told from another.
    assert [row["age_years"] for row in log_of_day(store, DAY).to_pylist()] == [32.0, 90.0]


def test_answers_that_nobody_was_given_are_told_apart(tmp_path):
    made = [record(number) for number in (7, 8, 9)]
    for one, arm in zip(made, ("champion", "challenger", "shadow"), strict=True):
        one.answer["versions"] = {"arm": arm}
    store = store_of(tmp_path, made)
    assert log_of_day(store, DAY).column("arm").to_pylist() == ["champion", "challenger"]
    store.close()


def test_feedback_is_joined_to_its_prediction(store):
    for prediction, word, diagnosis in (
        ("p1", "confirmed", "GERD"), ("p2", "confirmed", "OMIM:9"), ("p3", "rejected", "Bronchitis")
    ):  # fmt: skip
        store.add_feedback(prediction, word, diagnosis)
    day = date.fromisoformat(store.feedback()[0]["at"][:10])
    rows = {row["prediction_id"]: row for row in feedback_of_day(store, day).to_pylist()}
    assert (rows["p1"]["part"], rows["p1"]["rank"], rows["p1"]["first"]) == ("common", 2, "Bronchitis")
    assert (rows["p2"]["part"], rows["p2"]["rank"], rows["p2"]["first"]) == ("rare", None, "OMIM:1")
    assert rows["p3"]["rank"] == 1 and rows["p3"]["site"] == "clinic"


def test_days_touched_are_those_after_the_last_instant_seen(store):
    days, last = days_touched(store, at(0.4))
    assert days == [at(1.0)[:10]] and last == at(1.0)
    assert days_touched(store, last) == ([], last)


def test_the_last_word_of_a_clinician_counts():
    rows = [
        verdict(1, "confirmed", "Bronchitis"),
        verdict(2, "rejected", "Bronchitis", prediction_id="p1"),
        verdict(3, "card accepted", "Bronchitis", prediction_id="p1"),
    ]
    assert [row["verdict"] for row in latest_verdicts(rows)] == ["rejected"]


def test_only_confirmations_become_cases(store):
    store.add_feedback("p1", "confirmed", "OMIM:2")
    store.add_feedback("p2", "rejected", "OMIM:1")
    store.add_feedback("p3", "confirmed", "GERD")
    day = date.fromisoformat(store.feedback()[0]["at"][:10])
    feedback = feedback_of_day(store, day)
    (case,) = confirmed_cases(feedback).to_pylist()
    assert (case["disease_id"], case["provenance"], case["origin"]) == ("OMIM:2", "prediction:p1", "ehr")
    knowledge = CommonKnowledge.bundled()
    (patient,) = confirmed_patients(feedback, knowledge).to_pylist()
    assert (patient["patient_id"], patient["condition"], patient["age"]) == ("prediction:p3", "GERD", 32)
    # What was not asked is unknown, not absent.
    assert "E_201" not in patient["unknown"] and "E_91" not in patient["unknown"]
    assert len(patient["unknown"]) == len(knowledge.evidences) - 2
