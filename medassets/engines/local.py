"""One machine: Arrow batches through the transformation, polars for queries. The default.

What belongs here: the local engine. What does not: what is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from medassets.engines.base import BATCH_ROWS, Input, Transformation
from medassets.stores.addresses import delta_options


class LocalEngine:
    """Works in this process, batch by batch."""

    name = "local"

    def apply(self, source: Input, by: Transformation) -> pa.Table:
        """Transform a table and give the result."""
        return pa.Table.from_batches(self._batches(source, by), schema=by.schema)

    def write(self, source: Input, by: Transformation, target: str) -> int:
        """Transform a table into a Delta table as a stream."""
        from deltalake import write_deltalake

        rows = 0

        def counted() -> Iterator[pa.RecordBatch]:
            nonlocal rows
            for batch in _in_a_thread(self._batches(source, by)):
                rows += batch.num_rows
                yield batch

        stream = pa.RecordBatchReader.from_batches(by.schema, counted())
        options = delta_options(target)
        write_deltalake(target, stream, mode="overwrite", schema_mode="overwrite", storage_options=options)
        return rows

    def query(self, sql: str, tables: Mapping[str, Input]) -> pa.Table:
        """Answer a query with polars."""
        import polars as pl

        frames: dict[str, Any] = {
            name: pl.scan_delta(source, storage_options=delta_options(source))
            if isinstance(source, str)
            else pl.from_arrow(source).lazy()  # type: ignore[union-attr]  # a table is never a series
            for name, source in tables.items()
        }
        found = pl.SQLContext(frames=frames).execute(sql).collect(engine="streaming")
        return found.to_arrow(compat_level=pl.CompatLevel.oldest())

    @staticmethod
    def _batches(source: Input, by: Transformation) -> Iterator[pa.RecordBatch]:
        for batch in _read(source, by.columns):
            if batch.num_rows:
                rows = by(pa.Table.from_batches([batch]))
                yield from rows.cast(by.schema).combine_chunks().to_batches()


def _read(source: Input, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    if isinstance(source, str):
        from deltalake import DeltaTable

        table = DeltaTable(source, storage_options=delta_options(source))
        yield from table.to_pyarrow_dataset().to_batches(columns=list(columns), batch_size=BATCH_ROWS)
    else:
        yield from source.select(list(columns)).to_batches(max_chunksize=BATCH_ROWS)


def _in_a_thread(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Make batches in a thread of their own, one ahead: deltalake cannot read where it asks for rows."""
    with ThreadPoolExecutor(1, thread_name_prefix="transform") as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
