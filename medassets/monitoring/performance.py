"""How well the running service does, week by week, as labels come in.

What belongs here: figures of the log joined to feedback, each with its interval. What does not: latency
(``latency``), and what follows from a bad week (``decision``).

Labels come late and only for some predictions: a week's figures stand on the verdicts that it has by now,
and ``labelled`` and ``delay_days`` say how many and how late. A confirmed diagnosis is the label; a
rejected one counts as wrong where it was the first candidate, and says nothing otherwise. Weeks are those
of the answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from medassets.cohorts.schema import conform
from medassets.evaluation.metrics import mean_ci
from medassets.evaluation.safety import FIRST, SEVERE, exact_interval
from medassets.monitoring.latency import Latency
from medassets.monitoring.log import NAMES, latest_verdicts
from medassets.monitoring.tables import PERFORMANCE_REPORT

ALL = "all"
Row = Mapping[str, Any]


def judged(row: Row) -> bool | None:
    """Whether the first candidate was right: None where the verdict does not tell."""
    if row["verdict"] == "confirmed":
        return bool(row["rank"] == 1)
    return False if row["verdict"] == "rejected" and row["diagnosis"] == row["first"] else None


def performance(
    log: pa.Table,
    feedback: pa.Table,
    severity: Mapping[str, int],
    latency: Latency | None = None,
    seed: int = 0,
) -> pa.Table:
    """Rows of ``monitoring/performance_report``.

    Args:
        log: ``monitoring/prediction_log``.
        feedback: ``monitoring/clinician_feedback``.
        severity: condition to severity, 1 the gravest.
        latency: of the service now; stands in the week of its reading.
        seed: of the bootstrap.
    """
    verdicts = latest_verdicts(feedback.to_pylist())
    cards = [row for row in feedback.to_pylist() if row["verdict"].startswith("card")]
    asked = log.to_pylist()
    rows: list[dict[str, Any]] = []
    for part in NAMES:
        answers = [row for row in asked if row[f"{part}_candidates"]]
        own = [row for row in verdicts if row["part"] == part]
        shown = [row for row in cards if row["part"] == part]
        weeks = sorted({_week(row["at"]) for row in answers} | {_week(row["predicted_at"]) for row in own})
        for week in (*weeks, *([ALL] if weeks else [])):
            chosen = _in_week(answers, week, "at")
            labelled = _in_week(own, week, "predicted_at")
            figures = _quality(labelled, severity, seed) + _usage(part, chosen, labelled)
            figures += _cards(_in_week(shown, week, "predicted_at"))
            rows += _rows(week, part, ALL, figures)
        for name in ("bundle", "sex", "age_group", "site"):
            for value, members in _by(own, name).items():
                rows += _rows(ALL, part, f"{name}={value}", _quality(members, severity, seed))
    if latency is not None:
        rows += _rows(_week(latency.at), "service", ALL, latency.figures())
    return conform(pa.Table.from_pylist(rows, schema=PERFORMANCE_REPORT.schema), PERFORMANCE_REPORT)


def share(name: str, hits: int, n: int) -> dict[str, Any]:
    """A share with its exact interval; without a value where ``n`` is 0."""
    if not n:
        return {"metric": name, "value": None, "low": None, "high": None, "n": 0}
    low, high = exact_interval(hits, n)
    return {"metric": name, "value": hits / n, "low": low, "high": high, "n": n}


def accuracy_of(verdicts: Iterable[Row]) -> dict[str, Any]:
    """Share of right first candidates among judged verdicts, as a row of figures."""
    right = [outcome for outcome in map(judged, verdicts) if outcome is not None]
    return share("accuracy", sum(right), len(right))


def _quality(verdicts: Sequence[Row], severity: Mapping[str, int], seed: int) -> list[dict[str, Any]]:
    told = [(row, right) for row in verdicts if (right := judged(row)) is not None]
    confirmed = [row for row in verdicts if row["verdict"] == "confirmed"]
    severe = [row for row in confirmed if severity.get(row["diagnosis"], SEVERE + 1) <= SEVERE]
    missed = sum(row["rank"] is None or row["rank"] > FIRST for row in severe)
    figures = [
        accuracy_of(verdicts),
        share("feedback_score", len(confirmed), len(verdicts)),
        share("critical_miss_rate", missed, len(severe)),
    ]
    stated = [(right, row["probability"]) for row, right in told if row["probability"] is not None]
    if stated:
        # Below zero: the service was surer of itself than it was right.
        gap = np.array([[float(right) - p] for right, p in stated])
        mean, interval = mean_ci(gap, seed=seed)
        low, high = (float(x) for x in interval[0])
        figures.append({"metric": "calibration_gap", "value": float(mean[0]), "low": low, "high": high,
                        "n": len(gap)})  # fmt: skip
    return figures


def _usage(part: str, answers: Sequence[Row], verdicts: Sequence[Row]) -> list[dict[str, Any]]:
    n = len(answers)
    figures = [
        {"metric": "predictions", "value": float(n), "n": n},
        {"metric": "sites", "value": float(len({row["site"] for row in answers})), "n": n},
        share("abstained", sum(bool(row[f"{part}_abstain"]) for row in answers), n),
        share("labelled", min(len(verdicts), n), n),
    ]
    probabilities = [row[f"{part}_probability"] for row in answers if row[f"{part}_probability"] is not None]
    if probabilities:
        mean = float(np.mean(probabilities))
        figures.append({"metric": "mean_probability", "value": mean, "n": len(probabilities)})
    if verdicts:
        days = [(row["at"] - row["predicted_at"]) / timedelta(days=1) for row in verdicts]
        figures.append({"metric": "delay_days", "value": float(np.median(days)), "n": len(days)})
    return figures


def _cards(cards: Sequence[Row]) -> list[dict[str, Any]]:
    accepted = sum(row["verdict"] == "card accepted" for row in cards)
    return [share("cards_accepted", accepted, len(cards))] if cards else []


def _rows(week: str, part: str, group: str, figures: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"week": week, "part": part, "group": group, **figure} for figure in figures]


def _week(at: datetime) -> str:
    day: date = at.date()
    return (day - timedelta(days=day.weekday())).isoformat()


def _in_week(rows: Sequence[Row], week: str, column: str) -> list[Row]:
    return [row for row in rows if week in (ALL, _week(row[column]))]


def _by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[str(row[column])].append(row)
    return dict(sorted(groups.items()))
