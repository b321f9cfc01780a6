"""What every engine offers: the same transformation, from the same Delta tables to the same Delta tables.

What belongs here: the contract. What does not: an engine. A transformation is either a function of rows that
stand by themselves (``Transformation``), or a query in the SQL that all engines share. Results do not depend
on the engine but for the order of rows; ``content.table_hash`` with a primary key is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

#: A table at hand, or the address of a Delta table.
Input: TypeAlias = pa.Table | str
#: Rows that a transformation sees at once: bounds memory, and is the unit of work on a cluster.
BATCH_ROWS = 50_000


@runtime_checkable
class Transformation(Protocol):
    """A row-by-row function from tables to tables, which may run on any part of the rows anywhere."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Give the columns that it reads."""

    @property
    def schema(self) -> pa.Schema:
        """Give the schema of what it returns."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Transform some rows; as many come out as went in, in the same order."""


class EngineError(RuntimeError):
    """An engine cannot run here; the message says what to install or to set."""


class Engine(Protocol):
    """Carries transformations out."""

    name: str

    def apply(self, source: Input, by: Transformation) -> pa.Table:
        """Transform a table and give the result."""

    def write(self, source: Input, by: Transformation, target: str) -> int:
        """Transform a table into a Delta table, which is replaced; memory does not grow with the rows.

        Returns:
            Rows written.
        """

    def query(self, sql: str, tables: Mapping[str, Input]) -> pa.Table:
        """Answer a query over named tables."""
