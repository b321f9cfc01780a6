"""Evidently's view of the same samples: a page to look at, JSON to keep, and its summary.

What belongs here: Evidently. What does not: the decision whether something drifted, which is corrected for
the number of tests and looks at groups too (``drift``). One page has five megabytes, so only the latest is
kept; the JSON of every day stays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medassets.monitoring.samples import Sample, most_frequent
from medassets.settings import switch_telemetry_off

if TYPE_CHECKING:
    import pandas as pd

#: Most features on a page: it grows with each, and nobody reads two hundred plots.
MOST_FEATURES = 60
#: Columns beside the features.
AGE, FINDINGS, PROBABILITY, FIRST = "age", "findings", "probability", "first_candidate"


@dataclass(frozen=True)
class Pages:
    """What Evidently made.

    Attributes:
        html: the latest page.
        json: this day's result.
        summary: compared columns, those that Evidently calls drifted at p < 0.05 each, and their share.
    """

    html: Path
    json: Path
    summary: dict[str, Any]


def write_pages(reference: Sample, current: Sample, part: str, day: str, folder: Path) -> Pages:
    """Run Evidently and keep its page and result.

    Args:
        reference: training data of the served bundle.
        current: the window; both at least one row.
        part: common or rare.
        day: last day of the window.
        folder: where ``<part>.html`` and ``<part>/<day>.json`` go.
    """
    switch_telemetry_off()
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import MissingValueCount, OutRangeValueCount, ValueDrift

    chosen = most_frequent(reference, current, MOST_FEATURES)
    before, now = _frame(reference.columns(chosen)), _frame(current.columns(chosen))
    symptoms = [column for column in before.columns if before[column].dtype == object]
    numbers = [column for column in before.columns if column not in symptoms]
    # Evidently cannot compare a column in which one side holds nothing.
    usable = [c for c in before.columns if before[c].notna().any() and now[c].notna().any()]
    metrics: list[Any] = [ValueDrift(column=c, method=_method(c, symptoms)) for c in usable]
    metrics += [MissingValueCount(column=c) for c in symptoms if c != FIRST]
    if AGE in usable:
        low, high = np.nanquantile(reference.age, [0.005, 0.995])
        metrics.append(OutRangeValueCount(column=AGE, left=float(low), right=float(high)))
    definition = DataDefinition(categorical_columns=symptoms, numerical_columns=numbers)
    datasets = [Dataset.from_pandas(frame, data_definition=definition) for frame in (now, before)]
    snapshot = Report(metrics, metadata={"part": part, "day": day}).run(*datasets)
    html, result = folder / f"{part}.html", folder / part / f"{day}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(html))
    snapshot.save_json(str(result))
    return Pages(html, result, _summary(json.loads(result.read_text(encoding="utf-8"))))


def _frame(sample: Sample) -> pd.DataFrame:
    import pandas as pd

    words = np.array(["absent", "present"], dtype=object)
    columns: dict[str, Any] = {}
    for column, (name, label) in enumerate(zip(sample.features, sample.labels, strict=True)):
        values = sample.values[:, column]
        known = ~np.isnan(values)
        shown = np.full(len(values), None, dtype=object)
        shown[known] = words[values[known].astype(int)]
        columns[name if label == name else f"{name} {label}"] = shown
    columns[FIRST] = sample.first
    frame = pd.DataFrame(columns, dtype=object)
    frame[AGE], frame[PROBABILITY] = sample.age, sample.probability
    frame[FINDINGS] = np.nansum(sample.values, axis=1)
    return frame


def _method(column: str, symptoms: list[str]) -> str:
    if column == FIRST:
        return "jensenshannon"
    return "z" if column in symptoms else "ks"


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    """Columns and drift as Evidently counts it, each test alone."""
    tests = {
        m["config"]["column"]: float(m["value"])
        for m in result["metrics"]
        if m["metric_name"].startswith("ValueDrift") and m["config"]["column"] != FIRST
    }
    drifted = sorted(name for name, p in tests.items() if p < 0.05)
    return {"columns": len(tests), "drifted": drifted, "share": len(drifted) / len(tests) if tests else 0.0}
