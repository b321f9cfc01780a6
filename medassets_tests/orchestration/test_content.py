"""Content hashes: the same content has the same version, whatever its order, chunks or engine."""

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.orchestration.content import file_sha256, folder_hash, table_hash

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("n", pa.int32()),
        ("found", pa.list_(pa.string())),
        ("differential", pa.list_(pa.struct([("condition", pa.string()), ("probability", pa.float64())]))),
        ("flag", pa.bool_()),
    ]
)
ROW = st.tuples(
    st.none() | st.integers(-5, 5),
    st.none() | st.lists(st.text(max_size=3), max_size=3),
    st.none()
    | st.lists(
        st.fixed_dictionaries({"condition": st.text(max_size=2), "probability": st.floats(0, 1)}), max_size=2
    ),
    st.none() | st.booleans(),
)


def _table(rows: list[tuple]) -> pa.Table:
    records = [dict(zip(SCHEMA.names, (f"p{i}", *row), strict=True)) for i, row in enumerate(rows)]
    return pa.Table.from_pylist(records, schema=SCHEMA)


@given(st.lists(ROW, max_size=8), st.randoms(use_true_random=False), st.integers(0, 8))
def test_order_and_chunks_do_not_matter(rows, random, cut):
    table = _table(rows)
    order = list(range(table.num_rows))
    random.shuffle(order)
    moved = table.take(pa.array(order, pa.int64()))
    chunked = pa.concat_tables([moved.slice(0, cut), moved.slice(cut)])
    assert table_hash(chunked, ["id"]) == table_hash(table, ["id"])


@given(st.lists(ROW, min_size=1, max_size=8))
def test_a_changed_value_changes_the_hash(rows):
    table = _table(rows)
    numbers = table.column("n").to_pylist()
    numbers[-1] = 99
    changed = table.set_column(1, SCHEMA.field("n"), pa.array(numbers, pa.int32()))
    assert table_hash(changed, ["id"]) != table_hash(table, ["id"])


def test_null_empty_and_zero_are_three_things():
    hashes = {table_hash(_table([(n, found, None, None)])) for n in (None, 0) for found in (None, [], [""])}
    assert len(hashes) == 6


def test_polars_reads_the_same_content():
    table = _table(
        [(1, ["a", "b"], [{"condition": "x", "probability": 0.5}], True), (None, None, None, None)]
    )
    assert table_hash(pl.from_arrow(table).to_arrow(), ["id"]) == table_hash(table, ["id"])


def test_folder_hash_ignores_times_and_sees_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a.json").write_text("{}")
    assert folder_hash(tmp_path / "one") == folder_hash(tmp_path / "two")
    (tmp_path / "two" / "sub" / "a.json").write_text("{ }")
    assert folder_hash(tmp_path / "one") != folder_hash(tmp_path / "two")
    with pytest.raises(FileNotFoundError):
        folder_hash(tmp_path / "three")


def test_file_sha256_is_the_standard_one(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
