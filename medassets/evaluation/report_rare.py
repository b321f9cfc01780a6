"""The report on rankers of rare diseases: accuracy by protocol, method and number of known cases.

What belongs here: choosing figures and plots and putting them in order. What does not: measuring them
(``evaluation.rare``, ``evaluation.few_shot``) and the page (``report``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medassets.evaluation.figures import Finding
from medassets.evaluation.model_cards import figure_rows
from medassets.evaluation.plots import interval_bars, rank_curves
from medassets.evaluation.report import Report, Section

#: What each protocol leaves out, in the words of the report.
PROTOCOLS = {
    "clean": "without annotations that cite a test case's own publication: what a new patient would meet",
    "published": "all annotations, as most benchmarks are measured: partly the annotation of the very case",
    "open_set": "half of the test cases' diseases held out whole: are they called unknown, and how often are "
    "known ones called so by mistake (false_abstention)?",
}
#: x of top-k metrics in the plot of recall over ranks.
RANKS = {"top1": 1.0, "top3": 3.0, "top10": 10.0}


def rare_report(
    rows: Sequence[Mapping[str, Any]],
    origins: Mapping[str, int],
    *,
    findings: Mapping[str, Finding],
    shots: Mapping[str, Mapping[float, float]] | None = None,
    fidelity: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """Assemble the report.

    Args:
        rows: figures with ``protocol``, ``method``, ``group``, ``metric``, ``value``, ``low``, ``high``,
            ``n`` and ``origin``; the group of all cases is ``all`` or ``overall``.
        origins: how many test cases each origin has.
        findings: outcome of each check by name.
        shots: method to {known cases of the disease: accuracy}.
        fidelity: rows that compare synthetic with published cases.

    Raises:
        ValueError: no figures.
    """
    if not rows:
        raise ValueError("a report needs figures")
    sections = []
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        own = [row for row in rows if row["protocol"] == protocol]
        whole = [row for row in own if row["group"] in ("all", "overall")]
        plots = {}
        curves = _recall(whole)
        if curves:
            plots[f"Recall over ranks ({protocol})"] = rank_curves(
                curves, title=f"Recall over ranks ({protocol})", x_label="rank", y_label="share of cases"
            )
        groups = [row for row in own if row not in whole and row["metric"] == "top10"]
        best = _best_method(whole)
        chosen = [row for row in groups if row["method"] == best]
        if chosen:
            title = f"Top-10 of {best} by group ({protocol})"
            plots[title] = interval_bars(chosen, title=title)
        sections.append(
            Section(f"Protocol: {protocol}", PROTOCOLS.get(protocol, ""), figure_rows(own), plots)
        )
    if shots:
        title = "Accuracy over known cases of the disease"
        plot = rank_curves(shots, title=title, x_label="known cases", y_label="top-1")
        sections.append(
            Section("Few-shot learning", "Episodes over diseases held apart.", plots={title: plot})
        )
    if fidelity:
        sections.append(Section("Synthetic cases", "How near they come to published ones.", list(fidelity)))
    return Report(
        title="Rare diseases",
        summary=f"{sum(origins.values()):,} test cases, split by publication.",
        origins=origins,
        sections=sections,
        findings=findings,
    )


def _recall(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[float, float]]:
    curves: dict[str, dict[float, float]] = {}
    for row in rows:
        if row["metric"] in RANKS and row["value"] is not None:
            curves.setdefault(row["method"], {})[RANKS[row["metric"]]] = row["value"]
    return curves


def _best_method(rows: Sequence[Mapping[str, Any]]) -> str | None:
    scored = [
        (row["value"], row["method"]) for row in rows if row["metric"] == "top10" and row["value"] is not None
    ]
    return max(scored)[1] if scored else None
