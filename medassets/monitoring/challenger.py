"""The next bundle: the served one with a renewed memory of rare diseases, a renewed common model, or both.

What belongs here: making a challenger from the champion, with the lineage of what is new. What does not:
whether it may serve (``trial``), and how models are trained (``learners``).

The meta-update learns nothing again: the ranker's heads stay, and its memory (prototypes, likelihood
ratios, known cases) is fitted anew with the new cases, which takes seconds. Each update is a revision of
its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from medassets.monitoring.confirmed import NewCases, new_cases
from medassets.serving.bundle import Bundle, write_bundle
from medassets.serving.manifest import DataEntry, ModelEntry, SourceEntry

RARE, COMMON = "rare_ranker", "common_ensemble"
#: Tables whose cases join the memory.
CASE_TABLES = ("clinical/confirmed_cases", "clinical/ehr_cases")


@dataclass(frozen=True)
class CommonModel:
    """A common model that takes the champion's place in the challenger.

    Attributes:
        export: writes the part ``common`` of the bundle.
        registry_version: in the MLflow registry.
        run_id: Dagster run that trained it.
        trained_on: asset keys of what joined its training.
        origins: origins of those rows.
    """

    export: Callable[[Path], object]
    registry_version: str
    run_id: str
    trained_on: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Challenger:
    """What was made.

    Attributes:
        bundle: the challenger; the champion itself where nothing is new.
        added: cases that joined the memory.
        left_out: case id and reason.
    """

    bundle: Bundle
    added: tuple[str, ...] = ()
    left_out: list[tuple[str, str]] = field(default_factory=list)


def unknown_cases(champion: Bundle, tables: Sequence[pa.Table]) -> NewCases:
    """Cases that the champion's memory does not hold, read without loading the whole ranker."""
    from medassets.features.rare_store import load_cases, load_knowledge

    folder = champion.part("rare")
    cases = load_cases(folder / "cases")
    known = set(cases.case_ids)
    if known.issuperset(case for table in tables for case in table.column("case_id").to_pylist()):
        # The knowledge takes seconds to read, and sensors ask often.
        return NewCases(cases[:0], [])
    return new_cases(tables, load_knowledge(folder / "knowledge"), known)


def make_challenger(
    champion: Bundle,
    tables: Mapping[str, pa.Table],
    data: Sequence[DataEntry],
    run_id: str,
    common: CommonModel | None = None,
    sign: Callable[[bytes], bytes] | None = None,
) -> Challenger:
    """Write the challenger beside the champion; ``latest`` stays.

    Args:
        champion: the served bundle.
        tables: asset key to rows of the tables in ``CASE_TABLES``.
        data: entries of these tables and of what they were derived from.
        run_id: the Dagster run that makes it.
        common: a common model that replaces the champion's.
        sign: makes the signature of the manifest.

    Raises:
        BundleError: the champion has no rare part although there are cases, or a part cannot be written.
    """
    found = unknown_cases(champion, list(tables.values())) if "rare" in champion.manifest.parts else None
    if common is None and (found is None or not len(found.cases)):
        return Challenger(champion, left_out=found.left_out if found else [])
    parts: dict[str, Callable[[Path], object]] = {
        name: _copy(champion.part(name)) for name in champion.manifest.parts
    }
    models = {model.name: model for model in champion.manifest.models}
    if found is not None and len(found.cases):
        parts["rare"], revision = _renewed(champion, found)
        models[RARE] = _rare_entry(models[RARE], found, revision, run_id)
    if common is not None:
        parts["common"] = common.export
        models[COMMON] = _common_entry(models[COMMON], common)
    new = with_sources(data, tables)
    replaced = {entry.asset for entry in new}
    kept = [entry for entry in champion.manifest.data if entry.asset not in replaced]
    sources = {source.name: source for source in (*champion.manifest.sources, *sources_of(tables))}
    bundle = write_bundle(
        champion.directory.parent,
        parts=parts,
        settings_origin=champion.manifest.settings_origin,
        profile=champion.manifest.profile,
        models=list(models.values()),
        data=sorted([*kept, *new], key=lambda entry: entry.asset),
        sources=sorted(sources.values(), key=lambda source: source.name),
        make_latest=False,
        sign=sign,
    )
    added = tuple(found.cases.case_ids) if found else ()
    return Challenger(bundle, added, found.left_out if found else [])


def _renewed(champion: Bundle, found: NewCases) -> tuple[Callable[[Path], object], int]:
    from medassets.learners.rare.ranker import RareRanker

    ranker = RareRanker.load(champion.part("rare")).add_cases(found.cases)
    return ranker.export_bundle, ranker.model.revision


def _rare_entry(model: ModelEntry, found: NewCases, revision: int, run_id: str) -> ModelEntry:
    base = (model.registry_version or "unregistered").split("+")[0]
    return model.model_copy(
        update={
            "registry_version": f"{base}+memory.{revision}",
            "dagster_run_id": run_id,
            "trained_on": sorted({*model.trained_on, *CASE_TABLES}),
            "training_origin": sorted({*model.training_origin, *found.cases.origins}),
        }
    )


def _common_entry(model: ModelEntry, common: CommonModel) -> ModelEntry:
    return model.model_copy(
        update={
            "registry_version": common.registry_version,
            "dagster_run_id": common.run_id,
            "trained_on": sorted({*model.trained_on, *common.trained_on}),
            "training_origin": sorted({*model.training_origin, *common.origins}),
            # The champion's figures are not this model's.
            "metrics": {},
        }
    )


def sources_of(tables: Mapping[str, pa.Table]) -> list[SourceEntry]:
    """What each new case came from: the prediction that was confirmed, or the record's file; each once."""
    named = {source for table in tables.values() for source in _named(table)}
    return [
        SourceEntry(name=f"sources/{kind}/{name}", origin=kind, location=place)
        for kind, name, place in sorted(named)
    ]


def _source(provenance: str) -> tuple[str, str, str]:
    """Kind, name and place of a case's source."""
    if provenance.startswith("prediction:"):
        return "feedback", provenance.removeprefix("prediction:"), provenance
    file = provenance.partition("#")[0]
    return "record", file, file


def with_sources(entries: Sequence[DataEntry], tables: Mapping[str, pa.Table]) -> list[DataEntry]:
    """The entries of tables of new cases, each derived from what ``sources_of`` lists of it as well."""
    found = {entry.asset: entry for entry in entries}
    for key, table in tables.items():
        if key in found:
            above = {*found[key].derived_from, *(f"sources/{kind}/{name}" for kind, name, _ in _named(table))}
            found[key] = found[key].model_copy(update={"derived_from": sorted(above)})
    return list(found.values())


def _named(table: pa.Table) -> set[tuple[str, str, str]]:
    return {_source(provenance) for provenance in table.column("provenance").to_pylist()}


def _copy(folder: Path) -> Callable[[Path], object]:
    return lambda target: shutil.copytree(folder, target, dirs_exist_ok=True)
