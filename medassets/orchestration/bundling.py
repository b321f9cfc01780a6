"""From the graph's models and records to a serving bundle with its lineage.

What belongs here: choosing what goes into a bundle. What does not: its form (``serving.bundle``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from medassets.monitoring.challenger import CASE_TABLES, sources_of, with_sources
from medassets.monitoring.confirmed import new_cases
from medassets.orchestration import lineage
from medassets.orchestration.inputs import ontology_of
from medassets.orchestration.training import RareData, origin_of, rare_data
from medassets.serving.bundle import Bundle, write_bundle
from medassets.serving.crosswalk import write_cross_references
from medassets.serving.manifest import Metric, ModelEntry
from medassets.serving.overlap import SEEN, write_seen
from medassets.serving.signing import open_signer
from medassets.serving.text import TEXT, write_matcher
from medassets.settings import Settings

#: Models that a bundle carries, to the report and the name that has their figures.
CARRIED = {
    "rare_ranker": ("evaluation/rare_report", "ranker"),
    "common_ensemble": ("evaluation/common_report", "ensemble"),
    "common_inquiry": ("evaluation/inquiry_report", "information"),
}


def bundle(inputs: Mapping[str, Any], settings: Settings, instance: dg.DagsterInstance) -> Bundle:
    """Write the bundle of the champions.

    Args:
        inputs: models, cards and what the rare-disease memory is refitted on.
        settings: the installation.
        instance: where materializations are recorded.
    """
    known = [*(f"models/{name}" for name in CARRIED), "evaluation/model_cards", *CASE_TABLES]
    if settings.prevalence_prior:
        known.append("clinical/orphanet_prevalences")
    above = lineage.recorded(instance, known)
    confirmed = {key: inputs[key.split("/")[-1]] for key in CASE_TABLES}
    champions = {
        row["model"]: row["champion"]
        for decision in ("promotion", "rare_promotion")
        for row in inputs[decision].to_pylist()
    }
    ranker, common = served_ranker(inputs["rare_ranker"], rare_data(inputs)), inputs["common_ensemble"]
    found = new_cases(confirmed.values(), ranker.model.knowledge, ranker.model.cases.case_ids)
    if len(found.cases):
        ranker = ranker.add_cases(found.cases)
    models = [_entry(name, inputs, above, instance) for name in CARRIED]
    return write_bundle(
        settings.bundles_dir,
        parts={
            "rare": lambda folder: export_rare(
                ranker, inputs["orphanet_prevalences"], settings.prevalence_prior, folder
            ),
            "common": common.export_bundle,
            "inquiry": inputs["common_inquiry"].save,
            "cards": lambda folder: _write_cards(inputs["model_cards"], folder),
            "crosswalk": lambda folder: write_cross_references(inputs["hpo_ontology"].open_path(), folder),
            SEEN: lambda folder: write_seen(inputs["common_patients"], folder),
            TEXT: lambda folder: write_matcher(ontology_of(inputs["hpo_ontology"]), folder),
        },
        settings_origin=str(settings.origin),
        profile=settings.profile,
        models=[
            model.model_copy(update={"registry_version": champions[model.name]})
            if model.name in champions
            else model
            for model in models
        ],
        data=with_sources(lineage.data_entries(above), confirmed),
        sources=[*lineage.source_entries(above), *sources_of(confirmed)],
        sign=open_signer(settings).sign,
    )


def served_ranker(ranker: Any, data: RareData) -> Any:
    """Refit the ranker's memory on every known case and annotation, as validation on unseen files expects."""
    from medassets.features.cases import CaseSet

    every: CaseSet = data.train.concatenate(data.test)
    return ranker.refit_memory(data.everything(every), every)


def export_rare(ranker: Any, prevalences: pa.Table, weight: float, folder: Path) -> None:
    """Write the ranker, and beside it the prior by prevalence if it has a weight.

    Raises:
        ValueError: a prior is wanted, and no candidate's prevalence is known.
    """
    from medassets.features.prevalence import prevalence_table, write_prior

    ranker.export_bundle(folder)
    if not weight:
        return
    knowledge = ranker.model.knowledge
    table = prevalence_table(prevalences, knowledge.index, knowledge.candidates)
    if not table.num_rows:
        raise ValueError(
            "MEDASSETS_PREVALENCE_PRIOR is set, but no prevalence of a candidate is known: put Orphadata's "
            "orphanet/en_product9_prev.xml into MEDASSETS_DATA_DIR"
        )
    write_prior(table, weight, folder)


def _entry(
    name: str, inputs: Mapping[str, Any], above: dict[str, lineage.Recorded], instance: dg.DagsterInstance
) -> ModelEntry:
    rare = name.startswith("rare")
    records, simulated = (
        ("rare_cases", "simulated_rare_cases") if rare else ("common_patients", "simulated_common_patients")
    )
    learned = [inputs[records]] if inputs[records].num_rows else [inputs[simulated]]
    if not rare and inputs[records].num_rows and name == "common_ensemble":
        learned.append(inputs[simulated])
    origins = sorted({origin for table in learned for origin in origin_of(table).split("+")})
    report, own = CARRIED[name]
    return lineage.model_entry(name, above, _figures(instance, report, own), origins)


def _figures(instance: dg.DagsterInstance, report: str, name: str) -> dict[str, Metric]:
    """Read the main figures that a report stated of a model."""
    rows = lineage.recorded(instance, [report])[report].metadata.get("headline", [])
    return {
        row["metric"]: Metric(
            value=row["value"],
            n=row["n"],
            origin=row["origin"],
            ci95=(row["low"], row["high"]) if row["low"] is not None else None,
        )
        for row in rows
        if row["model"] == name
    }


def _write_cards(cards: pa.Table, folder: Path) -> None:
    for row in cards.to_pylist():
        (folder / f"{row['model']}.md").write_text(row["markdown"], encoding="utf-8")
        (folder / f"{row['model']}.json").write_text(row["json"], encoding="utf-8")
