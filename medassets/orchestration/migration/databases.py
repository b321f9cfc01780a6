"""Predictions with their audit chain, and documents, from one database to another.

What belongs here: copying rows as they are, sealed ones sealed. What does not: Dagster's and MLflow's tables
(``dagster_storage``, ``sql``), and what a row means (``serving.store``).
"""

from __future__ import annotations

from pathlib import Path

from medassets.orchestration.migration.parts import Part, RowDigest, Summary
from medassets.serving.databases import Database, Execute, open_database
from medassets.serving.postgres import Postgres
from medassets.stores.documents import Documents

#: Tables in the order in which rows may refer to each other, with their columns.
_TABLES = {
    "predictions": ("prediction_id", "at", "bundle", "bento", "request", "answer"),
    "feedback": ("feedback_id", "prediction_id", "at", "verdict", "diagnosis", "comment"),
    "audit": (
        "seq", "at", "actor", "action", "prediction_id", "bundle", "input_digest", "output_digest",
        "previous", "digest",
    ),
}  # fmt: skip


def predictions_part(source: Path | str, target: Path | str) -> Part:
    """Move predictions, feedback and the audit chain between a SQLite file and PostgreSQL, either way."""
    here, there = open_database(source), open_database(target)
    return Part(
        "predictions and audit log",
        source=lambda: _summary(here),
        target=lambda: _summary(there),
        copy=lambda: _copy(here, there),
    )


def documents_part(source: Documents, target: Documents) -> Part:
    """Move documents between two stores; what is there already is written again."""

    def copy() -> None:
        for collection in source.collections():
            for key, document in source.all(collection):
                target.put(collection, key, document)

    def resumable() -> bool:
        return all(
            source.get(collection, key) == document
            for collection in target.collections()
            for key, document in target.all(collection)
        )

    return Part("documents", lambda: _documents(source), lambda: _documents(target), copy, resumable)


def _documents(store: Documents) -> Summary:
    digest, counts = RowDigest(), {}
    for collection in store.collections():
        counts[collection] = digest.add(
            collection, ((key, _sorted(document)) for key, document in store.all(collection))
        )
    return Summary(counts, digest.hexdigest())


def _sorted(document: dict[str, object]) -> str:
    import json

    return json.dumps(document, sort_keys=True)


def _summary(database: Database) -> Summary:
    digest, counts = RowDigest(), {}
    with database.snapshot() as rows:
        for table, columns in _TABLES.items():
            counts[table] = digest.add(table, rows(f"SELECT {', '.join(columns)} FROM {table}"))
    return Summary(counts, digest.hexdigest())


def _copy(source: Database, target: Database) -> None:
    """Copy all in one transaction: after a crash there is all of it or nothing."""

    def write(execute: Execute) -> None:
        with source.snapshot() as rows:
            for table, columns in _TABLES.items():
                names, marks = ", ".join(columns), ", ".join("?" * len(columns))
                # The numbers of feedback are kept; PostgreSQL would otherwise give its own.
                keep = " OVERRIDING SYSTEM VALUE" if isinstance(target, Postgres) else ""
                for row in rows(f"SELECT {names} FROM {table} ORDER BY 1"):
                    execute(f"INSERT INTO {table} ({names}){keep} VALUES ({marks})", *row)
        if isinstance(target, Postgres):
            execute(
                "SELECT setval(pg_get_serial_sequence('feedback', 'feedback_id'),"
                " (SELECT coalesce(max(feedback_id), 0) + 1 FROM feedback), false)"
            )

    target.transaction(write)
