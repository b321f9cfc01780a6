"""How a table is declared, and what it means to conform to a declaration.

What belongs here: ``Table``, ``conform`` and the data dictionary. What does not: the declarations themselves
(``tables_rare``, ``tables_common`` and whoever registers more; ``tables`` is the registry of all).
One declaration serves the check, the writer and the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa


class SchemaError(ValueError):
    """A table does not have the declared columns or types; the message names table, column and both types."""


@dataclass(frozen=True)
class Table:
    """Declaration of one table of the lake.

    Attributes:
        key: asset key and folder, ``layer/name``.
        schema: Arrow schema; every field carries its description in its metadata, and ``nullable`` is
            binding.
        primary_key: columns that together name a row.
        description: what a row is.
    """

    key: str
    schema: pa.Schema
    primary_key: tuple[str, ...]
    description: str

    def __post_init__(self) -> None:
        unknown = [column for column in self.primary_key if column not in self.schema.names]
        if unknown:
            raise SchemaError(f"{self.key}: primary key column {unknown[0]!r} is not in the schema")

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that must hold a value in every row."""
        return tuple(field.name for field in self.schema if not field.nullable)

    def describe(self, column: str) -> str:
        """Return the description of a column."""
        return (self.schema.field(column).metadata or {}).get(b"description", b"").decode()

    @property
    def private(self) -> tuple[str, ...]:
        """Columns that no preview shows, because they hold what people wrote."""
        return tuple(field.name for field in self.schema if b"private" in (field.metadata or {}))

    def empty(self) -> pa.Table:
        """Return the table with no row."""
        return self.schema.empty_table()


def column(
    name: str, kind: pa.DataType, description: str, *, required: bool = True, private: bool = False
) -> pa.Field:
    """Declare a column; ``required``: no row may leave it empty; ``private``: no preview shows it."""
    metadata = {"description": description, **({"private": "yes"} if private else {})}
    return pa.field(name, kind, nullable=not required, metadata=metadata)


def conform(table: pa.Table, spec: Table) -> pa.Table:
    """Return the table with the declared columns, in the declared order and types.

    Columns that may be empty and are missing are filled with nulls; columns beyond the declaration are an
    error, because what is not declared would be lost without a word.

    Raises:
        SchemaError: a required column is missing or holds nulls, a column is not declared, or a value cannot
            be cast.
    """
    extra = [name for name in table.column_names if name not in spec.schema.names]
    if extra:
        raise SchemaError(
            f"{spec.key}: column {extra[0]!r} is not declared; allowed: {', '.join(spec.schema.names)}"
        )
    arrays = []
    for field in spec.schema:
        if field.name not in table.column_names:
            if not field.nullable:
                raise SchemaError(f"{spec.key}: required column {field.name!r} ({field.type}) is missing")
            arrays.append(pa.nulls(table.num_rows, field.type))
            continue
        values = table.column(field.name)
        if not field.nullable and values.null_count:
            raise SchemaError(
                f"{spec.key}: required column {field.name!r} is empty in {values.null_count} of "
                f"{table.num_rows} rows"
            )
        try:
            arrays.append(values if values.type == field.type else values.cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(
                f"{spec.key}: column {field.name!r} is {values.type}, declared as {field.type}: {error}"
            ) from error
    return pa.Table.from_arrays(arrays, schema=spec.schema)


def duplicated_keys(table: pa.Table, spec: Table) -> list[tuple[object, ...]]:
    """Return the primary keys that stand in more than one row, each once, in order of first repetition."""
    seen: set[tuple[object, ...]] = set()
    twice: dict[tuple[object, ...], None] = {}
    for key in zip(*(table.column(name).to_pylist() for name in spec.primary_key), strict=True):
        if key in seen:
            twice[key] = None
        seen.add(key)
    return list(twice)


def data_dictionary(tables: Iterable[Table]) -> str:
    """Return a data dictionary in Markdown: for each table its key columns and what each column holds."""
    parts = ["# Data dictionary\n"]
    for spec in sorted(tables, key=lambda table: table.key):
        parts.append(
            f"## {spec.key}\n\n{spec.description}\n\nPrimary key: {', '.join(spec.primary_key) or 'none'}\n"
        )
        lines = ["| column | type | required | description |", "| --- | --- | --- | --- |"]
        for field in spec.schema:
            required = "no" if field.nullable else "yes"
            lines.append(f"| {field.name} | `{field.type}` | {required} | {spec.describe(field.name)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
