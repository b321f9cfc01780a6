"""Erasing a person (GDPR Art. 17): predictions, verdicts, rows of the lake, and the files that held them.

What belongs here: finding every row that names a pseudonym or one of its predictions, removing it, and
looking again. What does not: how predictions are kept (``serving.store``). Tables are searched by content:
one that a later version adds is searched as well.

The audit log keeps that the person was erased, with digests that say nothing without the pseudonym's key, and
still verifies. A row also goes from earlier versions of its table, whose files are deleted at once: the right
to be forgotten outweighs time travel. Bundles that learned from the person are named, to be made again.
Copies in backups, brokers and the sender's own files are beyond this installation's reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from medassets.cohorts.tables import TABLES
from medassets.serving.bundle import list_bundles
from medassets.serving.store import PredictionStore
from medassets.settings import Settings
from medassets.stores.addresses import delta_options, is_remote, join


class ErasureError(RuntimeError):
    """Something of the person is still there; the message says where."""


@dataclass
class Erased:
    """What was removed.

    Attributes:
        pseudonym: of the person.
        predictions: ids of the erased predictions.
        verdicts: feedback that went with them.
        rows: table to the rows removed.
        learned: bundles made from a table that held the person; empty where none did.
    """

    pseudonym: str
    predictions: list[str] = field(default_factory=list)
    verdicts: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    learned: list[str] = field(default_factory=list)


def forget(settings: Settings, store: PredictionStore | None, pseudonym: str, *, actor: str) -> Erased:
    """Erase a person and prove it.

    Args:
        settings: the installation.
        store: its predictions; ``None`` where nothing was asked yet.
        pseudonym: of the person, as ``ingest.pseudonyms`` gives it.
        actor: who erases; stands in the audit log.

    Returns:
        What was removed.

    Raises:
        ErasureError: something is still there.
        AuditError: the audit chain does not verify afterwards.
    """
    erased = Erased(pseudonym)
    if store is not None:
        erased.predictions = store.of_patient(pseudonym)
        erased.verdicts = store.erase(erased.predictions, actor=actor) if erased.predictions else 0
    marks = (pseudonym, *erased.predictions)
    for key, place in _tables(settings):
        if removed := _remove(place, marks):
            erased.rows[key] = removed
    for key, place in _tables(settings):
        if _naming(_read(place), marks) or (not is_remote(place) and _old_files(place, marks)):
            raise ErasureError(f"{key} was written while the person was erased: run the command again")
    if store is not None:
        store.verify()
    erased.learned = [
        manifest.version
        for manifest in list_bundles(settings.bundles_dir)
        if erased.rows.keys() & {entry.asset for entry in manifest.data}
    ]
    return erased


def _tables(settings: Settings) -> Iterator[tuple[str, str]]:
    """Give every table that the lake holds, by key and address."""
    from deltalake import DeltaTable

    from medassets.orchestration.build import build_definitions

    build_definitions(settings)  # loading the assets declares their tables
    for key in sorted(TABLES):
        place = join(settings.lake_root, key)
        if DeltaTable.is_deltatable(place, delta_options(place)):
            yield key, place


def _remove(place: str, marks: Sequence[str]) -> int:
    """Remove the rows that name a mark, and the files of earlier versions; give the rows removed.

    A table whose earlier versions alone name one loses these.
    """
    from deltalake import DeltaTable, write_deltalake

    table, options = _read(place), delta_options(place)
    removed = _naming(table, marks)
    if removed:
        columns = DeltaTable(place, storage_options=options).metadata().partition_columns
        kept = table.filter(pc.invert(_mask(table, marks)))
        write_deltalake(place, kept, mode="overwrite", partition_by=columns or None, storage_options=options)
    if removed or _old_files(place, marks):
        DeltaTable(place, storage_options=options).vacuum(
            retention_hours=0, enforce_retention_duration=False, dry_run=False
        )
    return removed


def _old_files(place: str, marks: Sequence[str]) -> list[str]:
    """Give the files of earlier versions that name a mark; on object storage, all of earlier versions."""
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    table = DeltaTable(place, storage_options=delta_options(place))
    files = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=True)
    if is_remote(place):
        return files
    there = (path for path in (Path(place, name) for name in files) if path.exists())
    return [path.name for path in there if _naming(pq.read_table(path, partitioning=None), marks)]


def _read(place: str) -> pa.Table:
    from deltalake import DeltaTable

    return DeltaTable(place, storage_options=delta_options(place)).to_pyarrow_table()


def _naming(table: pa.Table, marks: Sequence[str]) -> int:
    """Count the rows that name a mark."""
    return int(pc.sum(_mask(table, marks)).as_py() or 0)


def _mask(table: pa.Table, marks: Sequence[str]) -> pa.ChunkedArray:
    """Say which rows name a mark in any text column; some ids have a prefix (``prediction:``, ``ehr:``)."""
    found = pa.chunked_array([pa.array([False] * table.num_rows, pa.bool_())])
    for column in table.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            for mark in marks:
                found = pc.or_(found, pc.fill_null(pc.match_substring(column, mark), False))
    return found
