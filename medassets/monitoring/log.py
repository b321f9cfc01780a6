"""From the service's store to tables that may leave it: one row a prediction, one row a verdict.

What belongs here: choosing what of a stored prediction is kept for monitoring, and joining feedback to it.
What does not: the store (``serving.store``), Delta and days to make (``orchestration``).

Nothing that identifies a person passes: no pseudonym, no comment, no id of a mapped record; ages become
whole years, and 90 stands for all above.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from medassets.cohorts.schema import Table, conform
from medassets.evaluation.fairness import age_group_names
from medassets.monitoring.tables import CLINICIAN_FEEDBACK, PREDICTION_LOG
from medassets.serving.requests import DAYS_PER_YEAR, age_in_days
from medassets.serving.store import NoPredictionError, Record

#: Ages above it are not told apart.
OLDEST = 90
#: Key of a differential's candidates, by part of the answer.
NAMES = {"common": "condition", "rare": "disease_id"}
#: Site of predictions whose asker is not known.
NO_SITE = "anonymous"


class Predictions(Protocol):
    """What is read of the service's store."""

    def get(self, prediction_id: str) -> Record:
        """The prediction; raises ``NoPredictionError``."""

    def records(self, since: str = "") -> Iterator[Record]:
        """Predictions that somebody was given at or after an instant, oldest first; not the shadow's."""

    def feedback(self, since: str = "") -> list[dict[str, Any]]:
        """Feedback at or after an instant, oldest first."""

    def actors(self, since: str = "") -> dict[str, str]:
        """Prediction id to who asked."""


def log_of_day(store: Predictions | None, day: date) -> pa.Table:
    """Rows of ``monitoring/prediction_log`` for one day (UTC); empty where nothing was asked.

    Args:
        store: the service's store; None where the installation has none yet.
        day: day of the answers.
    """
    if store is None:
        return PREDICTION_LOG.empty()
    start, end = _bounds(day)
    sites = store.actors(start)
    rows = []
    for record in store.records(start):
        if record.at >= end:
            break
        rows.append(_logged(record, sites))
    return _table(rows, PREDICTION_LOG)


def feedback_of_day(store: Predictions | None, day: date) -> pa.Table:
    """Rows of ``monitoring/clinician_feedback`` for one day (UTC) of feedback, joined to its predictions.

    Feedback whose prediction was removed by the site's retention is left out: it says nothing any more.
    """
    if store is None:
        return CLINICIAN_FEEDBACK.empty()
    start, end = _bounds(day)
    verdicts = [row for row in store.feedback(start) if row["at"] < end]
    # Askers are those of the predictions, which are older than the feedback on them.
    sites = store.actors() if verdicts else {}
    rows = []
    for row in verdicts:
        try:
            record = store.get(row["prediction_id"])
        except NoPredictionError:
            continue
        rows.append(_joined(row, record, sites))
    return _table(rows, CLINICIAN_FEEDBACK)


def days_touched(store: Predictions, since: str) -> tuple[list[str], str]:
    """Days with predictions or feedback after an instant, and the latest instant seen.

    Args:
        store: the service's store.
        since: ISO 8601 instant; what stands exactly there was seen before.
    """
    instants = [record.at for record in store.records(since) if record.at > since]
    instants += [row["at"] for row in store.feedback(since) if row["at"] > since]
    return sorted({instant[:10] for instant in instants}), max(instants, default=since)


def _bounds(day: date) -> tuple[str, str]:
    """First instant of a day and of the next, in the form that the store compares."""
    return day.isoformat(), (day + timedelta(days=1)).isoformat()


def _table(rows: list[dict[str, Any]], spec: Table) -> pa.Table:
    return conform(pa.Table.from_pylist(rows, schema=spec.schema), spec)


def _logged(record: Record, sites: Mapping[str, str]) -> dict[str, Any]:
    row = {
        "prediction_id": record.prediction_id,
        "day": record.at[:10],
        "at": _instant(record.at),
        "bundle": record.bundle,
        "bento": record.bento,
        "arm": record.answer.get("versions", {}).get("arm", "champion"),
        **_asked(record, sites),
    }
    for part in NAMES:
        row |= _answered(part, record.answer.get(part))
    return row


def _joined(row: Mapping[str, Any], record: Record, sites: Mapping[str, str]) -> dict[str, Any]:
    part, rank = _place(record.answer, row["diagnosis"])
    section = record.answer.get(part) or {}
    names = _candidates(part, section)
    return {
        "feedback_id": row["feedback_id"],
        "day": row["at"][:10],
        "at": _instant(row["at"]),
        "prediction_id": record.prediction_id,
        "predicted_at": _instant(record.at),
        "bundle": record.bundle,
        "verdict": row["verdict"],
        "diagnosis": row["diagnosis"],
        "part": part,
        "rank": rank,
        "probability": _first_probability(section),
        "first": names[0] if names else None,
        "abstain": section.get("abstain"),
        **_asked(record, sites),
    }


def _asked(record: Record, sites: Mapping[str, str]) -> dict[str, Any]:
    request = record.request
    evidence = request.get("evidence") or {}
    days = age_in_days(request.get("age"))
    age = None if days is None else float(min(int(days / DAYS_PER_YEAR), OLDEST))
    group = age_group_names(np.array([np.nan if age is None else age]))[0]
    return {
        "site": sites.get(record.prediction_id, NO_SITE),
        "sex": request.get("sex", "unknown"),
        "age_years": age,
        "age_group": str(group),
        "observed": request.get("observed", []),
        "excluded": request.get("excluded", []),
        "present": evidence.get("present", []),
        "absent": evidence.get("absent", []),
        "unanswered": evidence.get("unknown", []),
        "complete": bool(evidence.get("complete", False)),
    }


def _answered(part: str, section: Mapping[str, Any] | None) -> dict[str, Any]:
    section = section or {}
    return {
        f"{part}_candidates": _candidates(part, section),
        f"{part}_probability": _first_probability(section),
        f"{part}_confidence": section.get("confidence"),
        f"{part}_abstain": section.get("abstain"),
    }


def _candidates(part: str, section: Mapping[str, Any]) -> list[str]:
    return [candidate[NAMES[part]] for candidate in section.get("candidates", ())]


def _first_probability(section: Mapping[str, Any]) -> float | None:
    candidates = section.get("candidates")
    return float(candidates[0]["probability"]) if candidates else None


def _place(answer: Mapping[str, Any], diagnosis: str) -> tuple[str, int | None]:
    """Part of the answer that a diagnosis belongs to, and its rank there (from 1)."""
    for part in NAMES:
        names = _candidates(part, answer.get(part) or {})
        if diagnosis in names:
            return part, names.index(diagnosis) + 1
    # Ids of rare diseases carry a prefix, such as OMIM:154700; conditions are names.
    return ("rare" if _is_id(diagnosis) else "common"), None


def _is_id(diagnosis: str) -> bool:
    prefix, _, number = diagnosis.partition(":")
    return prefix.isupper() and number.isdigit()


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def latest_verdicts(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last confirmation or rejection of each prediction and part; clinicians may correct themselves."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: r["feedback_id"]):
        if row["verdict"] in ("confirmed", "rejected"):
            found[row["prediction_id"], row["part"]] = dict(row)
    return list(found.values())
