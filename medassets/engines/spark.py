"""A site's Spark: the same functions through Arrow, for sites that run Spark already.

What belongs here: reading the lake and writing ``features/common_features`` from Spark. What does not:
starting a cluster. PySpark comes from the site (the extra ``spark`` for one machine), and so do Delta's jars:
``spark.jars`` (or ``spark.jars.packages``) with ``io.delta:delta-spark``; without them only ``parquet`` can
be read and written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from medassets.engines.base import EngineError, Input, Transformation


class SparkEngine:
    """Works in a Spark session.

    Args:
        session: the site's session; ``None`` takes the active one, or starts one with the site's defaults.
        layout: ``delta``, or ``parquet`` where Delta's jars are missing.

    Raises:
        EngineError: PySpark is not installed.
    """

    name = "spark"

    def __init__(self, session: Any = None, layout: str = "delta") -> None:
        try:
            from pyspark.sql import SparkSession
        except ImportError as error:
            raise EngineError(
                "MEDASSETS_ENGINE=spark needs pyspark: pip install 'medassets[spark]'"
            ) from error
        self._spark = session or SparkSession.builder.appName("medassets").getOrCreate()
        self.layout = layout

    def apply(self, source: Input, by: Transformation) -> pa.Table:
        """Transform a table and give the result."""
        found: pa.Table = self._transformed(source, by).toArrow().cast(by.schema)
        return found

    def write(self, source: Input, by: Transformation, target: str) -> int:
        """Transform a table into the lake; the written table is counted."""
        self._transformed(source, by).write.format(self.layout).mode("overwrite").save(target)
        rows: int = self._spark.read.format(self.layout).load(target).count()
        return rows

    def query(self, sql: str, tables: Mapping[str, Input]) -> pa.Table:
        """Answer a query with Spark SQL."""
        for name, source in tables.items():
            self._frame(source).createOrReplaceTempView(name)
        found: pa.Table = self._spark.sql(sql).toArrow()
        return found

    def _frame(self, source: Input) -> Any:
        if isinstance(source, str):
            return self._spark.read.format(self.layout).load(source)
        return self._spark.createDataFrame(source)

    def _transformed(self, source: Input, by: Transformation) -> Any:
        from pyspark.sql.pandas.types import from_arrow_schema

        names, schema = list(by.columns), by.schema

        def transform(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                if batch.num_rows:
                    rows = by(pa.Table.from_batches([batch]).select(names))
                    yield from rows.cast(schema).combine_chunks().to_batches()

        return self._frame(source).select(names).mapInArrow(transform, from_arrow_schema(schema))
