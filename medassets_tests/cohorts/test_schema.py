import pyarrow as pa
import pytest

from medassets.cohorts.tables import (
    TABLES,
    SchemaError,
    Table,
    column,
    conform,
    data_dictionary,
    duplicated_keys,
    register,
)

SPEC = Table(
    "clinical/toy",
    pa.schema([column("key", pa.string(), "the key"), column("n", pa.int32(), "a number", required=False)]),
    ("key",),
    "One row a toy.",
)


def test_conform_orders_casts_and_fills_what_may_be_empty() -> None:
    table = conform(pa.table({"n": pa.array([1, 2], pa.int64()), "key": ["a", "b"]}), SPEC)
    assert table.schema.equals(SPEC.schema)
    assert table.to_pylist() == [{"key": "a", "n": 1}, {"key": "b", "n": 2}]
    assert conform(pa.table({"key": ["a"]}), SPEC).to_pylist() == [{"key": "a", "n": None}]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"n": [1]}, "required column 'key' .* is missing"),
        ({"key": [None, "a"], "n": [1, 2]}, "required column 'key' is empty in 1 of 2 rows"),
        ({"key": ["a"], "n": ["many"]}, "column 'n' is string, declared as int32"),
        ({"key": ["a"], "n": [2**40]}, "column 'n' is int64, declared as int32"),
        ({"key": ["a"], "other": [1]}, "column 'other' is not declared; allowed: key, n"),
    ],
)
def test_what_does_not_conform_is_named(columns: dict[str, list[object]], message: str) -> None:
    with pytest.raises(SchemaError, match=f"clinical/toy: {message}"):
        conform(pa.table(columns), SPEC)


def test_duplicated_keys_stand_once_each() -> None:
    assert duplicated_keys(pa.table({"key": ["b", "a", "a", "b", "a"]}), SPEC) == [("a",), ("b",)]


def test_primary_key_must_be_a_column() -> None:
    with pytest.raises(SchemaError, match="primary key column 'id'"):
        Table("clinical/toy", SPEC.schema, ("id",), "")


def test_registering_another_schema_under_a_taken_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, SPEC.key, SPEC)
    register([SPEC])
    other = Table(SPEC.key, pa.schema([column("key", pa.string(), "another")]), ("key",), "")
    with pytest.raises(SchemaError, match="declared twice"):
        register([other])


@pytest.mark.parametrize("spec", TABLES.values(), ids=TABLES)
def test_every_table_is_fully_described(spec: Table) -> None:
    layer, name = spec.key.split("/")
    assert layer and name and spec.description
    assert all(spec.describe(field.name) for field in spec.schema)
    assert set(spec.primary_key) <= set(spec.required)
    assert conform(spec.empty(), spec).num_rows == 0


def test_data_dictionary_names_each_column_once() -> None:
    text = data_dictionary([SPEC])
    assert "## clinical/toy" in text
    assert "| key | `string` | yes | the key |" in text
    assert "| n | `int32` | no | a number |" in text
