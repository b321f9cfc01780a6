"""The prediction store in PostgreSQL: several services, one audit chain.

What belongs here: PostgreSQL's connections, transactions and dialect. What does not: what a database of the
store promises (``databases``).
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo

from medassets.serving.databases import BUSY_TIMEOUT, TABLES, Execute, Row, StoreError

T = TypeVar("T")

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
# Instants are compared as text, in the order of their characters, whatever the database's language.
_STATEMENTS = (
    TABLES.format(
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
                    connection.execute(_STATEMENTS.encode())
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


def _dialect(statement: str) -> bytes:
    return statement.replace("?", "%s").encode()


def _execute(connection: psycopg.Connection[Row], statement: str, *values: Any) -> list[Row]:
    cursor = connection.execute(_dialect(statement), values)
    return cursor.fetchall() if cursor.description else []


def _first_line(error: psycopg.Error) -> str:
    """What went wrong, without the row's values that PostgreSQL adds below."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
