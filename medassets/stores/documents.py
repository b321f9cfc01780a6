"""Documents (JSON objects by collection and key): in SQLite, in PostgreSQL as JSONB, or in MongoDB.

What belongs here: keeping and finding documents. What does not: what they are (dead letters of a stream,
records as received). SQLite in the installation's home is the default; PostgreSQL where predictions lie
there; MongoDB where the setting says so. A document that is put twice is there once, the newer one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from medassets.settings import Settings

Document = Mapping[str, Any]
_NAME = "documents"
_SECONDS = 5


class DocumentError(OSError):
    """The store cannot be reached, or cannot hold a document; no content is in the message."""


class Documents(Protocol):
    """A store of documents."""

    def put(self, collection: str, key: str, document: Document) -> None:
        """Keep a document under its key; one that is there already is replaced."""

    def get(self, collection: str, key: str) -> dict[str, Any] | None:
        """The document of a key, ``None`` where there is none."""

    def all(self, collection: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and documents, by key."""

    def remove(self, collection: str, key: str) -> None:
        """Remove the document of a key, if there is one."""

    def collections(self) -> dict[str, int]:
        """Collections with how many documents each holds."""

    def close(self) -> None:
        """End the connection."""


def open_documents(settings: Settings) -> Documents:
    """Open the store of an installation, made if it is not there yet.

    Raises:
        DocumentError: it cannot be reached.
    """
    url = settings.documents_url or settings.predictions_url
    return documents_at(url) if url else SqliteDocuments(settings.home / "documents.db")


def documents_at(url: str) -> Documents:
    """Open the store at an address.

    Raises:
        DocumentError: it cannot be reached.
    """
    return MongoDocuments(url) if url.startswith("mongodb") else PostgresDocuments(url)


class SqliteDocuments:
    """Documents in one SQLite file, made with its folder."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _failures(str(path), sqlite3.Error):
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS documents"
                " (collection TEXT, key TEXT, content TEXT NOT NULL, PRIMARY KEY (collection, key))"
            )
        self._path = str(path)

    def put(self, collection: str, key: str, document: Document) -> None:
        """Keep a document."""
        self._rows("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", collection, key, _text(document))

    def get(self, collection: str, key: str) -> dict[str, Any] | None:
        """The document of a key."""
        rows = self._rows("SELECT content FROM documents WHERE collection = ? AND key = ?", collection, key)
        return json.loads(rows[0][0]) if rows else None

    def all(self, collection: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and documents."""
        rows = self._rows("SELECT key, content FROM documents WHERE collection = ? ORDER BY key", collection)
        return ((key, json.loads(content)) for key, content in rows)

    def remove(self, collection: str, key: str) -> None:
        """Remove a document."""
        self._rows("DELETE FROM documents WHERE collection = ? AND key = ?", collection, key)

    def collections(self) -> dict[str, int]:
        """Collections with their counts."""
        return dict(self._rows("SELECT collection, count(*) FROM documents GROUP BY 1 ORDER BY 1"))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        with _failures(self._path, sqlite3.Error):
            return self._connection.execute(statement, values).fetchall()


class PostgresDocuments:
    """Documents in one PostgreSQL table with a JSONB column, indexed by content."""

    def __init__(self, url: str) -> None:
        import psycopg

        with _failures("PostgreSQL", psycopg.Error):
            self._connection = psycopg.connect(url, autocommit=True, connect_timeout=_SECONDS)
            self._connection.execute(
                'CREATE TABLE IF NOT EXISTS documents (collection TEXT COLLATE "C", key TEXT COLLATE "C",'
                " content JSONB NOT NULL, PRIMARY KEY (collection, key))"
            )
            self._connection.execute(
                "CREATE INDEX IF NOT EXISTS documents_content ON documents USING gin (content jsonb_path_ops)"
            )

    def put(self, collection: str, key: str, document: Document) -> None:
        """Keep a document."""
        self._rows(
            "INSERT INTO documents VALUES (%s, %s, %s)"
            " ON CONFLICT (collection, key) DO UPDATE SET content = excluded.content",
            collection, key, _text(document),
        )  # fmt: skip

    def get(self, collection: str, key: str) -> dict[str, Any] | None:
        """The document of a key."""
        rows = self._rows("SELECT content FROM documents WHERE collection = %s AND key = %s", collection, key)
        return rows[0][0] if rows else None

    def all(self, collection: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and documents."""
        return iter(
            self._rows("SELECT key, content FROM documents WHERE collection = %s ORDER BY key", collection)
        )

    def remove(self, collection: str, key: str) -> None:
        """Remove a document."""
        self._rows("DELETE FROM documents WHERE collection = %s AND key = %s", collection, key)

    def collections(self) -> dict[str, int]:
        """Collections with their counts."""
        return dict(self._rows("SELECT collection, count(*) FROM documents GROUP BY 1 ORDER BY 1"))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _rows(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        import psycopg

        with _failures("PostgreSQL", psycopg.Error):
            cursor = self._connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []


class MongoDocuments:
    """Documents in MongoDB, one of its collections for each of ours; the address names the database."""

    def __init__(self, url: str) -> None:
        import pymongo
        from pymongo.errors import PyMongoError

        with _failures("MongoDB", PyMongoError):
            waits: Any = (
                {} if "serverSelectionTimeoutMS" in url else {"serverSelectionTimeoutMS": _SECONDS * 1000}
            )
            self._client: Any = pymongo.MongoClient(url, **waits)
            self._database = self._client.get_default_database("medassets")
            self._client.admin.command("ping")

    def put(self, collection: str, key: str, document: Document) -> None:
        """Keep a document."""
        with self._errors():
            entry = {"_id": key, "content": dict(document)}
            self._database[collection].replace_one({"_id": key}, entry, upsert=True)

    def get(self, collection: str, key: str) -> dict[str, Any] | None:
        """The document of a key."""
        with self._errors():
            found = self._database[collection].find_one({"_id": key})
        return found["content"] if found else None

    def all(self, collection: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and documents."""
        with self._errors():
            for found in self._database[collection].find().sort("_id"):
                yield found["_id"], found["content"]

    def remove(self, collection: str, key: str) -> None:
        """Remove a document."""
        with self._errors():
            self._database[collection].delete_one({"_id": key})

    def collections(self) -> dict[str, int]:
        """Collections with their counts."""
        with self._errors():
            names = sorted(self._database.list_collection_names())
            return {name: self._database[name].count_documents({}) for name in names}

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from bson.errors import BSONError
        from pymongo.errors import PyMongoError

        # A number that BSON cannot hold is an OverflowError.
        with _failures("MongoDB", PyMongoError, BSONError, OverflowError):
            yield


def _text(document: Document) -> str:
    return json.dumps(document, sort_keys=True, ensure_ascii=True, allow_nan=False)


@contextmanager
def _failures(name: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn a client's errors into one of ours, without content and credentials."""
    try:
        yield
    except kinds as error:
        raise DocumentError(f"{_NAME} in {name}: {type(error).__name__}") from error
