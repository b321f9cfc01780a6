"""What is kept is unreadable without the key, opens with it, and shows when it was moved or changed."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.serving.sealing import Sealer, SealError, new_key, read_keys
from medassets.serving.store import PredictionStore, Record, StoreError

KEYS = {"aaaa": b"a" * 32}


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_what_was_sealed_opens(plain, context):
    sealer = Sealer(KEYS)
    sealed = sealer.encrypt(plain, context)
    assert sealer.decrypt(sealed, context) == plain
    assert sealed != sealer.encrypt(plain, context)


def test_a_changed_or_moved_ciphertext_does_not_open():
    sealer = Sealer(KEYS)
    sealed = sealer.encrypt(b"secret", b"row 1")
    for wrong, context in ((sealed[:-1] + b"?", b"row 1"), (sealed, b"row 2")):
        with pytest.raises(SealError, match="changed or belongs to another row"):
            sealer.decrypt(wrong, context)
    with pytest.raises(SealError, match="not among the keys"):
        Sealer({"bbbb": b"b" * 32}).decrypt(sealed, b"row 1")


def test_pseudonyms_are_stable_keyed_and_survive_a_new_key():
    first = Sealer(KEYS).pseudonym("Erika Mustermann ")
    assert first == Sealer({"bbbb": b"b" * 32} | KEYS).pseudonym("Erika Mustermann")
    assert first != Sealer({"bbbb": b"b" * 32}).pseudonym("Erika Mustermann")
    assert "Erika" not in first


def test_key_files(tmp_path):
    path = tmp_path / "key"
    path.write_text(f"{new_key()}\n{new_key()}\n")
    path.chmod(0o644)
    with pytest.raises(SealError, match="can be read by others"):
        read_keys(path)
    path.chmod(0o600)
    assert len(read_keys(path)) == 2
    for text, message in (
        ("", "holds no key"),
        ("abcd:???", "line 1: not id:base64"),
        ("abcd:YQ==", "32 bytes"),
    ):
        path.write_text(text)
        with pytest.raises(SealError, match=message):
            read_keys(path)
    with pytest.raises(SealError, match="No such file"):
        read_keys(tmp_path / "none")
    with pytest.raises(SealError, match="32 bytes"):
        Sealer({"aaaa": b"short"})


def record(number, name="Erika Mustermann"):
    return Record(f"p{number}", "2026-01-01T00:00:00+00:00", "b", "t", {"name": name}, {"rare": name})


def test_a_planted_name_is_nowhere_in_the_store(tmp_path):
    store = PredictionStore(tmp_path / "p.db", Sealer(KEYS))
    store.append(record(1))
    store.add_feedback("p1", "confirmed", "OMIM:1", "Erika Mustermann came back")
    assert store.get("p1").request["name"] == "Erika Mustermann"
    assert store.verify() == 2
    store.close()
    for file in os.listdir(tmp_path):
        assert b"Mustermann" not in (tmp_path / file).read_bytes()


def test_rotation_seals_everything_anew_and_keeps_the_chain(tmp_path):
    path = tmp_path / "p.db"
    plain = PredictionStore(path)
    plain.append(record(1))
    old = PredictionStore(path, Sealer(KEYS))
    old.append(record(2))
    old.add_feedback("p2", "rejected", "OMIM:2", "no")
    both = PredictionStore(path, Sealer({"bbbb": b"b" * 32} | KEYS))
    assert both.rotate() == 2
    new = PredictionStore(path, Sealer({"bbbb": b"b" * 32}))
    assert [r.prediction_id for r in new.records()] == ["p1", "p2"]
    assert new.feedback()[0]["comment"] == "no" and new.verify() == 3
    with pytest.raises(StoreError):
        old.get("p2")
