"""Where the prediction store lies: SQLite in a file, or PostgreSQL; both behind the same few operations.

What belongs here: those operations, the tables, and SQLite's way of them. What does not: PostgreSQL's
(``postgres``), the tables' meaning and the audit chain (``store``).

Both promise the same. A transaction holds the chain's lock from its first statement, so that writers of any
number of processes follow each other. It is on the disk when it returns (SQLite ``synchronous=FULL``,
PostgreSQL ``synchronous_commit`` not off). The audit table refuses to be changed or emptied. Statements are
written with ``?`` and come to PostgreSQL as ``%s``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Row = tuple[Any, ...]
#: Runs a statement and gives its rows.
Execute = Callable[..., list[Row]]

#: Seconds that a writer waits for another process's transaction.
BUSY_TIMEOUT = 10.0

TABLES = """
CREATE TABLE IF NOT EXISTS predictions (
    prediction_id TEXT PRIMARY KEY, at {text} NOT NULL, bundle TEXT NOT NULL, bento TEXT NOT NULL,
    request {bytes} NOT NULL, answer {bytes} NOT NULL
);
CREATE TABLE IF NOT EXISTS feedback (
    feedback_id {counter}, prediction_id TEXT NOT NULL REFERENCES predictions,
    at {text} NOT NULL, verdict TEXT NOT NULL, diagnosis TEXT NOT NULL, comment {bytes} NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
    seq {number} PRIMARY KEY, at {text} NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    prediction_id TEXT NOT NULL, bundle TEXT NOT NULL,
    input_digest TEXT NOT NULL, output_digest TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS predictions_at ON predictions (at);
CREATE INDEX IF NOT EXISTS feedback_prediction ON feedback (prediction_id);
"""
_STATEMENTS = (
    TABLES.format(text="TEXT", bytes="BLOB", counter="INTEGER PRIMARY KEY AUTOINCREMENT", number="INTEGER")
    + """
CREATE TRIGGER IF NOT EXISTS audit_keeps_entries BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_keeps_content BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""
)


class StoreError(Exception):
    """The store cannot be read or written, or does not hold what was asked for."""


class Database(Protocol):
    """What the store needs of a database; every failure is a ``StoreError``."""

    def read(self, statement: str, *values: Any) -> list[Row]:
        """Rows of one statement that changes nothing."""

    def transaction(self, write: Callable[[Execute], T]) -> T:
        """Run ``write`` alone among all writers; all of it is kept, on the disk, or nothing.

        ``write`` may be run twice where the connection was lost in between: the first run is undone.
        """

    def snapshot(self) -> contextlib.AbstractContextManager[Callable[..., Iterator[Row]]]:
        """Statements over one unchanging state, whose rows stream; writers are not held up."""

    def close(self) -> None:
        """Close all connections."""


class Sqlite:
    """A SQLite file, made with its folder if it does not exist.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._failures():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            # FULL: a commit is on the disk before the answer leaves, also if the power fails.
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_STATEMENTS)

    def read(self, statement: str, *values: Any) -> list[Row]:
        """Rows of one statement."""
        with self._lock, self._failures():
            return self._connection.execute(statement, values).fetchall()

    def transaction(self, write: Callable[[Execute], T]) -> T:
        """Run ``write`` alone among all writers."""
        with self._lock, self._failures():
            # IMMEDIATE: the chain's last entry is read under the write lock; two processes cannot fork it.
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = write(
                    lambda statement, *values: self._connection.execute(statement, values).fetchall()
                )
                self._connection.execute("COMMIT")
            except BaseException:
                # On a full disk SQLite has rolled back by itself already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        return result

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Callable[..., Iterator[Row]]]:
        """A connection of its own: answers go on being written while a long chain is walked."""
        with self._failures(), contextlib.closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT)) as own:
            own.execute("BEGIN")
            yield lambda statement, *values: iter(own.execute(statement, values))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"prediction store {self._path}: {error}") from error


def open_database(place: Path | str) -> Database:
    """The database at a path (SQLite) or address (PostgreSQL).

    Raises:
        StoreError: the file cannot be opened, or the address cannot be read.
    """
    if isinstance(place, Path):
        return Sqlite(place)
    from medassets.serving.postgres import Postgres  # its driver takes a tenth of a second of a start

    return Postgres(place)
