"""Documents of a release from what the graph recorded: what changed, which checks held, where rows come from.

What belongs here: gathering. What does not: the form of the documents (``evaluation.technical_file``,
``cohorts.schema.data_dictionary``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa
from dagster import AssetCheckKey

from medassets import __version__
from medassets.evaluation.figures import Finding
from medassets.evaluation.model_cards import ORIGINS
from medassets.evaluation.technical_file import Change, technical_file
from medassets.serving.bundle import list_bundles, read_manifest
from medassets.settings import Settings

if TYPE_CHECKING:
    from medassets.evaluation.report import Report
    from medassets.serving.manifest import Manifest


def release_file(bundle: Path, cards: pa.Table, settings: Settings, instance: dg.DagsterInstance) -> Report:
    """Lay out the technical file of a bundle.

    Args:
        bundle: folder of the bundle.
        cards: ``evaluation/model_cards``.
        settings: the installation.
        instance: where materializations and checks are recorded.
    """
    manifest = read_manifest(bundle)
    described = [json.loads(text) for text in cards.column("json").to_pylist()]
    origins: Counter[str] = Counter()
    for card in described:
        for row in card["data"]:
            if row["origin"] in ORIGINS:  # knowledge has the origin of its source, and no patients
                origins[row["origin"]] += row["rows"]
    return technical_file(
        manifest.version,
        __version__,
        described,
        dict(sorted(origins.items())),
        check_outcomes(settings, instance),
        changes(manifest, list_bundles(settings.bundles_dir)),
    )


def changes(manifest: Manifest, kept: list[Manifest]) -> list[Change]:
    """Compare a release with the one made before it, model by model.

    Args:
        manifest: the release.
        kept: manifests of all bundles at hand, in any order.
    """
    earlier = [m for m in kept if m.created < manifest.created and m.version != manifest.version]
    before = max(earlier, key=lambda m: m.created).model_versions() if earlier else {}
    return [
        Change(
            model=name,
            version=version,
            before=before.get(name, "none"),
            decision="unchanged" if before.get(name) == version else "serves from this release on",
        )
        for name, version in sorted(manifest.model_versions().items())
    ]


def check_outcomes(settings: Settings, instance: dg.DagsterInstance) -> Mapping[str, Finding]:
    """Give the latest outcome of each asset check that was evaluated, by ``asset: check``."""
    from medassets.orchestration.build import build_definitions

    keys = sorted(build_definitions(settings).resolve_asset_graph().asset_check_keys, key=_name)
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
    found = {}
    for key in keys:
        event = records[key].event if key in records else None
        evaluation = event.dagster_event.event_specific_data if event and event.dagster_event else None
        if isinstance(evaluation, dg.AssetCheckEvaluation):
            found[_name(key)] = Finding(evaluation.passed, evaluation.description or "")
    return found


def _name(key: AssetCheckKey) -> str:
    return f"{key.asset_key.to_user_string()}: {key.name}"
