"""The report on models of common conditions: accuracy, calibration, questions, missing answers, groups.

What belongs here: choosing figures and plots and putting them in order. What does not: measuring them (each
in its own module) and the page (``report``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medassets.evaluation.figures import Figure, Finding
from medassets.evaluation.inquiry import PUBLISHED
from medassets.evaluation.model_cards import figure_rows, format_interval
from medassets.evaluation.plots import (
    confusion_bars,
    interval_bars,
    questions_plot,
    reliability_plot,
    robustness_plot,
)
from medassets.evaluation.report import Report, Section, count_origins

#: Conditions listed in the table of the weakest.
WEAKEST = 12


def common_report(
    probabilities: Mapping[str, NDArray[np.floating]],
    patients: pa.Table,
    conditions: Sequence[str],
    *,
    figures: pa.Table,
    findings: Mapping[str, Finding],
    fairness: pa.Table | None = None,
    robustness: pa.Table | None = None,
    inquiry: Mapping[str, Any] | None = None,
    curves: Mapping[str, Sequence[Mapping[str, float]]] | None = None,
    conformal: Mapping[str, Any] | None = None,
    agreement: Sequence[Figure] = (),
) -> Report:
    """Assemble the report.

    Args:
        probabilities: model to (n, c), the served model first; rows as in ``patients``.
        patients: rows of ``clinical/common_patients`` that no model was trained on.
        conditions: (c,) names.
        figures: a table ``evaluation/common_report``.
        findings: outcome of each check by name.
        fairness: a table ``evaluation/fairness_report``.
        robustness: a table ``evaluation/robustness_report``.
        inquiry: as ``evaluation.inquiry.inquiry_metrics`` returns it.
        curves: name to points of ``evaluation.inquiry.accuracy_curve``.
        conformal: figures of prediction sets by name, numbers or nested dicts.
        agreement: figures of ``evaluation.explanation.explain_sample``.

    Raises:
        ValueError: no model, or a condition that is not among ``conditions``.
    """
    if not probabilities:
        raise ValueError("a report needs the probabilities of at least one model")
    index = {name: c for c, name in enumerate(conditions)}
    stranger = next((c for c in patients.column("condition").to_pylist() if c not in index), None)
    if stranger is not None:
        raise ValueError(f"condition {stranger!r} is not among the model's {len(conditions)}")
    truth = np.array([index[name] for name in patients.column("condition").to_pylist()], dtype=np.int64)
    served, p = next(iter(probabilities.items()))
    sections = [
        Section("Figures", "95 % bootstrap intervals.", figure_rows(figures.to_pylist())),
        Section(
            "Calibration",
            "How often the leading condition is right, by the certainty stated.",
            plots={
                f"Reliability of {name}": reliability_plot(values, truth, title=f"Reliability of {name}")
                for name, values in list(probabilities.items())[:2]
            },
        ),
        Section(
            "Confusions",
            "The conditions that are least often found, and the pairs that are most often confused.",
            weakest_conditions(p, truth, conditions),
            {"Most frequent confusions": confusion_bars(truth, p.argmax(1), conditions)},
        ),
    ]
    if inquiry is not None:
        sections.append(_inquiry_section(inquiry, curves or {}))
    if robustness is not None:
        rows = robustness.to_pylist()
        plots = {"Accuracy": robustness_plot(rows), "Calibration error": robustness_plot(rows, metric="ece")}
        sections.append(Section("Missing and wrong answers", "Against naive Bayes.", _grid(rows), plots))
    if conformal is not None:
        sections.append(Section("Prediction sets", "Coverage is promised and tested.", _flat(conformal)))
    if fairness is not None:
        sections.append(_fairness_section(fairness.to_pylist()))
    if agreement:
        rows = figure_rows([vars(figure) for figure in agreement])
        sections.append(Section("Explanations", "How far three methods agree, evidence by evidence.", rows))
    return Report(
        title="Common conditions",
        summary=f"{served} on {len(truth):,} patients not used in training, {len(set(truth))} conditions.",
        origins=count_origins(patients.column("origin").to_pylist()),
        sections=sections,
        findings=findings,
    )


def weakest_conditions(
    probabilities: NDArray[np.floating], truth: NDArray[np.integer], conditions: Sequence[str]
) -> list[dict[str, Any]]:
    """The conditions that are least often put first, and what each is mostly taken for."""
    predicted = np.asarray(probabilities).argmax(1)
    rows = []
    for c in np.unique(truth):
        own = predicted[truth == c]
        wrong = Counter(own[own != c].tolist()).most_common(1)
        rows.append(
            {
                "condition": conditions[int(c)],
                "n": len(own),
                "found first": f"{(own == c).mean():.3f}",
                "mostly taken for": conditions[wrong[0][0]] if wrong else "",
            }
        )
    return sorted(rows, key=lambda row: (row["found first"], row["condition"]))[:WEAKEST]


def _inquiry_section(inquiry: Mapping[str, Any], curves: Mapping[str, Any]) -> Section:
    named = {"information only": inquiry, "red flags first": inquiry.get("safety_first")}
    rows = [
        {
            "order of questions": name,
            "top-1": format_interval(m["top1"], *m["ci95"]["top1"]),
            "mean questions": format_interval(m["mean_questions"], *m["ci95"]["mean_questions"]),
            "median": m["median_questions"],
            "n": m["n"],
        }
        for name, m in named.items()
        if m
    ]
    rows += [
        {"order of questions": f"{name}, published", "top-1": accuracy, "mean questions": questions}
        for name, questions, accuracy in PUBLISHED
    ]
    text = (
        "From sex, age and the initial complaint, answered from the patient's record, as DDXPlus measures it."
    )
    plots = {"Accuracy over questions": questions_plot(curves, PUBLISHED)} if curves else {}
    return Section("Questions to the answer", text, rows, plots)


def _fairness_section(rows: Sequence[Mapping[str, Any]]) -> Section:
    plots = {
        title: interval_bars([row for row in rows if row["metric"] == metric], title=title)
        for metric, title in (("accuracy", "Accuracy by group"), ("ece", "Calibration error by group"))
    }
    return Section("Sex and age groups", "Basic bootstrap intervals.", figure_rows(rows), plots)


def _grid(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Top-1 of every model at each point: one row a point, one column a model."""
    points: dict[tuple[float, float], dict[str, Any]] = {}
    for row in rows:
        if row["metric"] == "top1":
            key = (row["unknown_rate"], row["wrong_rate"])
            line = points.setdefault(
                key, {"unknown": f"{key[0]:.0%}", "wrong": f"{key[1]:.0%}", "n": row["n"]}
            )
            line[row["model"]] = format_interval(row["value"], row["low"], row["high"])
    return list(points.values())


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[dict[str, Any]]:
    """Nested figures as rows of name and value."""
    rows = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name} / ")
        else:
            rows.append({"figure": name, "value": f"{value:.4f}" if isinstance(value, float) else str(value)})
    return rows
