"""Events for the tests of streams, and what the tables hold of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from medassets.ingest.streams.events import Message, Rules
from medassets.ingest.streams.pipeline import EVENTS, REJECTED, Pipeline, open_pipeline

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000
LOG = "kafka/t/0"


def event(number: int, **changes: Any) -> dict[str, Any]:
    """A good event; ``None`` in ``changes`` takes a field away."""
    fields = {
        "event_id": f"e{number}",
        "patient": f"ps_{number % 7:032x}",
        "code": "LOINC:8867-4",
        "state": "present",
        "value": 60 + number % 40,
        "unit": "/min",
        "event_time": (NOW - timedelta(minutes=number % 5)).isoformat(),
        "device": "watch",
        "site": "north",
        "origin": "simulated",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def message(
    offset: int, payload: bytes | dict[str, Any], log: str = LOG, received_us: int = NOW_US
) -> Message:
    """A message as a log holds it."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Message(log, offset, data, received_us)


def pipeline(lake: Path, rules: Rules | None = None, **changes: Any) -> Pipeline:
    """The pipeline of a lake."""
    given = {"hours": 48.0, "most": 10_000, "compact_every": 10_000, **changes}
    return open_pipeline(lambda key: str(lake / key), "kafka", rules or Rules(), **given)


def table(lake: Path, key: str = EVENTS) -> list[dict[str, Any]]:
    """Rows of a table, in the order of their log."""
    from deltalake import DeltaTable

    order = ("log", "log_offset") if key == EVENTS else ("source_file", "row")
    rows = DeltaTable(str(lake / key)).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: tuple(row[name] for name in order))


def rejected(lake: Path) -> list[dict[str, Any]]:
    """Rows that were set aside."""
    return table(lake, REJECTED)
