"""Tables of Dagster and MLflow from SQLite to PostgreSQL, row by row, ids included.

What belongs here: copying and digesting tables through SQLAlchemy. What does not: which tables there are
(``dagster_storage``, ``mlflow_store``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

_CHUNK = 1000


@contextmanager
def reading(file: Path) -> Iterator[Connection]:
    """Open a SQLite file for reading; a missing one is an error, not a new file."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(f"sqlite:///file:{file}?mode=ro&uri=true", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


@contextmanager
def writing(url: str) -> Iterator[Connection]:
    """Open PostgreSQL in one transaction: all of it is kept, or nothing."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    with create_engine(url, poolclass=NullPool).begin() as connection:
        yield connection


def rows(
    connection: Connection, table: Table, columns: Sequence[str], where: Any = None
) -> Iterator[tuple[Any, ...]]:
    """Stream some columns of a table."""
    from sqlalchemy import select

    query = select(*(table.c[name] for name in columns))
    if where is not None:
        query = query.where(where)
    found = connection.execution_options(yield_per=_CHUNK).execute(query)
    return (tuple(row) for row in found)


def copy_rows(
    source: Connection, target: Connection, table: Table, columns: Sequence[str], where: Any = None
) -> None:
    """Copy some columns of a table's rows."""
    chunk: list[dict[str, Any]] = []
    for row in rows(source, table, columns, where):
        chunk.append(dict(zip(columns, row, strict=True)))
        if len(chunk) == _CHUNK:
            target.execute(table.insert(), chunk)
            chunk = []
    if chunk:
        target.execute(table.insert(), chunk)


def names_of(table: Table) -> list[str]:
    """Names of a table's columns; in Dagster's tables the first is the number of a row."""
    return [column.name for column in table.columns]


def has_table(connection: Connection, table: Table) -> bool:
    """Say whether a table is there."""
    from sqlalchemy import inspect

    return inspect(connection).has_table(table.name)


def continue_numbering(connection: Connection, table: Table) -> None:
    """Let PostgreSQL's own numbers go on after the greatest copied one."""
    from sqlalchemy import text

    for column in table.primary_key:
        statement = text("SELECT pg_get_serial_sequence(:table, :column)")
        sequence = connection.execute(statement, {"table": table.name, "column": column.name}).scalar()
        if sequence:
            connection.execute(
                text(
                    f"SELECT setval('{sequence}', (SELECT coalesce(max({column.name}), 0) + 1"
                    f" FROM {table.name}), false)"
                )
            )
