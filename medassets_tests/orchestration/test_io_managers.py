"""Values between assets: types by annotation, versions by content, time travel, partitions, models."""

from pathlib import Path

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from medassets.cohorts.tables import SchemaError
from medassets.orchestration.io_managers import rectangle
from medassets.orchestration.source_files import SourceFile, record
from medassets_tests.orchestration.toys import LETTERS, ToyModel

ROWS = [{"id": "a", "age": 3, "tags": ["x"]}, {"id": "b", "age": None, "tags": None}]


def _letters(rows=ROWS, kind=pa.Table):
    table = pa.Table.from_pylist(rows, schema=LETTERS.schema)

    @dg.asset(key=["toy", "letters"], io_manager_key="io_manager")
    def letters():
        if kind is pl.DataFrame:
            return pl.from_arrow(table)
        if kind is pl.LazyFrame:
            return pl.from_arrow(table).lazy()
        if kind is pd.DataFrame:
            # A filtered frame carries an index that is not 0..n: it must not become a column.
            return pl.from_arrow(table).to_pandas().iloc[::-1]
        return table

    return letters


def _materialization(result: dg.ExecuteInProcessResult, key: str) -> dg.AssetMaterialization:
    (event,) = result.asset_materializations_for_node(key.replace("/", "__"))
    return event


def _metadata(result: dg.ExecuteInProcessResult, key: str) -> dict:
    return {name: value.value for name, value in _materialization(result, key).metadata.items()}


@pytest.mark.parametrize("kind", [pa.Table, pl.DataFrame, pl.LazyFrame, pd.DataFrame])
def test_every_table_type_goes_in_and_comes_out(kind, resources, instance):
    seen = []

    @dg.asset(ins={"letters": dg.AssetIn(["toy", "letters"])}, io_manager_key="mem")
    def reader(letters: kind) -> None:
        seen.append(letters)

    resources |= {"mem": dg.mem_io_manager}
    result = dg.materialize([_letters(kind=kind), reader], resources=resources, instance=instance)
    assert result.success
    assert isinstance(seen[0], kind)
    frame = seen[0].collect() if kind is pl.LazyFrame else seen[0]
    assert sorted(frame["id"].to_pylist() if kind is pa.Table else list(frame["id"])) == ["a", "b"]
    metadata = _metadata(result, "toy/letters")
    assert metadata["dagster/row_count"] == 2
    column = metadata["dagster/column_schema"].columns[0]
    assert (column.name, column.description) == ("id", "which row")
    assert "| a | 3 |" in metadata["preview"] or "| b |" in metadata["preview"]


def test_the_data_version_is_the_content(resources, instance):
    first = dg.materialize([_letters()], resources=resources, instance=instance)
    second = dg.materialize([_letters(ROWS[::-1])], resources=resources, instance=instance)
    changed = dg.materialize([_letters(ROWS[:1])], resources=resources, instance=instance)
    tags = [_materialization(r, "toy/letters").tags["dagster/data_version"] for r in (first, second, changed)]
    assert tags[0] == tags[1] != tags[2]
    assert tags[0] == _metadata(first, "toy/letters")["content_hash"]
    assert [_metadata(r, "toy/letters")["written"] for r in (first, second, changed)] == [True, False, True]
    assert [_metadata(r, "toy/letters")["delta_version"] for r in (first, second, changed)] == [0, 0, 1]


@pytest.mark.parametrize("by", ["metadata", "resource"])
def test_an_earlier_version_can_be_read(by, resources, instance):
    seen = []
    pin = {"version": 0} if by == "metadata" else {}

    @dg.asset(ins={"letters": dg.AssetIn(["toy", "letters"], metadata=pin)}, io_manager_key="mem")
    def reader(letters: pa.Table) -> None:
        seen.append(letters.num_rows)

    resources |= {"mem": dg.mem_io_manager}
    dg.materialize([_letters()], resources=resources, instance=instance)
    if by == "resource":
        pinned = resources["io_manager"].model_copy(update={"versions": {"toy/letters": 0}})
        resources |= {"io_manager": type(pinned)(lake_dir=pinned.lake_dir, versions={"toy/letters": 0})}
    dg.materialize([_letters(ROWS[:1]), reader], resources=resources, instance=instance)
    assert seen == [2]


def test_a_value_outside_its_declaration_is_refused(resources, instance):
    @dg.asset(key=["toy", "letters"])
    def letters():
        return pa.table({"id": ["a"], "weight": [1.0]})

    @dg.asset(key=["toy", "undeclared"])
    def undeclared():
        return pa.table({"id": ["a"]})

    with pytest.raises(SchemaError, match="weight"):
        dg.materialize([letters], resources=resources, instance=instance)
    with pytest.raises(SchemaError, match="toy/undeclared is not declared"):
        dg.materialize([undeclared], resources=resources, instance=instance)


