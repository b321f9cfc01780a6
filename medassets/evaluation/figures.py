"""The one form that measured figures take, and the tables that evaluation keeps in the lake.

What belongs here: declarations of ``evaluation/*`` tables about common conditions, rows of figures, and the
outcome of a check. What does not: how a figure is computed (``metrics``, ``fairness``, ...), and how it is
shown (``report``, ``plots``).

A figure never stands alone: it names its model, its group, the number of rows behind it, its interval and the
origin of those rows, so that simulated patients are not mistaken for others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from medassets.cohorts.schema import Table, column, conform
from medassets.cohorts.tables import register

OVERALL = "overall"


@dataclass(frozen=True)
class Finding:
    """Outcome of a check: whether it passed, one sentence that says why, and the figures behind it."""

    passed: bool
    message: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        model: what was measured.
        group: whom it was measured on: ``overall``, ``sex=F``, ``age=15-29``, ``condition=GERD``, ...
        metric: name of the figure.
        value: None where the group cannot tell.
        low, high: 95 % interval, None where there is none.
        n: rows behind the figure.
        origin: origin of those rows.
    """

    model: str
    group: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    origin: str


_FIGURE_COLUMNS = (
    column("model", pa.string(), "what was measured"),
    column("group", pa.string(), "whom it was measured on: overall, sex=F, age=15-29, condition=GERD"),
    column("metric", pa.string(), "name of the figure"),
    column("value", pa.float64(), "the figure; null where the group cannot tell", required=False),
    column("low", pa.float64(), "lower end of the 95 % interval", required=False),
    column("high", pa.float64(), "upper end of the 95 % interval", required=False),
    column("n", pa.int64(), "rows behind the figure"),
    column("origin", pa.string(), "origin of those rows"),
)

COMMON_REPORT = Table(
    "evaluation/common_report",
    pa.schema(_FIGURE_COLUMNS),
    ("model", "group", "metric"),
    "A row is one figure of a model of common conditions on rows that it was not trained on.",
)
FAIRNESS_REPORT = Table(
    "evaluation/fairness_report",
    pa.schema(_FIGURE_COLUMNS),
    ("model", "group", "metric"),
    "A row is one figure of a model in one sex or age group.",
)
ROBUSTNESS_REPORT = Table(
    "evaluation/robustness_report",
    pa.schema(
        [
            *_FIGURE_COLUMNS,
            column("unknown_rate", pa.float64(), "share of answers hidden"),
            column("wrong_rate", pa.float64(), "share of answers falsified"),
        ]
    ),
    ("model", "group", "metric", "unknown_rate", "wrong_rate"),
    "A row is one figure of a model after answers were hidden or falsified at random.",
)
CRITICAL_MISSES = Table(
    "evaluation/critical_misses",
    pa.schema(
        [
            column("patient_id", pa.string(), "patient"),
            column("condition", pa.string(), "the patient's condition"),
            column("severity", pa.int8(), "1 (life-threatening) or 2"),
            column("rank", pa.float64(), "rank that the model gave the condition"),
            column("probability", pa.float64(), "probability that the model gave the condition"),
            column("leading", pa.string(), "condition that the model put first"),
            column("leading_probability", pa.float64(), "probability of that condition"),
            column("age", pa.int16(), "age in years", required=False),
            column("sex", pa.string(), "F, M or unknown", required=False),
            column("n_unknown", pa.int32(), "evidences of the patient whose answer is not known"),
            column("model", pa.string(), "model that missed it"),
            column("origin", pa.string(), "origin of the patient's row"),
        ]
    ),
    ("patient_id", "model"),
    "A row is a patient with a condition of severity 1 or 2 that is not among the model's first three.",
)
EXPLANATIONS = Table(
    "evaluation/explanations",
    pa.schema(
        [
            column("patient_id", pa.string(), "patient, or 'all' for the mean over the sample"),
            column("condition", pa.string(), "condition whose probability is explained"),
            column("method", pa.string(), "shap, lime or likelihood"),
            column("rank", pa.int32(), "1: the strongest contribution of this method"),
            column("feature", pa.string(), "column of the symptom matrix"),
            column("state", pa.string(), "present, absent, unknown, or the number (level, age)"),
            column("contribution", pa.float64(), "above zero: for the condition; unit as the method has it"),
            column("origin", pa.string(), "origin of the patient's row"),
        ]
    ),
    ("patient_id", "condition", "method", "feature"),
    "A row is one of the strongest contributions to one patient's leading condition.",
)
MODEL_CARDS = Table(
    "evaluation/model_cards",
    pa.schema(
        [
            column("model", pa.string(), "model that the card describes"),
            column("markdown", pa.string(), "the card in Markdown"),
            column("json", pa.string(), "the same content as JSON"),
        ]
    ),
    ("model",),
    "A row is the card of one model.",
)

EVALUATION_TABLES = (
    COMMON_REPORT,
    FAIRNESS_REPORT,
    ROBUSTNESS_REPORT,
    CRITICAL_MISSES,
    EXPLANATIONS,
    MODEL_CARDS,
)
register(EVALUATION_TABLES)


def figure_table(figures: Iterable[Figure], spec: Table = COMMON_REPORT) -> pa.Table:
    """Turn figures into a table of the declared form."""
    rows = [vars(figure) for figure in figures]
    return conform(pa.Table.from_pylist(rows, schema=pa.schema(_FIGURE_COLUMNS)), spec)


def figures_of(
    metrics: Mapping[str, Any], *, model: str, origin: str, group: str = OVERALL, names: Sequence[str] = ()
) -> list[Figure]:
    """Read figures out of a metrics dict with ``n`` and ``ci95`` (see ``evaluation.metrics``).

    Args:
        metrics: ``{"n", name: value, "ci95": {name: [low, high]}}``.
        model, origin, group: as in ``Figure``.
        names: figures wanted; all numbers where empty.
    """
    intervals = metrics.get("ci95") or {}
    wanted = names or [k for k, v in metrics.items() if k != "n" and isinstance(v, (int, float))]
    figures = []
    for name in wanted:
        low, high = intervals.get(name) or (None, None)
        figures.append(Figure(model, group, name, metrics.get(name), low, high, int(metrics["n"]), origin))
    return figures


def number(value: float) -> float | None:
    """A plain number, or None where there is none (NaN): tables keep null apart from not-a-number."""
    return None if math.isnan(value) else float(value)


def origin_of(table: pa.Table) -> str:
    """The origins of a table's rows, joined: ``ddxplus`` or ``ddxplus+simulated``; ``none`` without rows."""
    return "+".join(sorted(set(table.column("origin").to_pylist()))) or "none"
