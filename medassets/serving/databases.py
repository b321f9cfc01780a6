"""Where the prediction store lies: SQLite in a file, or PostgreSQL; both behind the same few operations.

What belongs here: connections, transactions, and what the two dialects write differently. What does not: the
tables' meaning and the audit chain (``store``).

Both promise the same. A transaction holds the chain's lock from its first statement, so that writers of any
number of processes follow each other. It is on the disk when it returns (SQLite ``synchronous=FULL``,
PostgreSQL ``synchronous_commit`` not off). The audit table refuses to be changed or emptied. Statements are
written with ``?`` and come to PostgreSQL as ``%s``.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psycopg
from psycopg import conninfo

T = TypeVar("T")
Row = tuple[Any, ...]
#: Runs a statement and gives its rows.
Execute = Callable[..., list[Row]]

#: Seconds that a writer waits for another process's transaction.
BUSY_TIMEOUT = 10.0
#: PostgreSQL connections of one process.
MOST_CONNECTIONS = 8
_CONNECT_SECONDS = 3
#: Names the chain's lock among PostgreSQL's advisory locks, which each database counts for itself.
_CHAIN_LOCK = 0x6D65_6461
_SESSION = (
    f"-c statement_timeout={BUSY_TIMEOUT * 1000:.0f} -c lock_timeout={BUSY_TIMEOUT * 1000:.0f}"
    " -c idle_in_transaction_session_timeout=60000"
)
#: An answer's entry must not be lost with the server's memory, whatever the server's default.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)

_TABLES = """
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
_SQLITE = (
    _TABLES.format(text="TEXT", bytes="BLOB", counter="INTEGER PRIMARY KEY AUTOINCREMENT", number="INTEGER")
    + """
CREATE TRIGGER IF NOT EXISTS audit_keeps_entries BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_keeps_content BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""
)
# Instants are compared as text, in the order of their characters, whatever the database's language.
_POSTGRESQL = (
    _TABLES.format(
        text='TEXT COLLATE "C"', bytes="BYTEA", number="BIGINT",
        counter="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    )
    + """
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
CREATE OR REPLACE TRIGGER audit_keeps_entries BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
"""
)  # fmt: skip


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
            self._connection.executescript(_SQLITE)

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


class Postgres:
    """A PostgreSQL database; its tables are made where they are missing, at the first use.

    A database that is down makes each use fail, and the next use tries again.

    Args:
        url: ``postgresql://...``; what it does not say, libpq's variables do (``PGPASSWORD``, ``PGSSLMODE``).

    Raises:
        StoreError: the address cannot be read.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise StoreError(
                "prediction store: MEDASSETS_PREDICTIONS_URL is no address of PostgreSQL"
            ) from None
        # Without user and password: the name goes into messages.
        self._name = f"{parts.get('host', 'local')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
        options = f"{_SESSION} {parts.get('options') or ''}".strip()
        self._address = conninfo.make_conninfo(
            url, options=options, connect_timeout=parts.get("connect_timeout") or _CONNECT_SECONDS
        )
        self._idle: deque[psycopg.Connection[Row]] = deque()
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._ready = False

    def read(self, statement: str, *values: Any) -> list[Row]:
        """Rows of one statement."""
        if any(isinstance(value, str) and "\0" in value for value in values):
            return []  # no text of PostgreSQL holds this character
        return self._used(lambda connection: _execute(connection, statement, *values))

    def transaction(self, write: Callable[[Execute], T]) -> T:
        """Run ``write`` alone among all writers."""

        def run(connection: psycopg.Connection[Row]) -> T:
            try:
                # One message: begin, and wait for the lock; what is read afterwards sees the last writer's.
                connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({_CHAIN_LOCK})".encode())
                result = write(lambda statement, *values: _execute(connection, statement, *values))
            except BaseException:
                if not connection.broken:
                    connection.execute("ROLLBACK")
                raise
            try:
                connection.execute("COMMIT")
            except psycopg.Error as error:
                # Kept or not, nobody knows: not tried again, and the caller gets no answer.
                raise StoreError(f"prediction store {self._name}: {_first_line(error)}") from error
            return result

        return self._used(run)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Callable[..., Iterator[Row]]]:
        """A transaction over one state, on a connection of its own."""
        with self._failures(), contextlib.closing(self._connect()) as own:
            own.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

            def rows(statement: str, *values: Any) -> Iterator[Row]:
                with own.cursor(name="walk") as cursor:
                    cursor.execute(_dialect(statement), values)
                    yield from cursor

            yield rows

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    def _used(self, use: Callable[[psycopg.Connection[Row]], T]) -> T:
        """Use a connection; a kept one may have died since, then a new one is used."""
        if not self._slots.acquire(timeout=BUSY_TIMEOUT):
            raise StoreError(f"prediction store {self._name}: all connections are busy")
        try:
            with self._failures():
                try:
                    connection = self._idle.pop()
                except IndexError:
                    return self._with(self._connect(), use)
                try:
                    return self._with(connection, use)
                except psycopg.OperationalError:
                    if not connection.broken:
                        raise
                    self.close()  # the others are as old
                    return self._with(self._connect(), use)
        finally:
            self._slots.release()

    def _with(self, connection: psycopg.Connection[Row], use: Callable[[psycopg.Connection[Row]], T]) -> T:
        try:
            return use(connection)
        finally:
            if connection.broken or connection.closed:
                connection.close()
            else:
                self._idle.append(connection)

    def _connect(self) -> psycopg.Connection[Row]:
        connection = psycopg.connect(self._address, autocommit=True)
        try:
            connection.execute(_DURABLE)
            if not self._ready:
                # The service's own user needs no right to make tables where they are there.
                if _execute(connection, "SELECT to_regclass('audit') IS NULL")[0][0]:
                    connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({_CHAIN_LOCK})".encode())
                    connection.execute(_POSTGRESQL.encode())
                    connection.execute("COMMIT")
                self._ready = True
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise StoreError(f"prediction store {self._name}: {_first_line(error)}") from error


def open_database(place: Path | str) -> Database:
    """The database at a path (SQLite) or address (PostgreSQL).

    Raises:
        StoreError: the file cannot be opened, or the address cannot be read.
    """
    return Sqlite(place) if isinstance(place, Path) else Postgres(place)


def _dialect(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


def _execute(connection: psycopg.Connection[Row], statement: str, *values: Any) -> list[Row]:
    cursor = connection.execute(_dialect(statement), values)
    return cursor.fetchall() if cursor.description else []


def _first_line(error: psycopg.Error) -> str:
    """What went wrong, without the row's values that PostgreSQL adds below."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
