"""A cluster: Daft on Ray. The same queries and functions, spread over machines.

What belongs here: Daft's runner and the way from Arrow functions to its own. What does not: what is computed.
``MEDASSETS_RAY_ADDRESS`` names the cluster (``ray://host:10001`` or ``auto``); without it Ray starts on this
machine, which costs some twenty seconds and shows that both engines give the same tables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from medassets.engines.base import BATCH_ROWS, EngineError, Input, Transformation
from medassets.stores.addresses import is_remote


class DaftEngine:
    """Works on Ray, or with Daft's own runner on this machine.

    Args:
        ray: on Ray; else in this process.
        address: of the Ray cluster; ``None`` starts one here.

    Raises:
        EngineError: the packages of the extra ``cluster`` are not installed.
    """

    name = "ray"

    def __init__(self, *, ray: bool = True, address: str | None = None) -> None:
        os.environ.setdefault("DO_NOT_TRACK", "true")
        try:
            import daft
        except ImportError as error:
            raise EngineError(
                "MEDASSETS_ENGINE=ray needs the extra cluster: pip install 'medassets[cluster]'"
            ) from error
        self._daft: Any = daft
        if ray:
            daft.set_runner_ray(address=address, noop_if_initialized=True)
        else:
            daft.set_runner_native()

    def apply(self, source: Input, by: Transformation) -> pa.Table:
        """Transform a table and give the result."""
        return self._transformed(source, by).to_arrow().cast(by.schema)

    def write(self, source: Input, by: Transformation, target: str) -> int:
        """Transform a table into a Delta table."""
        written = self._transformed(source, by).write_deltalake(
            target, mode="overwrite", schema_mode="overwrite", io_config=self._access(target)
        )
        operations = written.to_pydict()
        return sum(
            rows
            for kind, rows in zip(operations["operation"], operations["rows"], strict=True)
            if kind == "ADD"
        )

    def query(self, sql: str, tables: Mapping[str, Input]) -> pa.Table:
        """Answer a query with Daft."""
        frames = {name: self._frame(source) for name, source in tables.items()}
        found: pa.Table = self._daft.sql(sql, **frames).to_arrow()
        return found

    def _frame(self, source: Input) -> Any:
        if isinstance(source, str):
            return self._daft.read_deltalake(source, io_config=self._access(source))
        return self._daft.from_arrow(source)

    def _transformed(self, source: Input, by: Transformation) -> Any:
        daft = self._daft
        names, schema = list(by.columns), by.schema
        kind = daft.DataType.struct({f.name: daft.DataType.from_arrow_type(f.type) for f in schema})

        @daft.func.batch(return_dtype=kind, unnest=True, batch_size=BATCH_ROWS)
        def transform(*columns: Any) -> Any:
            rows = by(pa.table([column.to_arrow() for column in columns], names=names))
            return rows.cast(schema).to_struct_array().combine_chunks()

        return self._frame(source).select(transform(*(daft.col(name) for name in names)))

    def _access(self, address: str) -> Any:
        """Give Daft's access to S3 from the environment that the other readers use; ``None`` for folders."""
        if not is_remote(address):
            return None
        from daft.io import IOConfig, S3Config

        return IOConfig(
            s3=S3Config(
                region_name=os.environ.get("AWS_REGION"),
                endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
                use_ssl=os.environ.get("AWS_ALLOW_HTTP", "").lower() != "true",
            )
        )
