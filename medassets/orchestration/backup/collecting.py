"""What belongs to an installation's state, copied in a consistent order.

What belongs here: which files and databases, and how each is copied in one state. What does not: how they are
kept (``archive``). Left out is what can be made again or found again: caches, bentos, downloads, logs.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from medassets import __version__
from medassets.orchestration.backup.archive import Archive, BackupError, Manifest
from medassets.orchestration.instance import generated, instance_folder
from medassets.orchestration.migration.files import Tree, tree_at
from medassets.serving.sealing import Sealer, read_keys
from medassets.serving.store import PredictionStore
from medassets.settings import Settings

#: What of the home is kept, in the order of copying: who refers goes before what it refers to.
FIRST = ("predictions.db", "documents.db", "streams")
THEN = ("secrets", "bundles", "reports", "records", "inbox", "mlflow", "dagster")
LAKE, KEYS, DUMPS = "lake", "keys/key-file", "databases"
_SQLITE = b"SQLite format 3\0"
#: Files that SQLite keeps beside a database while it is open.
_BESIDE = ("-wal", "-shm", "-journal")
_LOG = "_delta_log/"


def back_up(
    settings: Settings,
    folder: Path,
    *,
    seal: bool = False,
    progress: Callable[[str], None] = lambda name: None,
) -> Manifest:
    """Copy an installation's state into an empty folder.

    Args:
        settings: the installation; its services may go on.
        folder: empty, or not there yet.
        seal: encrypt with the key file, which is then not part of the backup.
        progress: told of each part.

    Raises:
        BackupError: the folder is not empty, a database cannot be dumped, or there is no key to seal with.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BackupError(f"{folder} is not empty: a backup goes into a folder of its own")
    if (settings.documents_url or "").startswith("mongodb"):
        raise BackupError("documents lie in MongoDB: back them up by mongodump, or move them by migrate")
    if seal and settings.key_file is None:
        raise BackupError("sealing needs a key: set MEDASSETS_KEY_FILE (`medassets keys new-secret`)")
    sealer = Sealer(read_keys(settings.key_file)) if seal and settings.key_file else None
    folder.mkdir(parents=True, exist_ok=True)
    archive = Archive(folder, sealer)
    made = Manifest(datetime.now(UTC).isoformat(timespec="seconds"), __version__, str(settings.home))
    with tempfile.TemporaryDirectory() as scratch:
        for part in (*FIRST, *THEN):
            progress(part)
            if part == THEN[0]:
                made.audit = _audit_head(settings, archive, made, Path(scratch))
                _dump(settings, archive, made, Path(scratch))
            for name, path in _files(settings, part):
                _add(archive, made, name, path, Path(scratch))
        if settings.key_file is not None and sealer is None:
            archive.add(made, KEYS, settings.key_file)
        progress(LAKE)
        _lake(tree_at(settings.lake_url or settings.lake_dir), archive, made, Path(scratch))
    archive.finish(made)
    return made


def _files(settings: Settings, part: str) -> Iterator[tuple[str, Path]]:
    """Files of one part of the home, by the name that they have there."""
    root = instance_folder(settings) if part == "dagster" else settings.home / part
    if root.is_file():
        yield part, root
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        own = path == settings.key_file or (path.name == "dagster.yaml" and generated(path))
        if path.is_file() and not path.name.endswith(_BESIDE) and not own:
            yield f"{part}/{path.relative_to(root).as_posix()}", path


def _add(archive: Archive, made: Manifest, name: str, path: Path, scratch: Path) -> None:
    """Take a file in; a database in one state, whoever writes to it meanwhile."""
    with path.open("rb") as stream:
        database = stream.read(len(_SQLITE)) == _SQLITE
    if not database:
        archive.add(made, name, path)
        return
    copied = scratch / "database"
    copied.unlink(missing_ok=True)
    with (
        closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copied)) as target,
    ):
        source.backup(target)
    archive.add(made, name, copied)


def _audit_head(settings: Settings, archive: Archive, made: Manifest, scratch: Path) -> tuple[int, str]:
    """The last audit entry of what was copied; of PostgreSQL, the last one before its dump."""
    if settings.predictions_url is not None:
        return PredictionStore(settings.predictions_url).head()
    if FIRST[0] not in made.files:
        return 0, ""
    copied = scratch / "predictions.db"
    archive.extract(made, FIRST[0], copied)
    store = PredictionStore(copied)
    head = store.head()
    store.close()
    return head


def _dump(settings: Settings, archive: Archive, made: Manifest, scratch: Path) -> None:
    """Dump the databases of the installation that lie in PostgreSQL, each once."""
    for name, url in databases(settings).items():
        program = shutil.which("pg_dump", path=f"{os.environ['PATH']}:/usr/lib/postgresql/15/bin")
        if program is None:
            raise BackupError("PostgreSQL is dumped by pg_dump, which is not installed (postgresql-client)")
        path = scratch / name
        done = subprocess.run(
            [program, "--format=custom", "--no-owner", f"--file={path}", f"--dbname={url}"],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise BackupError(f"{name}: pg_dump ended with {done.returncode}: {done.stderr.strip()[:500]}")
        archive.add(made, f"{DUMPS}/{name}", path)
        made.databases.append(name)


def databases(settings: Settings) -> dict[str, str]:
    """PostgreSQL databases by the setting that names them, each address once."""
    found: dict[str, str] = {}
    for name in ("predictions_url", "documents_url", "dagster_database", "mlflow_url"):
        url = (getattr(settings, name) or "").replace("+psycopg2", "")
        if url.startswith("postgres") and url not in found.values():
            found[name] = url
    return found


def _lake(tree: Tree, archive: Archive, made: Manifest, scratch: Path) -> None:
    """Copy each Delta table up to the version that it has now."""
    before = tree.names()
    for log in sorted({name.split(_LOG)[0] for name in before if _LOG in name}):
        if versions := _versions(before, log):
            made.tables[log.rstrip("/")] = max(versions)
    path = scratch / "file"
    # Listed again: a commit that was listed has its data files listed now.
    for name in tree.names():
        table = name.split(_LOG)[0] if _LOG in name else None
        if table is not None and not _pinned(name, tree, made.tables.get(table.rstrip("/"), -1), path):
            continue
        tree.get(name, path)
        archive.add(made, f"{LAKE}/{name}", path)


def _versions(names: list[str], table: str) -> list[int]:
    """Versions of a table among names of files, as numbers from the names of its log."""
    found = (name.removeprefix(f"{table}{_LOG}") for name in names if name.startswith(f"{table}{_LOG}"))
    return [int(name[:20]) for name in found if name.endswith(".json") and name[:20].isdigit()]


def _pinned(name: str, tree: Tree, version: int, scratch: Path) -> bool:
    """Say whether a file of a log is of the pinned version or before."""
    short = name.rsplit("/", 1)[-1]
    if short == "_last_checkpoint":
        tree.get(name, scratch)
        return int(json.loads(scratch.read_bytes())["version"]) <= version
    return not short[:20].isdigit() or int(short[:20]) <= version
