"""The report on rankers of rare diseases: accuracy by protocol, what each method adds, few-shot learning.

What belongs here: choosing figures and plots and putting them in order. What does not: measuring them
(``evaluation.rare``, ``rare_ablation``, ``few_shot``, ``fidelity``) and the page (``report``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medassets.evaluation.model_cards import figure_rows
from medassets.evaluation.plots import interval_bars, rank_curves
from medassets.evaluation.rare_ablation import check_what_is_served
from medassets.evaluation.report import Report, Section

#: What each protocol leaves out, in the words of the report.
PROTOCOLS = {
    "clean": "without annotations that cite a test case's own publication: what a new patient would meet",
    "published": "all annotations, as most benchmarks are measured: partly the annotation of the very case",
    "open_set": "half of the test cases' diseases held out whole: are they called unknown, and how often are "
    "known ones called so by mistake (false_abstention)?",
}
ABLATION = (
    "Episodes of the training part: each method was fitted without the publications that it is asked about. "
    "Alone: mean reciprocal rank. Added and removed: what the ranker gains by it or loses without it. The "
    "few-shot methods stay outside the ranker unless they surely add to it."
)
FEW_SHOT = (
    "Episodes of publications held apart (N-way K-shot), adaptation by gradient step, and ranks as a disease "
    "becomes known case by case."
)
#: x of top-k metrics in the plot of recall over ranks.
RANKS = {"top1": 1.0, "top3": 3.0, "top10": 10.0}


def rare_report(
    rows: Sequence[Mapping[str, Any]],
    origins: Mapping[str, int],
    *,
    ablation: Sequence[Mapping[str, Any]] = (),
    few_shot: Sequence[Mapping[str, Any]] = (),
    fidelity: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """Assemble the report.

    Args:
        rows: figures with ``protocol``, ``method``, ``group``, ``metric``, ``value``, ``low``, ``high``,
            ``n`` and ``origin``; the group of all cases is ``all`` or ``overall``.
        origins: how many test cases each origin has.
        ablation: figures of ``rare_ablation``.
        few_shot: figures of the few-shot methods.
        fidelity: figures that compare generated with published cases.

    Raises:
        ValueError: no figures.
    """
    if not rows:
        raise ValueError("a report needs figures")
    sections = [
        _protocol(protocol, [row for row in rows if row["protocol"] == protocol])
        for protocol in dict.fromkeys(row["protocol"] for row in rows)
    ]
    findings = {}
    if ablation:
        findings["methods outside the ranker"] = check_what_is_served(ablation)
        sections.append(Section("What each method adds to the ranker", ABLATION, figure_rows(ablation)))
    if few_shot:
        sections.append(Section("Few-shot learning", FEW_SHOT, figure_rows(few_shot), _over_steps(few_shot)))
    if fidelity:
        text = "How near generated cases come to published ones, and what training with them gains."
        sections.append(Section("Synthetic cases", text, figure_rows(fidelity)))
    return Report(
        title="Rare diseases",
        summary=f"{sum(origins.values()):,} test cases, split by publication.",
        origins=origins,
        sections=sections,
        findings=findings,
    )


def _protocol(protocol: str, rows: Sequence[Mapping[str, Any]]) -> Section:
    """Lay out the figures of one protocol, with the recall of each method and the best one by group."""
    whole = [row for row in rows if row["group"] in ("all", "overall")]
    plots = {}
    curves = _recall(whole)
    if curves:
        title = f"Recall over ranks ({protocol})"
        plots[title] = rank_curves(curves, title=title, x_label="rank", y_label="share of cases")
    best = _best_method(whole)
    groups = [r for r in rows if r not in whole and r["metric"] == "top10" and r["method"] == best]
    if groups:
        title = f"Top-10 of {best} by group ({protocol})"
        plots[title] = interval_bars(groups, title=title)
    return Section(f"Protocol: {protocol}", PROTOCOLS.get(protocol, ""), figure_rows(rows), plots)


def _over_steps(rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Draw the figures of groups such as ``03 known cases`` over their number, by what is counted."""
    plots = {}
    for counted in ("known cases", "gradient steps"):
        curves: dict[str, dict[float, float]] = {}
        for row in rows:
            if row["group"].endswith(counted):
                name = f"{row['method']} {row['metric']}"
                curves.setdefault(name, {})[float(row["group"].split()[0])] = row["value"]
        if curves:
            title = f"Accuracy over {counted}"
            plots[title] = rank_curves(curves, title=title, x_label=counted, y_label="")
    return plots


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
