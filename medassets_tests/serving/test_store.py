"""What was answered can be read back, and tampering is found and named."""

import contextlib
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from medassets.serving.sealing import Sealer
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


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def place(request, tmp_path):
    """Where a store lies."""
    if request.param == "sqlite":
        return tmp_path / "deep" / "predictions.db"
    return request.getfixturevalue("postgres")


@pytest.fixture
def store(place):
    store = PredictionStore(place)
    for number in range(1, 5):
        store.append(record(number))
    yield store
    store.close()


TRIGGERS = {
    "sqlite": "DROP TRIGGER audit_keeps_content; DROP TRIGGER audit_keeps_entries",
    "postgresql": "ALTER TABLE audit DISABLE TRIGGER USER; ALTER TABLE predictions DISABLE TRIGGER ALL",
}


def run(place, *statements):
    """Run statements past the store, as who holds the database's password or file can."""
    if isinstance(place, str):
        with psycopg.connect(place) as connection:
            return [connection.execute(statement.encode()).rowcount for statement in statements][-1]
    with contextlib.closing(sqlite3.connect(place)) as connection, connection:
        return [connection.execute(statement).rowcount for statement in statements][-1]


def tamper(place, *statements):
    kind = "postgresql" if isinstance(place, str) else "sqlite"
    assert run(place, *TRIGGERS[kind].split("; "), *statements) == 1


def test_a_prediction_comes_back_as_it_was(store):
    assert store.get("p2") == record(2)
    assert [r.prediction_id for r in store.records(since=record(3).at)] == ["p3", "p4"]


def test_another_process_reads_it_too(store, place):
    assert PredictionStore(place).get("p1") == record(1)


def test_unknown_and_repeated_ids_are_refused(store):
    with pytest.raises(StoreError, match="no prediction 'nope'"):
        store.get("nope")
    with pytest.raises(StoreError, match=r"(?i)unique"):
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


def test_a_changed_entry_is_found(store, place):
    tamper(place, "UPDATE audit SET actor = 'someone else' WHERE seq = 2")
    with pytest.raises(AuditError, match="entry 2 was changed"):
        store.verify()


def test_a_removed_entry_is_found(store, place):
    tamper(place, "DELETE FROM audit WHERE seq = 3")
    with pytest.raises(AuditError, match="entry 3 is missing"):
        store.verify()


def test_reordered_entries_are_found(store, place):
    moves = [f"UPDATE audit SET seq = {new} WHERE seq = {old}" for old, new in ((2, 99), (3, 2), (99, 3))]
    tamper(place, *moves)
    with pytest.raises(AuditError, match="entry 2 does not follow"):
        store.verify()


def test_a_rewritten_answer_is_found(store, place):
    tamper(place, "UPDATE predictions SET answer = '{}' WHERE prediction_id = 'p2'")
    with pytest.raises(AuditError, match="the output of p2 was changed"):
        store.verify()


def test_a_removed_and_a_smuggled_prediction_are_found(store, place):
    run(place, "INSERT INTO predictions VALUES ('p9', '', '', '', '{}', '{}')")
    with pytest.raises(AuditError, match="p9 has no audit entry"):
        store.verify()
    tamper(place, "DELETE FROM predictions WHERE prediction_id = 'p3'")
    with pytest.raises(AuditError, match="prediction p3 was removed"):
        store.verify()


def test_threads_and_processes_write_one_chain(store, place):
    other = PredictionStore(place)

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


def test_the_audit_log_refuses_to_be_changed_or_emptied(store, place):
    statements = ["UPDATE audit SET actor = 'x' WHERE seq = 1", "DELETE FROM audit WHERE seq = 4"]
    for statement in [*statements, *(["TRUNCATE audit"] if isinstance(place, str) else [])]:
        with pytest.raises((sqlite3.Error, psycopg.Error), match="append-only"):
            run(place, statement)
    assert store.verify() == 4


def test_two_processes_write_one_chain(store, place):
    code = (
        "import sys, pathlib; from medassets.serving.store import PredictionStore;"
        "from medassets_tests.serving.test_store import record;"
        "place = sys.argv[1] if '://' in sys.argv[1] else pathlib.Path(sys.argv[1]);"
        "store = PredictionStore(place); print('open', flush=True); sys.stdin.read();"
        "[store.append(record(0, prediction_id=f'{sys.argv[2]}-{n}')) for n in range(30)]"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(place), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for name in "ab"
    ]
    for process in both:
        assert process.stdout.readline() == b"open\n"
    for process in both:
        process.stdin.close()
    assert [process.wait(60) for process in both] == [0, 0]
    for process in both:
        process.stdout.close()
    assert store.verify() == 64


