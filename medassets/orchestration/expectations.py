"""Great Expectations suites made from the declared schemas and the medical rules.

What belongs here: which expectations a table has, running them, and naming the rows that fail with the
reason. What does not: Dagster's checks (``checks``) and the rules themselves (``cohorts.rules``). Great
Expectations 1.x runs in an ephemeral context: nothing of it is kept on disk. It takes seconds to import and
is imported where it is used.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from medassets.cohorts.rules import Rule
from medassets.cohorts.schema import Table
from medassets.settings import switch_telemetry_off

if TYPE_CHECKING:
    import pandas as pd

#: Least mean completeness of a source's patients, as a share of the expected fields.
LEAST_COMPLETENESS = 0.7
#: What a column of this name may hold, in whichever table it stands.
ALLOWED: Mapping[str, tuple[str, ...]] = {
    "sex": ("M", "F", "unknown"),
    "part": ("train", "validation", "test"),
    "origin": (
        "published_case",
        "ehr",
        "ddxplus",
        "simulated",
        "ctgan",
        "gaussian_copula",
        "mondo",
        "identity",
        "orphanet",
        "pubmed",
    ),
    "kind": ("rare", "common"),
    "aspect": ("P", "I", "C", "M", "H"),
}
#: Bounds of a column of this name.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "age": (0, 130),
    "age_days": (0, 130 * 365.25),
    "completeness": (0, 1),
    "frequency": (0, 1),
    "probability": (0, 1),
}
#: Column of the frame with the number of rows of a row's class.
COUNT_COLUMN = "rows_of_class"
#: Failing rows that a check shows.
SHOWN_ROWS = 25


@dataclass(frozen=True)
class Expectation:
    """One expectation before Great Expectations is imported.

    Attributes:
        check: name of the check that it belongs to.
        kind: class in ``great_expectations.expectations``.
        arguments: its arguments.
        reason: what is wrong with a row that fails.
    """

    check: str
    kind: str
    arguments: Mapping[str, Any]
    reason: str


@dataclass
class Outcome:
    """What a check found: whether it holds, the numbers and the failing rows with their reason."""

    check: str
    passed: bool = True
    evaluated: int = 0
    failing: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def schema_expectations(spec: Table, added: Iterable[str] = ()) -> list[Expectation]:
    """Derive what must hold of a table from its declaration; ``added`` columns only its frame has."""
    found = [
        Expectation(
            "schema",
            "ExpectTableColumnsToMatchOrderedList",
            {"column_list": [*spec.schema.names, *added]},
            "the columns are not the declared ones",
        )
    ]
    found += [
        Expectation("required_fields", "ExpectColumnValuesToNotBeNull", {"column": name}, f"{name} is empty")
        for name in spec.required
    ]
    if len(spec.primary_key) == 1:
        key = spec.primary_key[0]
        found.append(
            Expectation(
                "unique_key", "ExpectColumnValuesToBeUnique", {"column": key}, f"{key} stands more than once"
            )
        )
    elif spec.primary_key:
        found.append(
            Expectation(
                "unique_key",
                "ExpectCompoundColumnsToBeUnique",
                {"column_list": list(spec.primary_key)},
                f"{' + '.join(spec.primary_key)} stands more than once",
            )
        )
    for column in spec.schema:
        found += _value_expectations(column)
    if "completeness" in spec.schema.names:
        found.append(
            Expectation(
                "completeness",
                "ExpectColumnMeanToBeBetween",
                {"column": "completeness", "min_value": LEAST_COMPLETENESS},
                f"on average less than {LEAST_COMPLETENESS:.0%} of the expected fields are filled",
            )
        )
    return found


def _value_expectations(column: pa.Field) -> Iterable[Expectation]:
    described = (column.metadata or {}).get(b"description", b"")
    if column.name in ALLOWED and pa.types.is_string(column.type) and b"of those rows" not in described:
        allowed = list(ALLOWED[column.name])
        yield Expectation(
            "values",
            "ExpectColumnValuesToBeInSet",
            {"column": column.name, "value_set": allowed},
            f"{column.name} is none of {', '.join(allowed)}",
        )
    if column.name in BOUNDS and not pa.types.is_nested(column.type):
        low, high = BOUNDS[column.name]
        yield Expectation(
            "values",
            "ExpectColumnValuesToBeBetween",
            {"column": column.name, "min_value": low, "max_value": high},
            f"{column.name} is outside {low:g} to {high:g}",
        )


def rule_expectations(rules: Iterable[Rule]) -> list[Expectation]:
    """Turn medical rules into expectations over one column each, ``breaks_<rule>``."""
    return [
        Expectation(
            rule.name,
            "ExpectColumnValuesToBeInSet",
            {"column": f"breaks_{rule.name}", "value_set": [False], "mostly": 1 - rule.tolerated},
            rule.description,
        )
        for rule in rules
    ]


@dataclass(frozen=True)
class Classes:
    """What a table is to learn from: the column of the class, the classes, the rows each should have."""

    column: str
    names: tuple[str, ...]
    least: int

    def expectations(self) -> list[Expectation]:
        """Expect a row of every class, and enough of each; they warn."""
        return [
            Expectation(
                "class_counts",
                "ExpectColumnDistinctValuesToContainSet",
                {"column": self.column, "value_set": list(self.names)},
                "a class has no row",
            ),
            Expectation(
                "class_counts",
                "ExpectColumnValuesToBeBetween",
                {"column": COUNT_COLUMN, "min_value": self.least},
                f"fewer than {self.least} rows of the class",
            ),
        ]


def frame_of(
    table: pa.Table,
    violations: pa.Table | None,
    rules: Iterable[Rule],
    key: str | None,
    counted: str | None = None,
) -> pd.DataFrame:
    """Give the flat frame that expectations run on.

    Nested columns keep only whether they are filled; each rule adds a column ``breaks_<rule>``, and
    ``counted`` one with the number of rows that share its value.
    """
    columns = {}
    for column in table.schema:
        values = table.column(column.name)
        columns[column.name] = (
            pc.if_else(pc.is_valid(values), "filled", None) if pa.types.is_nested(column.type) else values
        )
    frame = pa.table(columns).to_pandas()
    for rule in rules:
        broken: set[str] = set()
        if violations is not None:
            chosen = violations.filter(pc.equal(violations.column("rule"), rule.name))
            broken = set(chosen.column("row_id").to_pylist())
        frame[f"breaks_{rule.name}"] = frame[key].isin(broken) if key else False
    if counted:
        frame[COUNT_COLUMN] = frame[counted].map(frame[counted].value_counts())
    return frame


def run(
    frame: pd.DataFrame, expectations: Sequence[Expectation], key: Sequence[str] = ()
) -> dict[str, Outcome]:
    """Validate a frame.

    Args:
        frame: flat columns, from ``frame_of``.
        expectations: what must hold.
        key: columns shown for a failing row.

    Returns:
        One outcome a check, in the order of the expectations.
    """
    switch_telemetry_off()
    import great_expectations as gx
    import great_expectations.expectations as kinds
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    batch = (
        context.data_sources.add_pandas("lake")
        .add_dataframe_asset("table")
        .add_batch_definition_whole_dataframe("whole")
        .get_batch(batch_parameters={"dataframe": frame})
    )
    suite = gx.ExpectationSuite(
        name="suite",
        expectations=[
            getattr(kinds, item.kind)(**item.arguments, meta={"number": number})
            for number, item in enumerate(expectations)
        ],
    )
    shown: dict[str, Any] = {"result_format": "COMPLETE"}
    if key:
        shown["unexpected_index_column_names"] = list(key)
    results = batch.validate(suite, result_format=shown)
    outcomes: dict[str, Outcome] = {item.check: Outcome(item.check) for item in expectations}
    for number, result in sorted(((_number(r), r) for r in results.results), key=lambda pair: pair[0]):
        _add(outcomes[expectations[number].check], expectations[number], result)
    return outcomes


def _number(result: Any) -> int:
    """Give the position of the expectation that a result belongs to."""
    return int(result.expectation_config.meta["number"])


def _add(outcome: Outcome, item: Expectation, result: Any) -> None:
    """Add one result of Great Expectations to the outcome of its check."""
    found: Mapping[str, Any] = result.result or {}
    outcome.evaluated = max(outcome.evaluated, int(found.get("element_count") or 0))
    outcome.failing += int(found.get("unexpected_count") or 0)
    for row in (found.get("unexpected_index_list") or [])[: SHOWN_ROWS - len(outcome.rows)]:
        shown = {k: _plain(v) for k, v in row.items()} if isinstance(row, Mapping) else {"row": row}
        outcome.rows.append({**shown, "reason": item.reason})
    if result.success:
        return
    outcome.passed = False
    if result.exception_info and result.exception_info.get("raised_exception"):
        outcome.notes.append(f"{item.reason}: {result.exception_info.get('exception_message')}")
    elif not found.get("unexpected_count"):
        outcome.notes.append(f"{item.reason} (found: {_plain(found.get('observed_value'))})")
    else:
        outcome.notes.append(item.reason)


def reasons_from(violations: pa.Table, rules: Iterable[Rule]) -> dict[str, list[dict[str, Any]]]:
    """Give each rule's violations as rows to show, with the reason in words."""
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    names = {rule.name for rule in rules}
    for row in violations.to_pylist():
        if row["rule"] in names and len(grouped[row["rule"]]) < SHOWN_ROWS:
            grouped[row["rule"]].append({k: v for k, v in row.items() if k != "rule"})
    return dict(grouped)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
