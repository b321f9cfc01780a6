"""Asset checks: what Great Expectations found, as Dagster shows it; a failing error is a failed run.

What belongs here: one check step a table, its severity, and the failing rows in its metadata. What does not:
which expectations a table has (``expectations``) and the medical rules (``cohorts.rules``). Checks that make
what follows wrong block it; the others warn.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pyarrow as pa

from medassets.cohorts.rules import Rule
from medassets.cohorts.schema import Table
from medassets.orchestration.expectations import (
    COUNT_COLUMN,
    Classes,
    Outcome,
    frame_of,
    reasons_from,
    rule_expectations,
    run,
    schema_expectations,
)
from medassets.orchestration.metadata import markdown_table

#: Checks that report without stopping what follows.
WARNINGS = frozenset({"class_counts"})
#: What each check derived from a declaration says.
DESCRIPTIONS = {
    "schema": "the columns are the declared ones",
    "required_fields": "every required field is filled in every row",
    "unique_key": "no primary key stands twice",
    "values": "codes are known and numbers lie within their bounds",
    "completeness": "as a whole, at least 70 % of the expected fields are filled; patients below are flagged",
    "class_counts": "every class has enough rows to learn from",
}


@dataclass(frozen=True)
class Rules:
    """Medical rules over a table, and what finds their violations.

    Attributes:
        rules: the rules, one check each.
        find: gives ``clinical/rule_violations`` from the table and the ``ins`` by name.
        ins: further assets that the rules need, by argument name.
    """

    rules: Sequence[Rule]
    find: Callable[..., pa.Table]
    ins: Mapping[str, str]


def table_checks(
    spec: Table, rules: Rules | None = None, classes: Classes | None = None
) -> dg.AssetChecksDefinition:
    """Make the checks of one table: those of its declaration, the rules' and the class counts.

    Args:
        spec: the table's declaration.
        rules: medical rules over it.
        classes: classes that it should have enough rows of.
    """
    broken = rules.rules if rules else ()
    added = [*(f"breaks_{rule.name}" for rule in broken), *([COUNT_COLUMN] if classes else ())]
    expectations = [*schema_expectations(spec, added), *rule_expectations(broken)]
    expectations += classes.expectations() if classes else []
    described = {**DESCRIPTIONS, **{rule.name: rule.description for rule in broken}}
    names = list(dict.fromkeys(item.check for item in expectations))
    key = dg.AssetKey(spec.key.split("/"))
    others = {name: dg.AssetKey(path.split("/")) for name, path in (rules.ins if rules else {}).items()}

    @dg.multi_asset_check(
        name=spec.key.replace("/", "_") + "_checks",
        specs=[
            dg.AssetCheckSpec(
                name,
                asset=key,
                blocking=name not in WARNINGS,
                description=described.get(name),
                additional_deps=list(others.values()),
            )
            for name in names
        ],
        ins={"table": dg.AssetIn(key), **{name: dg.AssetIn(other) for name, other in others.items()}},
        description=f"Great Expectations suite of {spec.key}, made from its declaration"
        + (" and the medical rules" if rules else ""),
    )
    def checks(table: pa.Table, **inputs: Any) -> Iterable[dg.AssetCheckResult]:
        if not table.num_rows:
            # A source that an installation does not have gives an empty table: only its columns can be wrong.
            yield from _of_empty(table, spec, names)
            return
        violations = rules.find(table, **inputs) if rules else None
        key_column = spec.primary_key[0] if rules else None
        frame = frame_of(table, violations, broken, key_column, classes.column if classes else None)
        outcomes = {name: Outcome(name) for name in names} | run(frame, expectations, spec.primary_key)
        if rules and violations is not None:
            for name, rows in reasons_from(violations, rules.rules).items():
                outcomes[name].rows = rows
        for name in names:
            yield check_result(outcomes[name], key)

    return checks


def _of_empty(table: pa.Table, spec: Table, names: Iterable[str]) -> Iterable[dg.AssetCheckResult]:
    """Judge a table without rows; loading Great Expectations would take longer than everything else."""
    for name in names:
        outcome = Outcome(name)
        if name == "schema" and table.schema.names != spec.schema.names:
            outcome.passed = False
            outcome.notes.append("the columns are not the declared ones")
        yield check_result(outcome, dg.AssetKey(spec.key.split("/")))


def check_result(outcome: Outcome, key: dg.AssetKey) -> dg.AssetCheckResult:
    """Turn an outcome into Dagster's result, with the failing rows as a table."""
    severity = dg.AssetCheckSeverity.WARN if outcome.check in WARNINGS else dg.AssetCheckSeverity.ERROR
    metadata: dict[str, Any] = {"rows_evaluated": outcome.evaluated, "rows_failing": outcome.failing}
    if outcome.rows:
        metadata["failing_rows"] = dg.MetadataValue.md(markdown_table(outcome.rows))
    return dg.AssetCheckResult(
        passed=outcome.passed,
        check_name=outcome.check,
        asset_key=key,
        severity=severity,
        metadata=metadata,
        description="; ".join(outcome.notes) if outcome.notes else None,
    )
