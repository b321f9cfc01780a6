"""Puts the definitions together: layers to modules, settings to resources, one policy map over all assets.

What belongs here: assembly and overrides. What does not: assets, checks, policies. Nothing heavy is imported:
a code server loads this in a few seconds, and each asset imports what it needs when it runs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg

from medassets.orchestration import automation, openlineage
from medassets.orchestration.automation import WHOLE_GRAPH
from medassets.orchestration.compute import COMPUTE_TAG, compute_of, pods_of
from medassets.orchestration.inputs import CODE_KEY, SETTINGS_KEY
from medassets.orchestration.io_managers import DeltaIOManager, ModelIOManager, SourceIOManager
from medassets.orchestration.tracking import MlflowTracking
from medassets.orchestration.weights_biases import mirror_config
from medassets.settings import Settings, let_threads_sleep, switch_telemetry_off

__all__ = ["LAYERS", "MODULES", "WHOLE_GRAPH", "build_definitions", "resources_for"]

#: The layers of the graph, in the order in which data pass them; an asset's layer is its group.
LAYERS = (
    "sources",
    "clinical",
    "features",
    "synthetic",
    "models",
    "evaluation",
    "serving",
    "monitoring",
    "retraining",
    "operations",
)
#: Modules of ``medassets.orchestration.assets`` with the assets; most layers have one of their own name.
MODULES = (*LAYERS, "comparisons", "documents", "ehr", "forms", "registries", "literature", "streams")
#: Who answers for an asset, by the domain in its tags.
OWNERS: Mapping[str, str] = {
    "rare": "team:rare-diseases",
    "common": "team:common-conditions",
    "both": "team:platform",
}
#: Packages whose code makes the assets of a layer; ``{domain}`` is the asset's own (``rare``, ``common``).
CODE: Mapping[str, tuple[str, ...]] = {
    "sources": ("ingest",),
    "clinical": ("ingest", "cohorts", "knowledge"),
    "features": ("features", "cohorts", "knowledge"),
    "synthetic": ("cohorts", "knowledge"),
    "models": ("learners/{domain}", "features"),
    "evaluation": ("evaluation",),
    "serving": ("serving",),
    "monitoring": ("monitoring",),
    "retraining": ("monitoring",),
}


def build_definitions(
    settings: Settings,
    *,
    modules: Sequence[str] = MODULES,
    resources: Mapping[str, object] | None = None,
) -> dg.Definitions:
    """Build the definitions of one installation.

    Args:
        settings: the installation.
        modules: names of the modules to load assets from.
        resources: resources that replace or join the installation's own.

    Returns:
        Definitions that load in seconds.
    """
    switch_telemetry_off()
    let_threads_sleep()
    loaded = [import_module(f"medassets.orchestration.assets.{name}") for name in modules]
    assets = [
        asset.map_asset_specs(lambda spec: _completed(spec, settings))
        for module in loaded
        for asset in dg.load_assets_from_modules([module])
        if isinstance(asset, dg.AssetsDefinition)
    ]
    checks: list[dg.AssetChecksDefinition] = _declared(loaded, "CHECKS")
    specs = [spec for asset in assets for spec in asset.specs]
    keys = [s.key for s in specs if s.partitions_def is None and s.key.path[0] not in automation.LIVE]
    executor = automation.executor_of(settings, pods_of([*assets, *checks], settings.gpu_pool))
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        jobs=[*automation.jobs(keys, executor), *_declared(loaded, "JOBS")],
        schedules=[*automation.schedules(), *_declared(loaded, "SCHEDULES")],
        sensors=[*automation.sensors(), *openlineage.sensors(settings), *_declared(loaded, "SENSORS")],
        resources={**resources_for(settings), **(resources or {})},
        executor=executor,
    )


def _declared(modules: Sequence[ModuleType], name: str) -> list[Any]:
    """Gather what the modules declare under a name: ``CHECKS``, ``JOBS``, ``SCHEDULES``, ``SENSORS``."""
    return [item for module in modules for item in getattr(module, name, ())]


def resources_for(settings: Settings) -> dict[str, Any]:
    """Give the installation's resources: its settings, the lake, the registry, the records of sources."""
    tracking = MlflowTracking.from_settings(settings)
    return {
        "settings": settings,
        "io_manager": DeltaIOManager(lake_dir=settings.lake_root),
        "model_io_manager": ModelIOManager(tracking=tracking, wandb=mirror_config(settings)),
        "source_io_manager": SourceIOManager(records_dir=str(settings.home / "records")),
        "tracking": tracking,
    }


@cache
def code_hash(layer: str, domain: str, further: tuple[str, ...] = ()) -> str:
    """Hash the code that makes a layer's assets, so that an upgrade makes again what it may change."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for package in (*CODE.get(layer, ()), *further):
        place = root / package.format(domain=domain)
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def settings_hash(settings: Settings, names: Sequence[str]) -> str:
    """Hash the named settings, so that changing one of them makes an asset stale."""
    values = settings.model_dump(mode="json", include=set(names))
    if missing := sorted(set(names) - set(values)):
        raise ValueError(f"no setting is named {missing[0]!r}")
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def _completed(spec: dg.AssetSpec, settings: Settings) -> dg.AssetSpec:
    """Add what a layer decides for all its assets to one asset's own attributes."""
    layer, domain = spec.key.path[0], spec.tags.get("domain", "both")
    names = spec.metadata.get(SETTINGS_KEY, ())
    code = f"{spec.code_version}.{code_hash(layer, domain, tuple(spec.metadata.get(CODE_KEY, ())))}"
    code += f"-{settings_hash(settings, names)}" if names else ""
    return spec.replace_attributes(
        group_name=layer,
        code_version=code,
        owners=spec.owners or [OWNERS[domain]],
        automation_condition=spec.automation_condition or automation.condition_of(layer),
        freshness_policy=spec.freshness_policy or automation.freshness_of(layer),
        tags={"layer": layer, COMPUTE_TAG: compute_of(spec.key.to_user_string(), layer), **spec.tags},
    )
