"""Logs as JSON, one line an event, each with the prediction, bundle or run that it is about.

What belongs here: the form of a line. What does not: where lines go (standard error, or the file that
``dagster.yaml`` names), and what a collector makes of them (``deployment/logging``).

Lines hold ids and measures, never what was asked or answered. Dagster's records carry their run and step
with them (``dagster_meta``), so one formatter serves the service and the graph. Times are UTC, as RFC 3339
wants them.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

#: What a record of this project may carry beside its message.
FIELDS = ("prediction_id", "bundle", "bento", "actor", "seconds", "route", "status", "run_id", "asset", "job")
#: What is read of Dagster's own records, to our names.
_DAGSTER = {"run_id": "run_id", "step_key": "step", "job_name": "job"}
LOGGER = "medassets"


class JsonFormatter(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line; an exception stands in it with its traceback."""
        meta = getattr(record, "dagster_meta", None) or {}
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            # Dagster puts job, run and step before the words; they stand in fields of their own here.
            "message": meta.get("orig_message") or record.getMessage(),
        }
        line |= {name: meta[key] for key, name in _DAGSTER.items() if meta.get(key)}
        line |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_as_json(stream: TextIO | None = None) -> logging.Handler:
    """Let this project's logger write JSON lines to a stream, in place of what it wrote to before.

    Args:
        stream: standard error by default.

    Returns:
        The handler, to be taken off again.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    # The root's handlers would write the same line a second time, as text.
    logger.propagate = False
    return handler
