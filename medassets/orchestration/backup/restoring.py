"""A backup put back into an empty place, and verified there.

What belongs here: writing the files, rewriting paths where the place is another, and the checks afterwards.
What does not: the backup's own form (``archive``).
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.orchestration.backup.archive import Archive, BackupError, Manifest
from medassets.orchestration.backup.collecting import DUMPS, KEYS, LAKE, databases
from medassets.orchestration.instance import instance_folder, write_instance
from medassets.orchestration.migration.files import tree_at
from medassets.serving.bundle import list_bundles, load_bundle
from medassets.serving.sealing import Sealer, read_keys
from medassets.serving.store import PredictionStore
from medassets.settings import Settings
from medassets.stores.addresses import delta_options, join

#: Parts that only their owner may read.
_PRIVATE = ("keys", "secrets")
#: Columns of MLflow's store that hold addresses of artifacts.
_ADDRESSES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
}


@dataclass(frozen=True)
class Restored:
    """What was put back, as verified: files, tables, bundles, and entries of the audit chain."""

    files: int
    tables: int
    bundles: int
    audit_entries: int


def restore(settings: Settings, folder: Path) -> Restored:
    """Put a backup back.

    Args:
        settings: the installation to be; its home (and lake, and databases) must be empty. Its key file opens
            a sealed backup.
        folder: the backup.

    Raises:
        BackupError: the place is not empty, or a file, a table, a bundle or the audit chain is not as it was.
    """
    key = settings.key_file
    archive = Archive(folder, Sealer(read_keys(key)) if key and key.exists() else None)
    manifest = archive.manifest()
    _refuse_what_is_there(settings, manifest)
    lake = tree_at(settings.lake_url or settings.lake_dir)
    with tempfile.TemporaryDirectory() as scratch:
        for name in _ordered(manifest):
            part, _, rest = name.partition("/")
            if part == LAKE and settings.lake_url:
                archive.extract(manifest, name, Path(scratch, "file"))
                lake.put(rest, Path(scratch, "file"))
            elif part == DUMPS:
                archive.extract(manifest, name, Path(scratch, rest))
                _load_dump(settings, rest, Path(scratch, rest))
            else:
                archive.extract(manifest, name, _place(settings, name))
                if part in _PRIVATE:
                    _place(settings, name).chmod(0o600)
    _relocate(manifest.home, settings)
    write_instance(settings)
    return verify(settings, manifest)


def verify(settings: Settings, manifest: Manifest) -> Restored:
    """Check what stands now against a backup's manifest: tables, bundles, the audit chain.

    Raises:
        BackupError: the first that is not as it was.
    """
    from deltalake import DeltaTable

    for table, version in manifest.tables.items():
        address = join(settings.lake_root, table)
        found = DeltaTable(address, storage_options=delta_options(address))
        found.to_pyarrow_dataset().count_rows()
        if found.version() != version:
            raise BackupError(f"{table} stands at version {found.version()}, not {version}")
    bundles = list_bundles(settings.bundles_dir)
    for bundle in bundles:
        load_bundle(settings.bundles_dir / bundle.version)
    return Restored(len(manifest.files), len(manifest.tables), len(bundles), _chain(settings, manifest))


def _chain(settings: Settings, manifest: Manifest) -> int:
    if not manifest.audit[0]:
        return 0
    sealer = Sealer(read_keys(settings.key_file)) if settings.key_file else None
    store = PredictionStore(settings.predictions_url or settings.predictions_db, sealer)
    entries, head = store.verify(), store.head()
    store.close()
    # A dump of PostgreSQL may hold entries that came after the head was read.
    if entries < manifest.audit[0] or (entries == manifest.audit[0] and head != tuple(manifest.audit)):
        raise BackupError(f"the audit log ends with {head}, and was backed up with {manifest.audit}")
    return entries


def _refuse_what_is_there(settings: Settings, manifest: Manifest) -> None:
    key = settings.key_file
    held = (path for path in settings.home.rglob("*") if path.is_file() and path != key)
    if settings.home.exists() and (found := next(held, None)):
        raise BackupError(f"{settings.home} is not empty ({found.name}): restore into an empty place")
    if settings.lake_url and tree_at(settings.lake_url).names():
        raise BackupError(f"{settings.lake_url} is not empty")
    missing = [name for name in manifest.databases if name not in databases(settings)]
    if missing:
        raise BackupError(f"the backup holds {missing[0]}: set it to the address of an empty database")


def _place(settings: Settings, name: str) -> Path:
    part, _, rest = name.partition("/")
    if name == KEYS:
        return settings.key_file or settings.home / "secrets" / "key-file"
    if part == "dagster":
        return instance_folder(settings) / rest
    return settings.home / name


def _ordered(manifest: Manifest) -> list[str]:
    """Data of tables before their logs, logs by version."""
    return sorted(manifest.files, key=lambda name: ("_delta_log/" in name, name))


def _load_dump(settings: Settings, name: str, path: Path) -> None:
    program = shutil.which("pg_restore", path=f"{os.environ['PATH']}:/usr/lib/postgresql/15/bin")
    if program is None:
        raise BackupError("PostgreSQL is restored by pg_restore, which is not installed (postgresql-client)")
    url = databases(settings)[name]
    command = [program, "--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={url}", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BackupError(f"{name}: pg_restore ended with {done.returncode}: {done.stderr.strip()[:500]}")


def _relocate(old: str, settings: Settings) -> None:
    """Rewrite addresses inside the old home, where the new one is another."""
    new = str(settings.home)
    if old == new:
        return
    for record in sorted((settings.home / "records").rglob("*.json")):
        content = _moved(json.loads(record.read_text(encoding="utf-8")), old, new)
        record.write_text(json.dumps(content, indent=1), encoding="utf-8")
    file = settings.home / "mlflow" / "mlflow.db"
    if not file.exists():
        return
    with closing(sqlite3.connect(file)) as connection, connection:
        for table, columns in _ADDRESSES.items():
            for column in columns:
                for prefix in ("file://", ""):
                    was, now = f"{prefix}{old}/", f"{prefix}{new}/"
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE substr({column}, 1, ?) = ?",
                        (now, len(was) + 1, len(was), was),
                    )


def _moved(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {name: _moved(item, old, new) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, old, new) for item in value]
    if isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
        return new + value.removeprefix(old)
    return value