def test_a_process_killed_while_it_writes_leaves_a_whole_chain(store, place):
    code = (
        "import os, signal, sys, pathlib; from medassets.serving import store as module;"
        "from medassets_tests.serving.test_store import record;"
        "place = sys.argv[1] if '://' in sys.argv[1] else pathlib.Path(sys.argv[1]);"
        "store = module.PredictionStore(place); store.append(record(5));"
        "module._chain = lambda *_: os.kill(os.getpid(), signal.SIGKILL); store.append(record(6))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(place)], check=False).returncode == -9
    assert store.verify() == 5
    with pytest.raises(StoreError, match="no prediction 'p6'"):
        store.get("p6")


def test_what_no_text_can_hold_names_no_prediction(store):
    with pytest.raises(StoreError, match="no prediction"):
        store.get("p1\0")


def test_a_new_key_seals_everything_anew_in_batches(store, place, monkeypatch):
    monkeypatch.setattr("medassets.serving.store._ROTATED_AT_ONCE", 3)
    store.add_feedback("p1", "confirmed", "OMIM:1", "seen")
    sealed = PredictionStore(place, Sealer({"bbbb": b"b" * 32}))
    assert sealed.rotate() == 4
    assert {r.prediction_id for r in sealed.records()} == {"p1", "p2", "p3", "p4"}
    assert sealed.feedback()[0]["comment"] == "seen" and sealed.verify() == 5
    kept = store.database.read("SELECT request FROM predictions")
    assert len(kept) == 4 and all(Sealer.is_sealed(request) for (request,) in kept)


@pytest.mark.servers
def test_a_database_that_was_down_is_used_again_without_a_restart(postgres_server, postgres):
    store = PredictionStore(postgres)
    for number in range(1, 4):
        store.append(record(number))
    for mode in ("fast", "immediate"):
        postgres_server.stop(mode)
        try:
            with pytest.raises(StoreError, match=r"prediction store 127\.0\.0\.1"):
                store.append(record(9))
        finally:
            postgres_server.start()
        assert store.get("p3") == record(3)
    # Restarted between two requests: the kept connection is dead, and the caller sees nothing of it.
    postgres_server.stop()
    postgres_server.start()
    store.append(record(4))
    assert store.verify() == 4


@pytest.mark.servers
def test_a_service_comes_up_before_its_database(postgres_server, postgres):
    postgres_server.stop()
    try:
        store = PredictionStore(postgres)
        with pytest.raises(StoreError):
            store.append(record(1))
    finally:
        postgres_server.start()
    store.append(record(1))
    assert store.verify() == 1


@pytest.mark.servers
def test_a_user_without_rights_to_make_tables_writes_and_cannot_rewrite(postgres):
    store = PredictionStore(postgres)
    store.append(record(1))
    run(
        postgres,
        "DROP ROLE IF EXISTS service",
        "CREATE ROLE service LOGIN",
        "GRANT SELECT, INSERT ON predictions, feedback, audit TO service",
    )
    try:
        theirs = PredictionStore(postgres.replace("medassets@", "service@"))
        theirs.append(record(5))
        assert theirs.verify() == store.verify()
        with pytest.raises(StoreError, match="permission denied"):
            theirs.database.transaction(lambda execute: execute("UPDATE audit SET actor = 'x'"))
        theirs.close()
    finally:
        run(postgres, "DROP OWNED BY service", "DROP ROLE service")


def test_no_password_is_in_a_message():
    store = PredictionStore("postgresql://me:hunter2@127.0.0.1:1/db?connect_timeout=1")
    with pytest.raises(StoreError) as error:
        store.append(record(1))
    assert "hunter2" not in str(error.value) and "127.0.0.1:1/db" in str(error.value)
    with pytest.raises(StoreError, match="no address of PostgreSQL") as error:
        PredictionStore("mysql://me:hunter2@db")
    assert "hunter2" not in str(error.value)
