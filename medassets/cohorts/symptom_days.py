"""What a day's symptom and device events say of each patient: one row a patient, code, site and origin.

What belongs here: the table's declaration and the summary. What does not: how events come in
(``ingest.streams``). A late event changes the day that it belongs to.
"""

from __future__ import annotations

import pyarrow as pa

from medassets.cohorts.schema import Table, column
from medassets.ingest.streams.events import EVENT_SCHEMA
from medassets.ingest.streams.pipeline import EVENTS

_TIME = pa.timestamp("us", tz="UTC")
_GROUP = ("patient", "code", "site", "origin")
SYMPTOM_EVENTS = Table(EVENTS, EVENT_SCHEMA, ("event_id",), "One symptom or device event.")
SYMPTOM_DAYS = Table(
    "clinical/symptom_days",
    pa.schema(
        [
            column("day", pa.string(), "day of the events, ISO 8601, UTC"),
            column("patient_id", pa.string(), "keyed pseudonym of the patient"),
            column("code", pa.string(), "HPO term, evidence or measurement"),
            column("site", pa.string(), "site that sent them"),
            column("origin", pa.string(), "device, patient_reported or simulated"),
            column("events", pa.int64(), "events of the day"),
            column("late", pa.int64(), "events among them that arrived after the day"),
            column("last_state", pa.string(), "state in the last event: present, absent or unknown"),
            column("first_at", _TIME, "time of the first event"),
            column("last_at", _TIME, "time of the last event"),
            column("value_mean", pa.float64(), "mean of the measured values", required=False),
            column("value_min", pa.float64(), "least measured value", required=False),
            column("value_max", pa.float64(), "greatest measured value", required=False),
        ]
    ),
    ("day", "patient_id", "code", "site", "origin"),
    "One row what a patient's events of a day say of one code.",
)


def summarize(events: pa.Table, day: str) -> pa.Table:
    """Summarize a day's events.

    Args:
        events: rows of ``EVENT_SCHEMA`` of one day, in any order.
        day: that day.

    Returns:
        Rows of ``SYMPTOM_DAYS``, by patient and code.
    """
    import pyarrow.compute as pc

    # Equal times are put in order by id, so that the same events give the same last state.
    ordered = events.sort_by([("event_time", "ascending"), ("event_id", "ascending")])
    ordered = ordered.append_column("late_count", pc.cast(ordered.column("late"), pa.int64()))
    found = ordered.group_by(list(_GROUP), use_threads=False).aggregate(
        [
            ("event_id", "count"),
            ("late_count", "sum"),
            ("state", "last"),
            ("event_time", "min"),
            ("event_time", "max"),
            ("value", "mean"),
            ("value", "min"),
            ("value", "max"),
        ]
    )
    found = found.sort_by([(name, "ascending") for name in _GROUP])
    columns = {
        "day": pa.array([day] * found.num_rows, pa.string()),
        "patient_id": found["patient"],
        **{name: found[name] for name in ("code", "site", "origin")},
        "events": found["event_id_count"],
        "late": found["late_count_sum"],
        "last_state": found["state_last"],
        "first_at": found["event_time_min"],
        "last_at": found["event_time_max"],
        **{f"value_{kind}": found[f"value_{kind}"] for kind in ("mean", "min", "max")},
    }
    return pa.table(columns).cast(SYMPTOM_DAYS.schema)
