"""Delta tables of the lake: read at a version, overwrite whole or by partition, retried where writers
collide.

What belongs here: the Delta protocol (commits, versions, partitions). What does not: Dagster
(``io_managers``) and the tables' schemas (``cohorts.tables``). A write is one Delta commit: a process that
dies in the middle leaves the last good version, and two writers never mix. Protocol:
https://github.com/delta-io/delta/blob/master/PROTOCOL.md
"""

from __future__ import annotations

import operator
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from medassets.orchestration.content import table_hash
from medassets.stores.addresses import delta_options, is_remote

#: Key of a commit's own note on what it wrote.
HASH_KEY = "medassets.content_hash"
#: Attempts of one commit before a collision is given up as an error.
ATTEMPTS = 12


@dataclass(frozen=True)
class Written:
    """What a write did: the version that now holds the content, and whether it had to be written."""

    version: int
    content_hash: str
    rows: int
    written: bool


@dataclass(frozen=True)
class Partition:
    """A slice of a table: the rows that hold one of the values in each of the columns, as text."""

    values: Mapping[str, Sequence[str]]

    def predicate(self) -> str:
        """Give the slice as a Delta predicate."""
        return " AND ".join(f"{column} IN ({_quoted(values)})" for column, values in self.values.items())

    def rows(self) -> pc.Expression:
        """Give the slice as a filter of rows."""
        tests = (pc.field(column).isin(list(values)) for column, values in self.values.items())
        return reduce(operator.and_, tests)


class LakeTable:
    """One Delta table at ``path``: a folder, or ``s3://...``."""

    def __init__(self, path: Path | str, primary_key: Sequence[str] = ()) -> None:
        self.path = path
        self.primary_key = tuple(primary_key)
        self._options = delta_options(path)

    def exists(self) -> bool:
        """Say whether the table has a first version."""
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(str(self.path), self._options)

    def version(self) -> int:
        """Give the newest version.

        Raises:
            FileNotFoundError: there is no table yet.
        """
        return self._open(None).version()

    def read(self, version: int | None = None, partition: Partition | None = None) -> pa.Table:
        """Read the newest or a given version, whole or one slice.

        Raises:
            FileNotFoundError: there is no table, or not that version.
        """
        table = self._open(version)
        if partition is None:
            return table.to_pyarrow_table()
        # Pruned while the log is read: the other files of a thousand partitions are not even looked at.
        files = table.to_pyarrow_dataset(file_pruning_predicate=partition.predicate())
        return files.to_table(filter=partition.rows())

    def content_hash(self, partition: Partition | None = None) -> str:
        """Hash what the newest version holds."""
        return table_hash(self.read(partition=partition), self.primary_key)

    def write(
        self,
        data: pa.Table,
        *,
        partition: Partition | None = None,
        description: str | None = None,
        notes: Mapping[str, str] | None = None,
    ) -> Written:
        """Replace the table, or the slice, by ``data`` unless it holds the same content already.

        Args:
            data: rows with the declared schema; for a slice, only rows of that slice.
            partition: the slice to replace; a new table is partitioned by its columns.
            description: description kept in the Delta metadata.
            notes: text kept with the commit, for example the Dagster run.

        Returns:
            The version that holds the content.

        Raises:
            deltalake.exceptions.CommitFailedError: other writers won every attempt.
            ValueError: rows lie outside the slice.
        """
        wanted = table_hash(data, self.primary_key)
        if partition is not None:
            self._refuse_rows_outside(data, partition)
        if self.exists() and self._holds(data.schema, wanted, partition):
            return Written(self.version(), wanted, data.num_rows, written=False)
        self._commit(data, partition, description, {**(notes or {}), HASH_KEY: wanted})
        return Written(self.version(), wanted, data.num_rows, written=True)

    def _open(self, version: int | None):  # type: ignore[no-untyped-def]  # deltalake is imported late
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return DeltaTable(str(self.path), version=version, storage_options=self._options)
        except TableNotFoundError as error:
            raise FileNotFoundError(f"{self.path} holds no table yet: materialize it first") from error
        except DeltaError as error:
            raise FileNotFoundError(f"{self.path} holds no version {version}: {error}") from error

    def _holds(self, schema: pa.Schema, wanted: str, partition: Partition | None) -> bool:
        held = self.read(partition=partition)
        return held.schema.names == schema.names and table_hash(held, self.primary_key) == wanted

    def _commit(
        self, data: pa.Table, partition: Partition | None, description: str | None, notes: Mapping[str, str]
    ) -> None:
        from deltalake import CommitProperties, PostCommitHookProperties, write_deltalake
        from deltalake.exceptions import CommitFailedError, DeltaError

        if not is_remote(self.path):
            Path(self.path).mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            slice_exists = partition is not None and self.exists()
            try:
                write_deltalake(
                    str(self.path),
                    data,
                    mode="overwrite",
                    schema_mode=None if slice_exists else "overwrite",
                    predicate=partition.predicate() if partition and slice_exists else None,
                    partition_by=list(partition.values) if partition and not slice_exists else None,
                    description=description,
                    storage_options=self._options,
                    commit_properties=CommitProperties(custom_metadata=dict(notes)),
                    # Bundles name versions: their logs stay, and retention decides about their files.
                    post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
                )
            except (CommitFailedError, DeltaError) as error:
                if attempt == ATTEMPTS or not _is_collision(error):
                    raise
                time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 6)))
            else:
                return

    @staticmethod
    def _refuse_rows_outside(data: pa.Table, partition: Partition) -> None:
        for column, values in partition.values.items():
            found = {str(value) for value in data.column(column).unique().to_pylist()}
            if stray := sorted(found - set(values)):
                raise ValueError(f"column {column} holds {stray[:5]}, but this run writes {list(values)}")


def _quoted(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def _is_collision(error: BaseException) -> bool:
    """Say whether another writer came first, so that reopening and trying again can help."""
    from deltalake.exceptions import CommitFailedError

    text = str(error).lower()
    return isinstance(error, CommitFailedError) or "already exists" in text or "version conflict" in text
