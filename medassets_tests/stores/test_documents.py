"""Documents are the same whatever keeps them."""

import pytest

from medassets.settings import Settings
from medassets.stores.documents import (
    DocumentError,
    PostgresDocuments,
    SqliteDocuments,
    documents_at,
    open_documents,
)
from medassets_tests.stores import mongo


def check(store):
    store.put("letters", "b", {"x": 1, "deep": {"list": [1, 2.5, None, "ü"]}})
    store.put("letters", "a", {"x": 2})
    store.put("letters", "a", {"x": 3})
    store.put("records", "a", {})
    assert store.get("letters", "a") == {"x": 3}
    assert store.get("letters", "none") is None
    assert list(store.all("letters")) == [
        ("a", {"x": 3}),
        ("b", {"x": 1, "deep": {"list": [1, 2.5, None, "ü"]}}),
    ]
    assert store.collections() == {"letters": 2, "records": 1}
    for key in ("b", "b", "none"):
        store.remove("letters", key)
    assert store.collections() == {"letters": 1, "records": 1}
    store.close()


def test_sqlite(tmp_path):
    check(SqliteDocuments(tmp_path / "d.db"))
    assert SqliteDocuments(tmp_path / "d.db").get("letters", "a") == {"x": 3}


def test_mongodb():
    with mongo.serving() as url:
        check(documents_at(url))
        again = documents_at(url)
        assert again.get("letters", "a") == {"x": 3}
        with pytest.raises(DocumentError, match="MongoDB"):
            again.put("letters", "c", {"x": 1 << 70})
        again.close()


@pytest.mark.servers
def test_postgresql(postgres):
    check(documents_at(postgres))
    again = PostgresDocuments(postgres)
    assert again.get("letters", "a") == {"x": 3}
    with pytest.raises(DocumentError, match="PostgreSQL"):
        again.put("letters", "c", {"x": "\0"})


def test_the_default_follows_the_predictions(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("medassets.stores.documents.documents_at", opened.append)
    open_documents(Settings(home=tmp_path)).close()
    open_documents(Settings(home=tmp_path, predictions_url="postgresql://p"))
    open_documents(Settings(home=tmp_path, predictions_url="postgresql://p", documents_url="mongodb://m/x"))
    assert opened == ["postgresql://p", "mongodb://m/x"]


def test_a_server_that_is_away_is_named_without_the_password():
    with pytest.raises(DocumentError) as caught:
        documents_at("postgresql://user:secret@127.0.0.1:9/x")
    assert "secret" not in str(caught.value)


def test_mongodb_that_is_away_is_named_without_the_password():
    with pytest.raises(DocumentError, match="MongoDB") as caught:
        documents_at("mongodb://user:secret@127.0.0.1:9/x?serverSelectionTimeoutMS=100")
    assert "secret" not in str(caught.value)


def test_other_addresses_are_refused(tmp_path):
    with pytest.raises(ValueError, match="documents_url"):
        Settings(home=tmp_path, documents_url="mysql://x")
