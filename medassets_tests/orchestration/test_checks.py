"""Checks made from declarations and medical rules: what passes, what blocks, and which rows are shown."""

import dagster as dg
import pyarrow as pa
import pytest

from medassets.cohorts.rules import Rule
from medassets.cohorts.tables import TABLES, Table, column, register
from medassets.orchestration.checks import Rules, table_checks
from medassets.orchestration.expectations import Classes

SPEC = Table(
    "toy/patients",
    pa.schema(
        [
            column("id", pa.string(), "patient"),
            column("age", pa.int32(), "years", required=False),
            column("sex", pa.string(), "M, F or unknown"),
            column("evidence", pa.list_(pa.string()), "answers", required=False),
            column("completeness", pa.float64(), "share of filled fields"),
        ]
    ),
    ("id",),
    "patients",
)
RULE = Rule("not_forty", "nobody is forty", 0.0)
TOLERANT = Rule("rarely_fifty", "hardly anybody is fifty", 0.5)


@pytest.fixture(autouse=True)
def _declared():
    register((SPEC,))
    yield
    TABLES.pop(SPEC.key)


def _find(table: pa.Table, extra: pa.Table) -> pa.Table:
    assert extra.num_rows == 1
    rows = [
        {
            "row_id": r["id"],
            "rule": rule.name,
            "field": "age",
            "value": str(r["age"]),
            "reason": f"is {r['age']}",
        }
        for r in table.to_pylist()
        for rule, age in ((RULE, 40), (TOLERANT, 50))
        if r["age"] == age
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["clinical/rule_violations"].schema)


def _row(identifier="a", age=30, sex="F", completeness=0.9):
    return {"id": identifier, "age": age, "sex": sex, "evidence": ["x"], "completeness": completeness}


def _run(rows, resources, instance, rules=None, classes=None):
    @dg.asset(key=["toy", "patients"])
    def patients() -> pa.Table:
        return pa.Table.from_pylist(rows, schema=SPEC.schema)

    @dg.asset(key=["toy", "letters"])
    def letters() -> pa.Table:
        return pa.table({"id": ["a"]})

    reached = []

    @dg.asset(ins={"patients": dg.AssetIn(["toy", "patients"])}, io_manager_key="mem")
    def below(patients: pa.Table) -> None:
        reached.append(True)

    result = dg.materialize(
        [patients, letters, below, table_checks(SPEC, rules, classes)],
        resources=resources | {"mem": dg.mem_io_manager},
        instance=instance,
        raise_on_error=False,
    )
    return result, {e.check_name: e for e in result.get_asset_check_evaluations()}, bool(reached)


def test_a_sound_table_passes_every_check(resources, instance):
    rules = Rules((RULE, TOLERANT), _find, {"extra": "toy/letters"})
    result, found, reached = _run([_row(), _row("b", None)], resources, instance, rules)
    assert result.success and reached
    assert set(found) == {
        "schema", "required_fields", "unique_key", "values", "completeness", "not_forty", "rarely_fifty",
    }  # fmt: skip
    assert all(e.passed for e in found.values())


@pytest.mark.parametrize(
    ("rows", "check", "shown"),
    [
        ([_row(), _row()], "unique_key", "id stands more than once"),
        ([_row(age=131)], "values", "age is outside 0 to 130"),
        ([_row(sex="male")], "values", "sex is none of M, F, unknown"),
        ([_row(age=40), _row("b")], "not_forty", "is 40"),
    ],
)
def test_a_fault_blocks_and_shows_its_rows(rows, check, shown, resources, instance):
    rules = Rules((RULE,), _find, {"extra": "toy/letters"})
    result, found, reached = _run(rows, resources, instance, rules)
    assert not result.success and not reached
    assert [name for name, e in found.items() if not e.passed] == [check]
    assert shown in found[check].metadata["failing_rows"].value
    assert found[check].severity == dg.AssetCheckSeverity.ERROR


def test_patients_below_the_completeness_are_kept_but_a_poor_source_is_not(resources, instance):
    result, _, reached = _run([_row(completeness=0.3), _row("b"), _row("c")], resources, instance)
    assert result.success and reached
    result, found, reached = _run([_row(completeness=0.6), _row("b", completeness=0.7)], resources, instance)
    assert not result.success and not reached
    assert "70%" in found["completeness"].description


def test_a_tolerated_share_passes_and_still_shows_its_rows(resources, instance):
    rules = Rules((TOLERANT,), _find, {"extra": "toy/letters"})
    result, found, _ = _run([_row(age=50), _row("b")], resources, instance, rules)
    assert result.success and found["rarely_fifty"].passed
    assert "is 50" in found["rarely_fifty"].metadata["failing_rows"].value


def test_thin_and_missing_classes_warn(resources, instance):
    classes = Classes("sex", ("F", "M"), 2)
    result, found, reached = _run(
        [_row(), _row("b"), _row("c", sex="M")], resources, instance, classes=classes
    )
    assert result.success and reached
    assert not found["class_counts"].passed
    assert found["class_counts"].severity == dg.AssetCheckSeverity.WARN
    assert "fewer than 2 rows of the class" in found["class_counts"].metadata["failing_rows"].value
    _, found, _ = _run([_row(), _row("b")], resources, instance, classes=classes)
    assert "a class has no row" in found["class_counts"].description
    _, found, _ = _run([], resources, instance, classes=classes)
    assert found["class_counts"].passed


def test_an_empty_table_is_sound(resources, instance):
    result, found, reached = _run(
        [], resources, instance, Rules((RULE,), lambda table, extra: _none(), {"extra": "toy/letters"})
    )
    assert result.success and reached
    assert all(e.passed for e in found.values())


def _none() -> pa.Table:
    return TABLES["clinical/rule_violations"].empty()
