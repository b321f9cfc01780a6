"""Small stand-ins for tables and models, in the shapes that the graph passes around."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.cohorts.tables import TABLES, Table, column, register

LETTERS = Table(
    "toy/letters",
    pa.schema(
        [
            column("id", pa.string(), "which row"),
            column("age", pa.int32(), "age in years", required=False),
            column("tags", pa.list_(pa.string()), "labels", required=False),
        ]
    ),
    ("id",),
    "letters of a toy alphabet",
)
DAYS = Table(
    "toy/days",
    pa.schema([column("id", pa.string(), "which row"), column("day", pa.string(), "ISO date")]),
    ("id",),
    "rows of a day",
)
TOYS = (LETTERS, DAYS, *(replace(LETTERS, key=f"toy/{name}") for name in ("copy", "report")))


def declare() -> None:
    """Declare the toy tables beside the real ones."""
    register(TOYS)


def forget() -> None:
    """Take the toy tables out of the registry again."""
    for table in TOYS:
        TABLES.pop(table.key, None)


class ToyModel:
    """A model that is one number."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    @property
    def metadata(self) -> Mapping[str, Any]:
        return {"params": {"depth": 3, "nested": {"rate": 0.1}}, "metrics": {"top1": self.weight}}

    def save(self, directory: Path) -> None:
        (directory / "model.json").write_text(json.dumps({"weight": self.weight}))

    @classmethod
    def load(cls, directory: Path) -> ToyModel:
        return cls(json.loads((directory / "model.json").read_text())["weight"])

    def predict(self, values: list[float]) -> list[float]:
        return [self.weight * value for value in values]
