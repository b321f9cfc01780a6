"""What the graph knows of where a value came from, in the shape that a serving bundle carries on.

What belongs here: reading recorded materializations. What does not: the manifest (``serving.manifest``) and
the walk from a prediction back to its sources (``serving.provenance``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
from dagster import AssetKey

from medassets.orchestration.staleness import INPUT_VERSION
from medassets.serving.manifest import DataEntry, Metric, ModelEntry, SourceEntry


@dataclass(frozen=True)
class Recorded:
    """The last materialization of an asset."""

    key: str
    run_id: str
    metadata: dict[str, Any]
    inputs: tuple[str, ...]


def recorded(instance: dg.DagsterInstance, keys: Iterable[str]) -> dict[str, Recorded]:
    """Read the last materialization of each asset, and of everything above it."""
    found: dict[str, Recorded] = {}
    asked = set(keys)
    waiting = sorted(asked)
    while waiting:
        key = waiting.pop()
        if key in found:
            continue
        entry = instance.get_latest_materialization_event(AssetKey(key.split("/")))
        if entry is None or entry.asset_materialization is None:
            if key not in asked:
                # A live table, such as feedback, that nothing has arrived for yet.
                continue
            raise LookupError(f"{key} has never been made: its lineage is not known")
        event = entry.asset_materialization
        tags = event.tags or {}
        inputs = tuple(sorted(t.removeprefix(INPUT_VERSION) for t in tags if t.startswith(INPUT_VERSION)))
        values = {name: value.value for name, value in event.metadata.items()}
        found[key] = Recorded(key, entry.run_id, values, inputs)
        waiting.extend(inputs)
    return {
        key: replace(item, inputs=tuple(name for name in item.inputs if name in found))
        for key, item in found.items()
    }


def data_entries(lineage: dict[str, Recorded]) -> list[DataEntry]:
    """Give the tables among them."""
    return [
        DataEntry(
            asset=item.key,
            delta_version=item.metadata["delta_version"],
            content_hash=item.metadata["content_hash"],
            rows=item.metadata["dagster/row_count"],
            origins=sorted(item.metadata.get("origins", {})),
            derived_from=list(item.inputs),
            dagster_run_id=item.run_id,
        )
        for item in _sorted(lineage)
        if "delta_version" in item.metadata
    ]


def source_entries(lineage: dict[str, Recorded]) -> list[SourceEntry]:
    """Give the source files among them; absent sources are left out."""
    return [
        SourceEntry(
            name=item.key,
            origin=item.metadata["origin"],
            location=item.metadata["path"],
            size=item.metadata["bytes"],
            sha256=item.metadata["sha256"],
            release=item.metadata.get("release"),
            licence=item.metadata.get("licence"),
        )
        for item in _sorted(lineage)
        if item.key.startswith("sources/") and item.metadata["origin"] != "absent"
    ]


def model_entry(
    name: str, lineage: dict[str, Recorded], metrics: dict[str, Metric], origins: list[str]
) -> ModelEntry:
    """Describe a model of the registry."""
    item = lineage[f"models/{name}"]
    tables = sorted(key for key in _above(item.key, lineage) if "delta_version" in lineage[key].metadata)
    return ModelEntry(
        name=name,
        registry_version=str(item.metadata["model_version"]),
        mlflow_run_id=item.metadata["mlflow_run_id"],
        dagster_run_id=item.run_id,
        metrics=metrics,
        trained_on=tables,
        training_origin=origins,
    )


def _above(key: str, lineage: dict[str, Recorded]) -> set[str]:
    found: set[str] = set()
    waiting = list(lineage[key].inputs)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(lineage[name].inputs)
    return found


def _sorted(lineage: dict[str, Recorded]) -> Iterator[Recorded]:
    return (lineage[key] for key in sorted(lineage))
