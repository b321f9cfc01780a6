"""``medassets backup`` and ``medassets restore``.

What belongs here: arguments and printing. What does not: what is kept and how (``orchestration.backup``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medassets.commands.output import AsJson, emit, err, failures, out, settings


def backup(
    folder: Annotated[Path, typer.Argument(help="An empty folder, or one that is not there yet.")],
    encrypt: Annotated[
        bool,
        typer.Option(help="Seal with the key file, which is then not part of the backup: keep it elsewhere."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy lake, models, bundles, predictions, audit log, runs and keys; the services may go on."""
    config = settings()
    from medassets.orchestration.backup.archive import BackupError
    from medassets.orchestration.backup.collecting import KEYS, back_up

    with failures(as_json, BackupError):
        made = back_up(config, folder, seal=encrypt, progress=lambda name: err.print(name, highlight=False))
    size = sum(entry.size for entry in made.files.values())
    if KEYS in made.files:
        err.print(
            "the keys lie open in the backup, beside what they seal: guard it like them, or use --encrypt"
        )
    if as_json:
        facts = {"files": len(made.files), "bytes": size, "tables": made.tables, "audit": made.audit}
        emit({"folder": str(folder), **facts})
        return
    out.print(
        f"{len(made.files)} files, {size / 1e6:.1f} MB, {len(made.tables)} tables, audit log up to entry "
        f"{made.audit[0]}",
        highlight=False,
    )


def restore(
    folder: Annotated[Path, typer.Argument(help="The backup.")],
    as_json: AsJson = False,
) -> None:
    """Put a backup back into MEDASSETS_HOME (and lake and databases), which must be empty, and verify it."""
    config = settings()
    from medassets.orchestration.backup.archive import BackupError
    from medassets.orchestration.backup.restoring import restore as put_back

    with failures(as_json, BackupError):
        done = put_back(config, folder)
    if as_json:
        emit(vars(done))
        return
    out.print(
        f"{done.files} files, {done.tables} tables, {done.bundles} bundles, audit chain of "
        f"{done.audit_entries} entries: all as they were",
        highlight=False,
    )
