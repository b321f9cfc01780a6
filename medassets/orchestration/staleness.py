"""Which assets must be made again, and in which order, so that nothing unchanged is touched.

What belongs here: comparing what the last materialization recorded (code version, data versions of its
inputs, blocking checks) with what stands now. What does not: executing (``run``).

Assets are made in waves. What is certain to be made (never made, other code or settings, failed check) joins
a wave with all that hangs on it and is certain too; what may only turn out unchanged waits, because an input
that is made again with the same content leaves it as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import AssetCheckKey, AssetKey
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

DATA_VERSION, CODE_VERSION, INPUT_VERSION = (
    "dagster/data_version",
    "dagster/code_version",
    "dagster/input_data_version/",
)


@dataclass(frozen=True)
class Reason:
    """Why an asset must be made.

    Attributes:
        text: in words, for the person who waits.
        certain: whether it must be made whatever its inputs turn out to be.
    """

    text: str
    certain: bool


@dataclass(frozen=True)
class Made:
    """What the last materialization recorded."""

    data_version: str | None
    code_version: str | None
    inputs: Mapping[AssetKey, str]
    storage_id: int


def last_made(instance: dg.DagsterInstance, keys: Sequence[AssetKey]) -> dict[AssetKey, Made]:
    """Read the last materialization of each asset that has one."""
    found = {}
    for record in instance.get_asset_records(keys):
        last = record.asset_entry.last_materialization_record
        if last is None or last.event_log_entry.asset_materialization is None:
            continue
        event = last.event_log_entry.asset_materialization
        tags = event.tags or {}
        inputs = {
            AssetKey.from_user_string(tag.removeprefix(INPUT_VERSION)): value
            for tag, value in tags.items()
            if tag.startswith(INPUT_VERSION)
        }
        found[event.asset_key] = Made(tags.get(DATA_VERSION), tags.get(CODE_VERSION), inputs, last.storage_id)
    return found


def reasons(
    graph: AssetGraph,
    instance: dg.DagsterInstance,
    keys: Iterable[AssetKey],
    gone: Iterable[AssetKey] = (),
) -> dict[AssetKey, Reason]:
    """Say which assets must be made, looking at each asset and its direct inputs only.

    Args:
        graph: the asset graph.
        instance: where events are kept.
        keys: assets to look at.
        gone: assets whose stored value has been removed.

    Returns:
        The reason for each asset that must be made; up-to-date assets are left out.
    """
    wanted = list(keys)
    parents = {parent for key in wanted for parent in graph.get(key).parent_keys}
    made = last_made(instance, sorted({*wanted, *parents}))
    failed = _failed_checks(graph, instance, wanted, made)
    removed = set(gone)
    found: dict[AssetKey, Reason] = {}
    for key in wanted:
        reason = _reason(graph, key, made, failed.get(key), key in removed)
        if reason is not None:
            found[key] = reason
    return found


def next_wave(
    order: Sequence[AssetKey], graph: AssetGraph, why: Mapping[AssetKey, Reason]
) -> tuple[list[AssetKey], list[AssetKey]]:
    """Choose what to make now.

    Args:
        order: assets in topological order.
        graph: the asset graph.
        why: reasons by asset.

    Returns:
        The wave, and the assets that wait for how it turns out.
    """
    wave: set[AssetKey] = set()
    waiting: set[AssetKey] = set()
    for key in order:
        above = graph.get(key).parent_keys & (wave | waiting)
        reason = why.get(key)
        if reason and (not above or (reason.certain and not above & waiting)):
            wave.add(key)
        elif reason or above:
            waiting.add(key)
    # What one function makes together is made together.
    for key in tuple(wave):
        wave |= set(graph.get(key).execution_set_asset_keys)
    return [key for key in order if key in wave], [key for key in order if key in waiting - wave]


def topological(graph: AssetGraph, keys: Iterable[AssetKey]) -> list[AssetKey]:
    """Put assets into an order in which each follows its inputs; ties by key."""
    wanted = set(keys)
    return [key for level in graph.toposorted_asset_keys_by_level for key in sorted(level) if key in wanted]


def _reason(
    graph: AssetGraph, key: AssetKey, made: Mapping[AssetKey, Made], failed: str | None, gone: bool
) -> Reason | None:
    last, code = made.get(key), graph.get(key).code_version
    if last is None:
        return Reason("never made", True)
    if gone:
        return Reason("its stored value is gone", True)
    if last.code_version != code:
        return Reason(f"code or settings changed ({last.code_version} then, {code} now)", True)
    if failed:
        return Reason(failed, True)
    for parent in sorted(graph.get(key).parent_keys):
        if graph.get(parent).is_partitioned:
            # One day's data version says nothing of the others: what counts is whether a day was made since.
            if parent in made and made[parent].storage_id > last.storage_id:
                return Reason(f"{parent.to_user_string()} has newer days", False)
            continue
        now = made[parent].data_version if parent in made else None
        if now != last.inputs.get(parent):
            return Reason(f"{parent.to_user_string()} changed", False)
    return None


def _failed_checks(
    graph: AssetGraph, instance: dg.DagsterInstance, keys: Sequence[AssetKey], made: Mapping[AssetKey, Made]
) -> dict[AssetKey, str]:
    """Find blocking checks that did not pass on the last materialization, or did not run on it."""
    checks = [check for key in keys for check in _blocking(graph, key)]
    latest = instance.event_log_storage.get_latest_asset_check_execution_by_key(checks)
    found: dict[AssetKey, str] = {}
    for check in checks:
        if check.asset_key not in made:
            continue
        record = latest.get(check)
        if record is None or record.event is None:
            found.setdefault(check.asset_key, f"check {check.name} has not run")
            continue
        evaluation = (
            record.event.dagster_event.asset_check_evaluation_data if record.event.dagster_event else None
        )
        target = evaluation.target_materialization_data if evaluation else None
        if target is None or target.storage_id != made[check.asset_key].storage_id:
            found.setdefault(check.asset_key, f"check {check.name} has not run on its last value")
        elif evaluation and not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
            found[check.asset_key] = f"check {check.name} failed"
    return found


def _blocking(graph: AssetGraph, key: AssetKey) -> list[AssetCheckKey]:
    return [check for check in sorted(graph.get(key).check_keys) if graph.get_check_spec(check).blocking]
