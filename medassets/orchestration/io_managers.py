"""How values pass between assets: tables through Delta, models through MLflow, source files by record.

What belongs here: Dagster's IO managers and the data versions they set. What does not: Delta (``lake``),
MLflow (``tracking``) and schemas (``cohorts.tables``). Every data version is a hash of content, so an asset
that is made again with the same result leaves what hangs below it untouched.
"""

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import dagster as dg
import pyarrow as pa
from pydantic import Field

from medassets.cohorts.tables import TABLES, SchemaError, conform
from medassets.orchestration.lake import LakeTable, Partition
from medassets.orchestration.lake_format import stamp
from medassets.orchestration.metadata import markdown_table, metrics_metadata, table_metadata
from medassets.orchestration.source_files import SourceFile
from medassets.orchestration.tracking import MlflowTracking
from medassets.orchestration.weights_biases import mirror_of
from medassets.stores.addresses import is_remote, join


@runtime_checkable
class Holds(Protocol):
    """An IO manager that can say whether it still has an asset's value."""

    def holds(self, key: str) -> bool:
        """Say whether the value of ``layer/name`` is stored."""


def key_of(context: dg.InputContext | dg.OutputContext) -> str:
    """Give the asset key as ``layer/name``."""
    return context.asset_key.to_user_string()


def set_data_version(context: dg.OutputContext, version: str) -> None:
    """Make ``version`` the data version of the materialization that is being stored."""
    context.step_context.set_data_version(context.asset_key, dg.DataVersion(version))
    context.add_output_metadata({"content_hash": version})


class DeltaIOManager(dg.ConfigurableIOManager):
    """Tables in the lake, one Delta table an asset at ``<lake>/<layer>/<name>``.

    In and out by type annotation: ``pyarrow.Table`` (default), ``polars.DataFrame``, ``polars.LazyFrame``,
    ``pandas.DataFrame``. A partitioned asset names its column in its metadata (``partition_column``; several
    dimensions are columns of their names) and overwrites only its own partitions. An input is read at a
    version where its ``AssetIn`` has ``metadata={"version": n}`` or ``versions`` pins the asset.

    Attributes:
        lake_dir: root of the tables, a folder or ``s3://...``.
        versions: asset key to Delta version, for reading as of an earlier state.
    """

    lake_dir: str
    versions: dict[str, int] = Field(default_factory=dict)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Refuse a lake that a newer version wrote, before any step of a run.

        Raises:
            LakeFormatError: it is newer.
        """
        if not is_remote(self.lake_dir):
            stamp(Path(self.lake_dir))

    def table(self, key: str) -> LakeTable:
        """Give the Delta table of an asset key."""
        spec = TABLES.get(key)
        return LakeTable(join(self.lake_dir, key), spec.primary_key if spec else ())

    def holds(self, key: str) -> bool:
        """Say whether the table exists."""
        return self.table(key).exists()

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Conform the value to its declared schema and commit it.

        Raises:
            SchemaError: the table is not declared, or the value does not fit the declaration.
        """
        key = key_of(context)
        spec = TABLES.get(key)
        if spec is None:
            raise SchemaError(f"{key} is not declared in medassets.cohorts.tables.TABLES")
        data = conform(as_arrow(obj), spec)
        result = self.table(key).write(
            data,
            partition=_partition(context),
            description=spec.description,
            notes={"medassets.dagster_run": context.run_id},
        )
        set_data_version(context, result.content_hash)
        context.add_output_metadata(
            {
                **table_metadata(data, spec),
                "delta_version": result.version,
                "written": result.written,
                "path": dg.MetadataValue.path(str(self.table(key).path)),
            }
        )

    def load_input(self, context: dg.InputContext) -> Any:
        """Read an upstream table as the annotated type.

        Raises:
            FileNotFoundError: the table, or the version asked for, does not exist.
        """
        key = key_of(context)
        version = (context.definition_metadata or {}).get("version", self.versions.get(key))
        found = self.table(key).read(version, _partition(context))
        # An earlier version may have been written under an earlier schema; only the newest must conform.
        data = conform(found, TABLES[key]) if key in TABLES and version is None else found
        return from_arrow(data, context.dagster_type.typing_type)


