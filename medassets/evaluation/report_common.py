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

from medassets.evaluation.explanation import ALL_PATIENTS, table_agreement
from medassets.evaluation.figures import OVERALL, Finding
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
#: Features listed of each method of explanation.
WEIGHTIEST = 5
#: Order of questions in ``evaluation/inquiry_report`` to its name in the report.
ORDERS = {"information": "information only", "safety_first": "red flags first"}


def common_report(
    probabilities: Mapping[str, NDArray[np.floating]],
    patients: pa.Table,
    conditions: Sequence[str],
    *,
    figures: pa.Table,
    findings: Mapping[str, Finding],
    fairness: pa.Table | None = None,
    robustness: pa.Table | None = None,
    inquiry: pa.Table | None = None,
    conformal: Mapping[str, Any] | None = None,
    explanations: pa.Table | None = None,
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
        inquiry: a table ``evaluation/inquiry_report``; groups ``certainty=...`` are points of the curve.
        conformal: figures of prediction sets by name, numbers or nested dicts; what ``figures`` holds of sets
            under noise stands beside them.
        explanations: a table ``evaluation/explanations``.

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
        sections.append(_inquiry_section(inquiry.to_pylist()))
    if robustness is not None:
        rows = robustness.to_pylist()
        plots = {"Accuracy": robustness_plot(rows), "Calibration error": robustness_plot(rows, metric="ece")}
        sections.append(Section("Missing and wrong answers", "Against naive Bayes.", _grid(rows), plots))
    if conformal is not None:
        sections.append(_sets_section(conformal, figures.to_pylist()))
    if fairness is not None:
        sections.append(_fairness_section(fairness.to_pylist()))
    if explanations is not None and explanations.num_rows:
        sections.append(_explanations_section(explanations))
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


def _inquiry_section(found: Sequence[Mapping[str, Any]]) -> Section:
    """Figures of both orders of questions beside published ones, and accuracy over questions."""
    figures: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in found:
        order = figures.setdefault(ORDERS.get(row["questions"], row["questions"]), {})
        order.setdefault(row["group"], {})[row["metric"]] = row
    rows = [
        {
            "order of questions": name,
            **{
                shown: format_interval(row["value"], row["low"], row["high"])
                for shown, row in (
                    ("top-1", groups[OVERALL]["top1"]),
                    ("mean questions", groups[OVERALL]["mean_questions"]),
                )
            },
            "n": groups[OVERALL]["top1"]["n"],
        }
        for name, groups in figures.items()
        if OVERALL in groups
    ]
    rows += [
        {"order of questions": f"{name}, published", "top-1": accuracy, "mean questions": questions}
        for name, questions, accuracy in PUBLISHED
    ]
    curves = {
        name: [
            {
                "mean_questions": point["mean_questions"]["value"],
                **{
                    "top1": point["top1"]["value"],
                    "low": point["top1"]["low"],
                    "high": point["top1"]["high"],
                },
            }
            for group, point in groups.items()
            if group != OVERALL
        ]
        for name, groups in figures.items()
    }
    curves = {name: points for name, points in curves.items() if points}
    text = (
        "From sex, age and the initial complaint, answered from the patient's record, as DDXPlus measures it."
    )
    plots = {"Accuracy over questions": questions_plot(curves, PUBLISHED)} if curves else {}
    return Section("Questions to the answer", text, rows, plots)


def _sets_section(conformal: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> Section:
    """The promise as recorded, and how far it holds when answers are missing or wrong."""
    noisy = [row for row in figures if "unknown" in row["group"] and row["metric"].startswith("conformal_")]
    rows = _flat(conformal) + [
        {
            "figure": f"{row['metric'].removeprefix('conformal_')} / {row['group']}",
            "value": format_interval(row["value"], row["low"], row["high"]),
        }
        for row in noisy
    ]
    text = (
        "Coverage is promised for answers as recorded and where answers are missing. Nothing is promised "
        "where answers are wrong: the last rows say what is left of it."
    )
    return Section("Prediction sets", text, rows)


def _explanations_section(table: pa.Table) -> Section:
    """How far methods agree on single patients, and what weighs most over all of them by each method."""
    rows: list[dict[str, Any]] = list(figure_rows([vars(figure) for figure in table_agreement(table)]))
    overall = sorted(
        (row for row in table.to_pylist() if row["patient_id"] == ALL_PATIENTS and row["rank"] <= WEIGHTIEST),
        key=lambda row: (row["method"], row["rank"]),
    )
    rows += [
        {
            "model": f"{row['method']}, rank {row['rank']} over all",
            "metric": row["feature"],
            "value": f"{row['contribution']:.4f}",
            "n": row["state"],
            "origin": row["origin"],
        }
        for row in overall
    ]
    text = (
        "SHAP explains the trees, LIME the whole ensemble, likelihood shares the naive Bayes part (which the "
        "API shows): three answers to three questions, so their agreement is measured. Below it, what weighs "
        "most over the sample."
    )
    return Section("Explanations", text, rows)


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
