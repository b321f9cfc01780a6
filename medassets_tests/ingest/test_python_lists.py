import ast

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from medassets.ingest.python_lists import parse_pairs, parse_strings

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)


def strings_of(cells: list[str]) -> list[list[str] | None]:
    lists = parse_strings(pa.array(cells, pa.string()))
    result: list[list[str] | None] = [None if bad else [] for bad in lists.bad]
    for row, text in zip(lists.rows, lists.texts.to_pylist(), strict=True):
        result[row].append(text)
    return result


@given(st.lists(st.lists(TEXTS, max_size=4), max_size=5))
def test_whatever_python_writes_is_read(rows: list[list[str]]) -> None:
    assert strings_of([repr(row) for row in rows]) == rows


@given(st.lists(st.lists(st.tuples(TEXTS, st.floats(0, 1)), max_size=4), max_size=5))
def test_pairs_are_read_with_their_numbers(rows: list[list[tuple[str, float]]]) -> None:
    pairs = parse_pairs(pa.array([repr([list(pair) for pair in row]) for row in rows], pa.string()))
    assert not pairs.bad.any()
    got: list[list[tuple[str, float]]] = [[] for _ in rows]
    for row, text, number in zip(pairs.rows, pairs.texts.to_pylist(), pairs.numbers, strict=True):
        got[row].append((text, number))
    assert got == rows


@given(st.lists(st.text("[]'\", aE_1.", max_size=12), max_size=5))
def test_the_quick_way_never_differs_from_the_literal(cells: list[str]) -> None:
    def literal(cell: str) -> list[str] | None:
        try:
            value = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError):
            return None
        return value if isinstance(value, list) and all(isinstance(v, str) for v in value) else None

    assert strings_of(cells) == [literal(cell) for cell in cells]


def test_what_is_no_list_is_bad() -> None:
    cells = ["", "['a'", "('a',)", "[1]", "{'a'}", "['a']x", "[" * 500, "['a', ['b']]"]
    assert strings_of(cells) == [None] * len(cells)
    pairs = parse_pairs(pa.array(["[['a', 'b']]", "[['a', 1, 2]]", "['a']", "[['a', 0.5]"], pa.string()))
    assert pairs.bad.all() and len(pairs.rows) == 0
