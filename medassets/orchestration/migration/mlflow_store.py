"""MLflow's tracking store and registry from its SQLite file to PostgreSQL.

What belongs here: which of its tables there are. What does not: copying them (``sql``), and artifacts, which
stay in their folder: each run names its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medassets.orchestration.migration.parts import Part, RowDigest, Summary
from medassets.orchestration.migration.sql import (
    continue_numbering,
    copy_rows,
    names_of,
    reading,
    rows,
    writing,
)

#: Names the release whose form the tables have; MLflow writes it itself.
_FORM = "alembic_version"


def mlflow_part(file: Path, url: str) -> Part:
    """Move MLflow's SQLite file to the PostgreSQL database at ``url``, which is MLflow's alone."""

    def source() -> Summary:
        with reading(file) as connection:
            return _summary(connection, _tables(url))

    def target() -> Summary:
        tables = _tables(url)
        with writing(url) as connection:
            return _summary(connection, tables)

    def copy() -> None:
        tables = _tables(url)
        with reading(file) as here, writing(url) as there:
            for table in tables:
                copy_rows(here, there, table, names_of(table))
                continue_numbering(there, table)

    return Part("MLflow's store", source, target, copy)


def _tables(url: str) -> list[Any]:
    """Tables of the target, made where they are missing, in the order in which rows refer to each other."""
    from mlflow.store.db.utils import _initialize_tables
    from sqlalchemy import MetaData, create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool)
    metadata = MetaData()
    metadata.reflect(engine)
    if _FORM not in metadata.tables:
        _initialize_tables(engine)
        metadata.reflect(engine)
        with engine.begin() as connection:
            # MLflow writes a first row into some; the source has its own.
            for table in reversed([table for table in metadata.sorted_tables if table.name != _FORM]):
                connection.execute(table.delete())
    return [table for table in metadata.sorted_tables if table.name != _FORM]


def _summary(connection: Any, tables: list[Any]) -> Summary:
    digest, counts = RowDigest(), {}
    for table in tables:
        counts[table.name] = digest.add(table.name, rows(connection, table, names_of(table)))
    return Summary(counts, digest.hexdigest())
