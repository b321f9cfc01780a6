"""Columns whose cells are Python list literals, as DDXPlus writes them, parsed a column at a time.

What belongs here: ``['E_1', 'E_54_@_V_161']`` and ``[['Anemia', 0.2], ...]`` to flat arrays. What does not:
what the entries mean. A cell in the usual form is checked with one strict pattern and then split by Arrow;
any other cell goes through ``ast.literal_eval`` (which evaluates nothing but literals), and what that refuses
is reported as bad.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_TEXT = r"'[^'\\\"\n]*'"
_NUMBER = r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
_PAIR = rf"\[{_TEXT}, {_NUMBER}\]"
STRINGS = rf"^\[{_TEXT}(, {_TEXT})*\]$"
PAIRS = rf"^\[{_PAIR}(, {_PAIR})*\]$"


@dataclass(frozen=True)
class FlatLists:
    """Entries of all lists, in order.

    Attributes:
        rows: (n_entries,) int64, row of each entry, ascending.
        texts: (n_entries,) strings.
        numbers: (n_entries,) float64, second halves of pairs; 0 for plain strings.
        bad: (n_rows,) bool, the cell is not such a list; it has no entries.
    """

    rows: np.ndarray
    texts: pa.StringArray
    numbers: np.ndarray
    bad: np.ndarray


def parse_strings(column: pa.StringArray) -> FlatLists:
    """Parse cells such as ``['E_1', 'E_54_@_V_161']``; an empty cell is bad, ``[]`` is an empty list."""
    usual = pc.match_substring_regex(column, STRINGS).to_numpy(zero_copy_only=False)
    lists = pc.split_pattern(_inside(column.filter(pa.array(usual)), 2, -2), "', '")
    rows = np.flatnonzero(usual)[pc.list_parent_indices(lists).to_numpy()]
    odd = [(row, _literal(column[row].as_py(), str)) for row in np.flatnonzero(~usual).tolist()]
    return _join(len(column), rows, pc.list_flatten(lists), np.zeros(len(rows)), odd)


def parse_pairs(column: pa.StringArray) -> FlatLists:
    """Parse cells such as ``[['Anemia', 0.2], ['GERD', 0.1]]``."""
    usual = pc.match_substring_regex(column, PAIRS).to_numpy(zero_copy_only=False)
    lists = pc.split_pattern(_inside(column.filter(pa.array(usual)), 3, -2), "], ['")
    rows = np.flatnonzero(usual)[pc.list_parent_indices(lists).to_numpy()]
    halves = pc.list_flatten(pc.split_pattern(pc.list_flatten(lists), "', "))
    texts = pc.take(halves, pa.array(np.arange(0, len(halves), 2)))
    numbers = pc.take(halves, pa.array(np.arange(1, len(halves), 2))).cast(pa.float64()).to_numpy()
    odd = [(row, _literal(column[row].as_py(), tuple)) for row in np.flatnonzero(~usual).tolist()]
    return _join(len(column), rows, texts, numbers, odd)


def _inside(column: pa.StringArray, start: int, stop: int) -> pa.StringArray:
    """Cut the brackets and outer quotes off; bytes, because the cut characters are ASCII."""
    return pc.binary_slice(column.cast(pa.binary()), start, stop).cast(pa.string())


def _literal(cell: str, kind: type) -> list[tuple[str, float]] | None:
    """Entries of one cell in an unusual form, or None if it is not such a list."""
    if cell == "[]":  # the most frequent by far
        return []
    try:
        value = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    entries: list[tuple[str, float]] = []
    for item in value:
        if kind is str and isinstance(item, str):
            entries.append((item, 0.0))
        elif (
            kind is tuple
            and isinstance(item, list | tuple)
            and len(item) == 2
            and isinstance(item[0], str)
            and isinstance(item[1], int | float)
        ):
            entries.append((item[0], float(item[1])))
        else:
            return None
    return entries


def _join(
    count: int,
    rows: np.ndarray,
    texts: pa.StringArray,
    numbers: np.ndarray,
    odd: list[tuple[int, list[tuple[str, float]] | None]],
) -> FlatLists:
    bad = np.zeros(count, dtype=bool)
    extra_rows: list[int] = []
    extra: list[tuple[str, float]] = []
    for row, entries in odd:
        bad[row] = entries is None
        extra_rows.extend([row] * len(entries or ()))
        extra.extend(entries or ())
    if extra:
        rows = np.concatenate([rows, np.array(extra_rows, dtype=np.int64)])
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        texts = pa.concat_arrays([texts, pa.array([text for text, _ in extra], pa.string())]).take(
            pa.array(order)
        )
        numbers = np.concatenate([numbers, [number for _, number in extra]])[order]
    return FlatLists(rows, texts, numbers, bad)
