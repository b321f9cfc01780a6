"""What of the lake, the bundles, the inboxes and the dead letters may go, and what the audit still needs.

What belongs here: which versions are pinned, and removing the rest. What does not: when
(``assets.operations``). Pinned are the Delta versions that a kept bundle names in its manifest. A bundle is
kept while it is served, is among the newest, or has answered a request that the audit log still holds.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.cohorts import ehr, forms
from medassets.cohorts.schema import Table, column
from medassets.ingest.streams.letters import COLLECTION, letters_before
from medassets.ingest.streams.pipeline import EVENTS
from medassets.serving.bundle import HISTORY, LATEST, list_bundles
from medassets.serving.databases import open_database
from medassets.serving.manifest import Manifest
from medassets.settings import Settings
from medassets.stores.addresses import delta_options, join
from medassets.stores.documents import open_documents

RETENTION = Table(
    "operations/lake_retention",
    pa.schema(
        [
            column("table", pa.string(), "table that was looked at"),
            column("version", pa.int64(), "its newest version"),
            column("files", pa.int64(), "files that neither a version within the time nor a kept one needs"),
            column("removed", pa.bool_(), "whether they were removed, or only listed"),
            column("events_deleted", pa.int64(), "events past their time that were deleted"),
            column("kept_for_audit", pa.list_(pa.int64()), "versions that a kept bundle names"),
            column("examples", pa.list_(pa.string()), "some of the files"),
        ]
    ),
    ("table",),
    "One row what retention did to a table the last time.",
)


@dataclass
class Kept:
    """What was done, or would be done.

    Attributes:
        rows: one a table: files that go, versions that stay for the audit.
        bundles: versions of bundles that go.
        pinned: versions by table that stay for the audit.
        files: inbox to the files of it that go.
        letters: dead letters that go.
        removed: whether it was done.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)
    pinned: dict[str, list[int]] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    letters: int = 0
    removed: bool = False


def apply_retention(settings: Settings, keys: list[str], *, now: datetime | None = None) -> Kept:
    """Remove what is older than the settings say and what no kept bundle needs; or only list it.

    Args:
        settings: the installation; ``retention.remove`` decides whether anything goes.
        keys: tables to look at, ``layer/name``; tables that are not there are left out.
        now: the present, for tests.

    Raises:
        DocumentError: the store of dead letters cannot be reached.
        deltalake.exceptions.DeltaError: a pinned version's log is gone, or a table cannot be read; nothing of
            that table has been removed.
    """
    wanted, present = settings.retention, now or datetime.now(UTC)
    bundles = list_bundles(settings.bundles_dir) if settings.bundles_dir.exists() else []
    going = _bundles_that_go(settings, bundles, present)
    done = Kept(bundles=going, pinned=_pinned(bundles, going), removed=wanted.remove)
    for key in keys:
        if row := _vacuum(settings, key, done.pinned.get(key, []), present):
            done.rows.append(row)
    for version in going if wanted.remove else ():
        shutil.rmtree(settings.bundles_dir / version)
    if wanted.inbox_days is not None:
        first = (present - timedelta(days=wanted.inbox_days)).date()
        inboxes = {"fhir": ehr.inbox_of(settings), "forms": forms.inbox_of(settings)}
        done.files = {
            name: inbox.remove_before(first, really=wanted.remove) for name, inbox in inboxes.items()
        }
    if wanted.letter_days is not None:
        done.letters = _letters(settings, present - timedelta(days=wanted.letter_days))
    return done


def _letters(settings: Settings, moment: datetime) -> int:
    """Remove dead letters that were received before a moment; or only count them."""
    store = open_documents(settings)
    try:
        old = letters_before(store, moment)
        for key in old if settings.retention.remove else ():
            store.remove(COLLECTION, key)
    finally:
        store.close()
    return len(old)


def _pinned(bundles: list[Manifest], going: list[str]) -> dict[str, list[int]]:
    """Delta versions that the manifests of kept bundles name."""
    found: dict[str, set[int]] = {}
    for bundle in bundles:
        for entry in bundle.data if bundle.version not in going else ():
            if entry.delta_version is not None:
                found.setdefault(entry.asset, set()).add(entry.delta_version)
    return {key: sorted(versions) for key, versions in found.items()}


def _bundles_that_go(settings: Settings, bundles: list[Manifest], now: datetime) -> list[str]:
    """Bundles that are old, have answered nothing that is audited, and are not served."""
    from medassets.serving.challenge import read_challenge

    folder, oldest = settings.bundles_dir, now - timedelta(days=settings.retention.bundle_days)
    challenge = read_challenge(settings)
    named = {challenge.bundle} if challenge else set()
    for pointer in (LATEST, HISTORY):
        if (folder / pointer).exists():
            named |= set((folder / pointer).read_text(encoding="utf-8").split())
    audited = _audited_bundles(settings)
    newest = {bundle.version for bundle in bundles[: settings.retention.bundles]}
    return sorted(
        bundle.version
        for bundle in bundles
        if bundle.version not in named | audited | newest and bundle.created.replace(tzinfo=UTC) < oldest
    )


def _audited_bundles(settings: Settings) -> set[str]:
    """Bundles that the audit log names."""
    place: Path | str = settings.predictions_url or settings.predictions_db
    if isinstance(place, Path) and not place.exists():
        return set()
    database = open_database(place)
    found = {str(row[0]) for row in database.read("SELECT DISTINCT bundle FROM audit")}
    database.close()
    return found


def _vacuum(settings: Settings, key: str, pinned: list[int], now: datetime) -> dict[str, Any] | None:
    """List, and by setting remove, files that neither a version within the time nor a pinned one needs."""
    from deltalake import DeltaTable

    address = join(settings.lake_root, key)
    options = delta_options(address)
    if not DeltaTable.is_deltatable(address, options):
        return None
    wanted = settings.retention
    table = DeltaTable(address, storage_options=options)
    deleted = 0
    if key == EVENTS and wanted.event_days is not None and wanted.remove:
        before = (now - timedelta(days=wanted.event_days)).date().isoformat()
        deleted = int(table.delete(f"event_day < '{before}'")["num_deleted_rows"] or 0)
    keep: dict[str, Any] = {
        "retention_hours": wanted.version_days * 24,
        "enforce_retention_duration": False,
        "keep_versions": pinned or None,
    }
    files = table.vacuum(dry_run=True, **keep)
    if files and wanted.remove:
        table.vacuum(dry_run=False, **keep)
    return {
        "table": key,
        "version": table.version(),
        "files": len(files),
        "removed": wanted.remove,
        "events_deleted": deleted,
        "kept_for_audit": pinned,
        "examples": files[:3],
    }