def test_a_partition_overwrites_only_itself(resources, instance):
    days = dg.StaticPartitionsDefinition(["2026-01-01", "2026-01-02"])
    content = {"2026-01-01": ["a", "b"], "2026-01-02": ["c"]}
    seen = []

    @dg.asset(key=["toy", "days"], partitions_def=days, metadata={"partition_column": "day"})
    def by_day(context: dg.AssetExecutionContext) -> pa.Table:
        ids = content[context.partition_key]
        return pa.table({"id": ids, "day": [context.partition_key] * len(ids)})

    @dg.asset(ins={"by_day": dg.AssetIn(["toy", "days"])}, partitions_def=days, io_manager_key="mem")
    def reader(by_day: pa.Table) -> None:
        seen.append(by_day.column("id").to_pylist())

    resources |= {"mem": dg.mem_io_manager}
    for day in content:
        dg.materialize([by_day, reader], partition_key=day, resources=resources, instance=instance)
    content["2026-01-01"] = ["z"]
    dg.materialize([by_day, reader], partition_key="2026-01-01", resources=resources, instance=instance)
    assert seen == [["a", "b"], ["c"], ["z"]]
    assert sorted(resources["io_manager"].table("toy/days").read().column("id").to_pylist()) == ["c", "z"]


def test_two_dimensions_are_two_columns_and_one_run_makes_a_rectangle_of_them():
    days, sites = ["2026-01-01", "2026-01-02"], ["north", "south"]
    both = dg.MultiPartitionsDefinition(
        {"day": dg.StaticPartitionsDefinition(days), "site": dg.StaticPartitionsDefinition(sites)}
    )
    every = both.get_partition_keys()
    assert rectangle(both, every).values == {"day": tuple(days), "site": tuple(sites)}
    assert rectangle(both, every[:1]).predicate() == "day IN ('2026-01-01') AND site IN ('north')"
    with pytest.raises(ValueError, match="every combination of its day and site"):
        rectangle(both, every[:3])


def test_a_model_is_the_value_and_its_version_the_content(resources, instance, tracking):
    seen = []

    def graph(weight):
        @dg.asset(key=["models", "toy_model"], io_manager_key="model_io_manager", deps=[["toy", "letters"]])
        def toy_model():
            return ToyModel(weight)

        @dg.asset(ins={"model": dg.AssetIn(["models", "toy_model"])}, io_manager_key="mem")
        def user(model) -> None:
            seen.append((type(model), model.weight))

        return [_letters(), toy_model, user]

    resources |= {"mem": dg.mem_io_manager}
    results = [dg.materialize(graph(w), resources=resources, instance=instance) for w in (0.5, 0.5, 0.75)]
    assert seen == [(ToyModel, 0.5), (ToyModel, 0.5), (ToyModel, 0.75)]
    found = [_metadata(r, "models/toy_model") for r in results]
    assert [m["written"] for m in found] == [True, False, True]
    assert [m["model_version"] for m in found] == [1, 1, 2]
    assert found[2]["top1"] == 0.75
    run = tracking.client().get_run(found[2]["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.params["nested.rate"] == "0.1"
    assert run.data.tags["medassets.dagster_run"] == results[2].run_id
    letters = _materialization(results[2], "toy/letters").tags["dagster/data_version"]
    assert run.data.tags["input/toy/letters"] == letters
    assert tracking.load("toy_model", version="1").weight == 0.5


def test_a_missing_model_says_what_to_do(tracking):
    with pytest.raises(LookupError, match="no model never_trained with alias candidate"):
        tracking.load("never_trained")


def test_a_source_is_recorded_and_verified(resources, instance, tmp_path: Path):
    file = tmp_path / "release.zip"
    file.write_bytes(b"abc")
    seen = []

    @dg.asset(key=["sources", "release"], io_manager_key="source_io_manager")
    def release():
        return record("release", "folder", file, licence="CC0-1.0")

    @dg.asset(ins={"release": dg.AssetIn(["sources", "release"])}, io_manager_key="mem")
    def reader(release: SourceFile) -> None:
        seen.append(release)

    resources |= {"mem": dg.mem_io_manager}
    result = dg.materialize([release, reader], resources=resources, instance=instance)
    metadata = _metadata(result, "sources/release")
    assert metadata["bytes"] == 3 and metadata["origin"] == "folder" and metadata["licence"] == "CC0-1.0"
    assert _materialization(result, "sources/release").tags["dagster/data_version"] == metadata["sha256"]
    assert seen[0].open_path() == file

    file.write_bytes(b"abd")
    with pytest.raises(ValueError, match="has changed since it was recorded"):
        dg.materialize([release, reader], selection=[reader], resources=resources, instance=instance)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="is gone"):
        dg.materialize([release, reader], selection=[reader], resources=resources, instance=instance)


def test_an_absent_source_is_a_state_not_an_error():
    absent = record("mondo_mappings", "folder", None)
    assert (absent.version, absent.present) == ("absent", False)
    absent.verify()
    with pytest.raises(FileNotFoundError, match="absent from this installation"):
        absent.open_path()
