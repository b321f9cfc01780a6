"""Model cards from what the graph recorded: data with origin and licence, figures, groups, findings.

What belongs here: gathering. What does not: the form of a card (``evaluation.model_cards``, after TRIPOD+AI).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from medassets.evaluation.figures import Finding
from medassets.evaluation.model_cards import DataSource, build_card, cards_table
from medassets.orchestration.lineage import Recorded, recorded

#: Card to (asset, kind, name in the report, method in a sentence).
CARDS = {
    "common_ensemble": (
        "models/common_ensemble",
        "common",
        "ensemble",
        "Naive Bayes, gradient-boosted trees, a random forest and a neural network, pooled on out-of-fold "
        "predictions, calibrated on validation rows, with conformal prediction sets.",
    ),
    "rare_ranker": (
        "models/rare_ranker",
        "rare",
        "ranker",
        "A listwise network over likelihood ratios, similarity to known cases and prototypes, learned on "
        "episodes in which whole publications are held out, and calibrated on the folds left out.",
    ),
}


def build_cards(inputs: Mapping[str, Any], instance: dg.DagsterInstance) -> pa.Table:
    """Build the card of each served model.

    Args:
        inputs: the models, and the tables ``common_report``, ``fairness_report``, ``rare_report`` and
            ``promotion``.
        instance: where materializations are recorded.
    """
    cards = []
    for model, (asset, kind, name, method) in CARDS.items():
        lineage = recorded(instance, [asset])
        common = kind == "common"
        report = inputs["common_report"] if common else inputs["rare_report"]
        column = "model" if common else "method"
        figures = _named(report.filter(pc.equal(report.column(column), name)), column, model)
        groups = _named(inputs["fairness_report"], "model", model) if common else None
        cards.append(
            build_card(
                model,
                "common" if common else "rare",
                version=str(lineage[asset].metadata["model_version"]),
                method=method,
                metadata=inputs[model].metadata,
                data=_sources(lineage),
                figures=figures,
                subgroups=groups,
                findings=_findings(inputs["promotion"]) if common else None,
            )
        )
    return cards_table(cards)


def _named(table: pa.Table, column: str, name: str) -> pa.Table:
    """Put the registered name where the report has its own."""
    position = table.schema.get_field_index(column)
    return table.set_column(position, column, pa.array([name] * table.num_rows, pa.string()))


def _findings(promotion: pa.Table) -> dict[str, Finding]:
    return {row["finding"]: Finding(row["passed"], row["message"]) for row in promotion.to_pylist()}


def _sources(lineage: Mapping[str, Recorded]) -> list[DataSource]:
    """Name every patient table and source file behind a model, with its origin and licence."""
    found = []
    for key, item in sorted(lineage.items()):
        counts = item.metadata.get("origins", {})
        if key.startswith(("clinical/", "synthetic/")) and key.endswith(("cases", "patients")):
            found += [DataSource(key, "training", int(n), origin) for origin, n in sorted(counts.items())]
        elif key.startswith("sources/") and item.metadata["origin"] != "absent":
            release, licence = item.metadata.get("release") or "", item.metadata.get("licence") or ""
            found.append(DataSource(key, "source", 0, item.metadata["origin"], release, licence))
    return found