class ModelIOManager(dg.ConfigurableIOManager):
    """Models in the MLflow registry: the asset's value is the model itself, going in and coming out.

    An input is the newest version (alias ``candidate``) unless its ``AssetIn`` has ``metadata={"alias":
    ...}`` or ``{"version": ...}``.
    """

    tracking: MlflowTracking
    wandb: dict[str, str] = Field(
        default_factory=dict, description="project, directory and mode of a mirror; empty: none"
    )

    def holds(self, key: str) -> bool:
        """Say whether the store exists; asking for the very version would cost seconds of imports."""
        return self.tracking.started()

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Save, log and register a model; the same content keeps its version."""
        key = key_of(context)
        name = context.asset_key.path[-1]
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "model")
            folder.mkdir()
            obj.save(folder)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            inputs = _input_versions(context)
            run = context.step_context.dagster_run
            version = self.tracking.keep(
                obj, folder, name, run=run, log=context.log, asset=key, inputs=inputs
            )
        if version.registered and self.wandb:
            facts = {"dagster_run": run.run_id, "mlflow_run": version.run_id}
            mirror_of(self.wandb).show(name, version.version, obj.metadata, inputs, facts)
        set_data_version(context, version.content_hash)
        described = dict(obj.metadata)
        context.add_output_metadata(
            {
                "model_version": int(version.version),
                "mlflow_run_id": version.run_id,
                "mlflow_store": self.tracking.tracking_uri,
                "written": version.registered,
                "megabytes": round(size / 1e6, 2),
                "params": dg.MetadataValue.json(
                    json.loads(json.dumps(described.get("params", {}), default=str))
                ),
                **metrics_metadata(described.get("metrics", {})),
            }
        )

    def load_input(self, context: dg.InputContext) -> Any:
        """Load an upstream model.

        Raises:
            LookupError: the registry has no such model.
        """
        asked = context.definition_metadata or {}
        name = context.asset_key.path[-1]
        return self.tracking.load(
            name, asked.get("version"), **({"alias": asked["alias"]} if "alias" in asked else {})
        )


class SourceIOManager(dg.ConfigurableIOManager):
    """Source files stay where they were received; their record (path, size, SHA-256, release) is the value.

    Attributes:
        records_dir: folder with one JSON record a source.
    """

    records_dir: str

    def record(self, key: str) -> Path:
        """Give the record of ``layer/name``."""
        return Path(self.records_dir, f"{key}.json")

    def holds(self, key: str) -> bool:
        """Say whether the record exists and the file that it names."""
        record = self.record(key)
        return record.exists() and _read(record).exists()

    def handle_output(self, context: dg.OutputContext, obj: SourceFile) -> None:
        """Keep the record; the data version is the file's SHA-256."""
        record = self.record(key_of(context))
        record.parent.mkdir(parents=True, exist_ok=True)
        scratch = record.with_suffix(".partial")
        scratch.write_text(json.dumps(asdict(obj), indent=1), encoding="utf-8")
        scratch.replace(record)
        set_data_version(context, obj.version)
        shown = {k: v for k, v in asdict(obj).items() if v is not None and k not in ("name", "files")}
        files = markdown_table(
            [{"file": Path(f.path).name, "bytes": f.bytes, "sha256": f.sha256} for f in obj.files]
        )
        context.add_output_metadata({**shown, "files": dg.MetadataValue.md(files)})

    def load_input(self, context: dg.InputContext) -> SourceFile:
        """Read the record of an input, as ``recorded`` does."""
        return self.recorded(key_of(context))

    def recorded(self, key: str) -> SourceFile:
        """Read the record of a source and verify that the file is still the one that was recorded.

        Raises:
            FileNotFoundError: the source was never recorded, or its file is gone.
            ValueError: the file has changed since.
        """
        record = self.record(key)
        if not record.exists():
            raise FileNotFoundError(f"{key} has not been recorded yet: materialize the sources first")
        source = _read(record)
        source.verify()
        return source


def _read(record: Path) -> SourceFile:
    return SourceFile.from_json(json.loads(record.read_text(encoding="utf-8")))


def as_arrow(value: Any) -> pa.Table:
    """Give a table as Arrow.

    Raises:
        TypeError: the value is no table.
    """
    if isinstance(value, pa.Table):
        return value
    module = type(value).__module__.split(".")[0]
    if module == "polars":
        frame = value.collect() if type(value).__name__ == "LazyFrame" else value
        return frame.to_arrow()
    if module == "pandas":
        return pa.Table.from_pandas(value, preserve_index=False)
    raise TypeError(f"a table is expected (Arrow, polars or pandas), not {type(value).__name__}")


def from_arrow(table: pa.Table, wanted: Any) -> Any:
    """Give an Arrow table as the annotated type.

    Raises:
        TypeError: the annotation is no table type.
    """
    if wanted in (None, Any, pa.Table):
        return table
    kind = (wanted.__module__.split(".")[0], wanted.__name__)
    if kind[0] == "polars":
        import polars as pl

        frame = pl.from_arrow(table)
        return frame.lazy() if kind[1] == "LazyFrame" and isinstance(frame, pl.DataFrame) else frame
    if kind == ("pandas", "DataFrame"):
        return table.to_pandas()
    raise TypeError(f"no table can be given as {wanted}")


def _partition(context: dg.InputContext | dg.OutputContext) -> Partition | None:
    if not context.has_asset_partitions:
        return None
    definition = context.asset_partitions_def
    if isinstance(definition, dg.MultiPartitionsDefinition):
        return rectangle(definition, context.asset_partition_keys)
    metadata = (
        context.upstream_output.definition_metadata
        if isinstance(context, dg.InputContext) and (context.upstream_output is not None)
        else context.definition_metadata
    )
    column = (metadata or {}).get("partition_column")
    if not column:
        raise ValueError(f"{key_of(context)} is partitioned but names no partition_column in its metadata")
    return Partition({str(column): tuple(context.asset_partition_keys)})


def rectangle(definition: dg.MultiPartitionsDefinition, keys: Sequence[str]) -> Partition:
    """Give the slice of partitions in several dimensions, each of which is a column of its own name.

    Raises:
        ValueError: the keys are not every combination of their parts.
    """
    parts = [definition.get_partition_key_from_str(key).keys_by_dimension for key in keys]
    names = definition.partition_dimension_names
    values = {name: tuple(dict.fromkeys(part[name] for part in parts)) for name in names}
    if math.prod(map(len, values.values())) != len(parts):
        raise ValueError(f"{list(keys)}: one run makes every combination of its {' and '.join(values)}")
    return Partition(values)


def _input_versions(context: dg.OutputContext) -> dict[str, str]:
    """Give the data version of each input of the step, by asset key."""
    records = context.step_context.input_asset_records or {}
    return {
        key.to_user_string(): info.data_version.value
        for key, info in records.items()
        if info is not None and info.data_version is not None
    }
