"""The technical file: complete, and every control that it names exists in the code."""

import importlib

import pytest

from medassets.evaluation.figures import Finding
from medassets.evaluation.technical_file import TABLES, Change, lines_of, technical_file

CARD = {
    "model": "rare_ranker",
    "version": "3",
    "method": "A listwise network.",
    "missing_data": "Unknown is not absent.",
    "intended_use": "Orders rare diseases.",
    "limits": ["Knows what is annotated."],
    "data": [{"name": "phenopackets", "role": "training", "rows": 8186, "origin": "published_case"}],
    "figures": [
        {"metric": "top1", "value": 0.5, "low": 0.4, "high": 0.6, "n": 100, "origin": "published_case"}
    ],
    "subgroups": [],
}


def named(row):
    return [(row, name) for name in row.get("code", ())]


@pytest.mark.parametrize(
    ("row", "name"),
    [pair for table in TABLES for row in lines_of(table) for pair in named(row)],
    ids=lambda value: value if isinstance(value, str) else value.get("id") or value.get("rule"),
)
def test_what_is_said_to_control_a_risk_exists(row, name):
    module, _, attribute = name.partition(":")
    assert not attribute or hasattr(importlib.import_module(module), attribute)
    importlib.import_module(module)


@pytest.mark.parametrize("table", TABLES)
def test_no_line_is_left_empty(table):
    rows = lines_of(table)
    assert rows and all(len(row) == len(rows[0]) and all(row.values()) for row in rows)


def test_risks_are_numbered_and_each_is_verified():
    assert [row["id"] for row in lines_of("risks")] == [f"R{i + 1}" for i in range(len(lines_of("risks")))]


def test_a_release_carries_its_figures_checks_and_changes():
    report = technical_file(
        "abc",
        "0.1.0",
        [CARD],
        {"published_case": 8186},
        {"clinical/rare_cases: schema": Finding(True, "as declared")},
        [Change("rare_ranker", "3", "2", "serves from this release on")],
    )
    text = report.to_markdown()
    for part in (
        "release abc",
        "8,186 rows",
        "0.5000 (0.4000 to 0.6000)",
        "rare_cases: schema",
        "R1",
        "GDPR",
    ):
        assert part in text, part
    assert "does not diagnose" in text and "<table>" in report.to_html()


def test_nothing_is_stated_of_a_release_without_cards():
    with pytest.raises(ValueError, match="no model card"):
        technical_file("abc", "0.1.0", [], {"simulated": 1}, {}, [])
