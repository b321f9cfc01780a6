"""What was answered can be read back, and tampering is found and named."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from medassets.serving.store import AuditError, PredictionStore, Record, StoreError


def record(number, **overrides):
    values = {
        "prediction_id": f"p{number}",
        "at": f"2026-01-01T00:00:{number:02d}.000+00:00",
        "bundle": "abc",
        "bento": "diagnosis:1",
        "request": {"observed": ["HP:0001250"], "age": 3.5},
        "answer": {"rare": [number], "note": "é"},
    }
    return Record(**(values | overrides))


@pytest.fixture
def store(tmp_path):
    store = PredictionStore(tmp_path / "deep" / "predictions.db")
    for number in range(1, 5):
        store.append(record(number))
    yield store
    store.close()


def tamper(store, statement, *values):
    with sqlite3.connect(store.path) as connection:
        assert connection.execute(statement, values).rowcount == 1


def test_a_prediction_comes_back_as_it_was(store):
    assert store.get("p2") == record(2)
    assert [r.prediction_id for r in store.records(since=record(3).at)] == ["p3", "p4"]


def test_another_process_reads_it_too(store):
    assert PredictionStore(store.path).get("p1") == record(1)


def test_unknown_and_repeated_ids_are_refused(store):
    with pytest.raises(StoreError, match="no prediction 'nope'"):
        store.get("nope")
    with pytest.raises(StoreError, match="UNIQUE"):
        store.append(record(1))
    assert store.verify() == 4


def test_feedback_is_kept_and_audited(store):
    assert store.add_feedback("p1", "confirmed", "OMIM:1", "seen") == 1
    assert store.feedback()[0]["comment"] == "seen"
    assert store.verify() == 5
    with pytest.raises(StoreError, match="no prediction"):
        store.add_feedback("nope", "confirmed", "OMIM:1")


def test_an_untouched_chain_verifies(store):
    assert store.verify() == 4
    number, digest = store.head()
    assert number == 4 and len(digest) == 64
    assert PredictionStore(store.path.parent / "new.db").verify() == 0


def test_a_changed_entry_is_found(store):
    tamper(store, "UPDATE audit SET actor = 'someone else' WHERE seq = 2")
    with pytest.raises(AuditError, match="entry 2 was changed"):
        store.verify()


def test_a_removed_entry_is_found(store):
    tamper(store, "DELETE FROM audit WHERE seq = 3")
    with pytest.raises(AuditError, match="entry 3 is missing"):
        store.verify()


def test_reordered_entries_are_found(store):
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE audit SET seq = 99 WHERE seq = 2")
        connection.execute("UPDATE audit SET seq = 2 WHERE seq = 3")
        connection.execute("UPDATE audit SET seq = 3 WHERE seq = 99")
    with pytest.raises(AuditError, match="entry 2 does not follow"):
        store.verify()


def test_a_rewritten_answer_is_found(store):
    tamper(store, "UPDATE predictions SET answer = '{}' WHERE prediction_id = 'p2'")
    with pytest.raises(AuditError, match="the output of p2 was changed"):
        store.verify()


def test_a_removed_and_a_smuggled_prediction_are_found(store):
    with sqlite3.connect(store.path) as connection:
        connection.execute("INSERT INTO predictions VALUES ('p9', '', '', '', '{}', '{}')")
    with pytest.raises(AuditError, match="p9 has no audit entry"):
        store.verify()
    tamper(store, "DELETE FROM predictions WHERE prediction_id = 'p3'")
    with pytest.raises(AuditError, match="prediction p3 was removed"):
        store.verify()


def test_threads_and_processes_write_one_chain(store):
    other = PredictionStore(store.path)

    def write(number):
        (store if number % 2 else other).append(record(number, at="2026-01-02T00:00:00.000+00:00"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(10, 50)))
    assert store.verify() == 44


def test_a_failure_between_prediction_and_audit_leaves_neither(store, monkeypatch):
    def crash(*_):
        raise RuntimeError("power cut")

    monkeypatch.setattr("medassets.serving.store._chain", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        store.append(record(7))
    monkeypatch.undo()
    with pytest.raises(StoreError, match="no prediction 'p7'"):
        store.get("p7")
    assert store.verify() == 4


def test_a_store_that_cannot_be_opened_says_where(tmp_path):
    (tmp_path / "file").write_text("this is no database, but long enough to be taken for one" * 10)
    with pytest.raises(StoreError, match=r"prediction store .*file.*not a database"):
        PredictionStore(tmp_path / "file")


def test_who_asked_is_known_and_who_only_gave_feedback_is_not_meant(store):
    store.append(record(5), actor="clinic")
    store.add_feedback("p1", "rejected", "OMIM:1", actor="other")
    assert store.actors() == dict.fromkeys(("p1", "p2", "p3", "p4"), "anonymous") | {"p5": "clinic"}
    assert store.actors(since=record(5).at)["p5"] == "clinic"
