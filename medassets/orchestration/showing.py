"""Reports as pages and as asset metadata: where they lie, the main figures, the plots.

What belongs here: laying measured tables out for readers. What does not: measuring (``judging``,
``evaluation``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from medassets.evaluation.figures import Figure
from medassets.orchestration.judging import common_findings
from medassets.orchestration.training import CommonData, RareData, thinned

if TYPE_CHECKING:
    from medassets.evaluation.common import CommonEvaluation
    from medassets.evaluation.report import Report

#: Main figures of a report: what the run's summary shows and the UI plots over time.
HEADLINES = ("top1", "top3", "top10", "macro_f1", "differential_f1", "ece", "mean_questions")
#: Patients that the curve of accuracy over questions is drawn from.
CURVE_PATIENTS = 500
#: Groups that the main figures are of.
WHOLE = ("overall", "all")


def headline(table: pa.Table, name: str) -> dict[str, Any]:
    """Give the main figures of one model or method as metadata: each by itself, and all with n and origin."""
    rows = [
        {**row, "model": row.get("model") or row.get("method") or row.get("questions")}
        for row in table.to_pylist()
        if row["group"] in WHOLE and row["metric"] in HEADLINES and row["value"] is not None
    ]
    own = [
        row
        for row in rows
        if row["model"] == name and row.get("candidates") != "all" and row.get("protocol") != "published"
    ]
    listed = [{k: row[k] for k in ("model", "metric", "value", "low", "high", "n", "origin")} for row in own]
    return {"headline": dg.MetadataValue.json(listed), **{row["metric"]: float(row["value"]) for row in own}}


def shown(figures: Iterable[Figure]) -> dict[str, Any]:
    """Give figures as metadata by model and metric."""
    return {f"{f.model}/{f.metric}": float(f.value) for f in figures if f.value is not None}


def write_page(report: Report, stem: Path) -> dict[str, Any]:
    """Write a report as HTML and Markdown; the same report gives the same bytes.

    Returns:
        Metadata: the report itself and where it lies.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    text = report.to_markdown()
    stem.with_suffix(".html").write_text(report.to_html(), encoding="utf-8")
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    return {"place": str(stem.with_suffix(".html")), "report": dg.MetadataValue.md(text)}


def common_page(judged: CommonEvaluation, data: CommonData, tables: Mapping[str, pa.Table]) -> Report:
    """Lay out the report on common conditions.

    Args:
        judged: the ensemble on the test part.
        data: the rows.
        tables: ``fairness_report``, ``robustness_report``, ``inquiry_report`` and ``explanations`` by name,
            among others.
    """
    from medassets.evaluation.report_common import common_report

    fairness, robustness = tables["fairness_report"], tables["robustness_report"]
    return common_report(
        {"ensemble": judged.prediction.probabilities, **judged.prediction.models},
        data.test,
        list(data.knowledge.condition_names),
        figures=judged.figures,
        findings=common_findings(judged.prediction.probabilities, judged.truth, data, fairness, robustness),
        fairness=fairness,
        robustness=robustness,
        inquiry=tables["inquiry_report"],
        conformal=judged.conformal,
        explanations=tables["explanations"],
    )


def rare_page(rows: Sequence[Mapping[str, Any]], data: RareData, tables: Mapping[str, pa.Table]) -> Report:
    """Lay out the report on rare diseases: candidates of the cases' own databases.

    Args:
        rows: figures of the test cases.
        data: the cases.
        tables: ``few_shot_report``, ``rare_ablation`` and ``synthetic_fidelity`` by name, among others.
    """
    from medassets.evaluation.report_rare import rare_report

    own = [row for row in rows if row["candidates"] == "own" or row["protocol"] == "open_set"]
    few_shot, ablation, fidelity = (
        tables[name].to_pylist() for name in ("few_shot_report", "rare_ablation", "synthetic_fidelity")
    )
    return rare_report(
        own, {data.origin: len(data.test)}, ablation=ablation, few_shot=few_shot, fidelity=fidelity
    )


def inquiry_table(engine: Any, patients: pa.Table, origin: str, seed: int) -> tuple[pa.Table, str]:
    """Interview patients: figures, points of accuracy over questions (``certainty=...``), and their plot."""
    from medassets.evaluation.inquiry import PUBLISHED, accuracy_curve, inquiry_metrics, interview_patients
    from medassets.evaluation.plots import markdown_image, questions_plot

    measured = inquiry_metrics(engine, patients, seed=seed)
    rows: list[dict[str, Any]] = []
    curves = {}
    for order, metrics in (("information", measured), ("safety_first", measured["safety_first"])):
        for metric in ("top1", "top3", "mean_questions"):
            low, high = metrics["ci95"][metric]
            rows.append(
                _inquiry_row(order, "overall", metric, metrics[metric], low, high, metrics["n"], origin)
            )
        asking = engine.with_settings(replace(engine.settings, safety_first=order == "safety_first"))
        interviews = interview_patients(asking, thinned(patients, CURVE_PATIENTS))
        curves[order] = accuracy_curve(interviews, min_information=asking.settings.min_information)
        n = len(interviews.truth)
        for point in curves[order]:
            group = f"certainty={point['certainty']:g}"
            top1, questions = (point["top1"], point["low"], point["high"]), point["mean_questions"]
            rows.append(_inquiry_row(order, group, "top1", *top1, n, origin))
            rows.append(_inquiry_row(order, group, "mean_questions", questions, None, None, n, origin))
    plot = questions_plot(curves, PUBLISHED)
    return pa.Table.from_pylist(rows), markdown_image(plot, "Accuracy over questions")


def _inquiry_row(
    order: str,
    group: str,
    metric: str,
    value: float,
    low: float | None,
    high: float | None,
    n: int,
    origin: str,
) -> dict[str, Any]:
    found = {"questions": order, "group": group, "metric": metric, "value": value}
    return found | {"low": low, "high": high, "n": n, "origin": origin}
