"""Figures, model cards and reports: nothing without n, interval and origin."""

import json

import pytest

from medassets.cohorts.tables import TABLES, conform
from medassets.evaluation.figures import (
    COMMON_REPORT,
    EVALUATION_TABLES,
    FAIRNESS_REPORT,
    Figure,
    Finding,
    figure_table,
    figures_of,
)
from medassets.evaluation.model_cards import (
    DataSource,
    build_card,
    cards_table,
    figure_rows,
    format_interval,
    markdown_table,
)
from medassets.evaluation.report import Report, Section, count_origins

METRICS = {"n": 185, "top1": 0.995, "ece": 0.004, "macro_f1": None, "ci95": {"top1": [0.98, 1.0]}}
FIGURES = figure_table(figures_of(METRICS, model="common_ensemble", origin="ddxplus"))
SUBGROUPS = figure_table(
    [
        Figure("common_ensemble", "overall", "accuracy", 0.99, 0.98, 1.0, 185, "ddxplus"),
        Figure("common_ensemble", "sex=F", "accuracy", 0.98, 0.97, 0.99, 92, "ddxplus"),
        Figure("other", "sex=M", "accuracy", 0.5, 0.4, 0.6, 93, "ddxplus"),
    ],
    FAIRNESS_REPORT,
)
DATA = [
    DataSource("DDXPlus", "training", 1480, "ddxplus", "2022", "CC BY 4.0"),
    DataSource("simulated patients", "training", 49000, "simulated", "", "CC BY 4.0"),
]


def card(**options):
    settings = {
        "version": "3",
        "method": "Stacked models.",
        "metadata": {"params": {"seed": 1}},
        "data": DATA,
        "figures": FIGURES,
        "subgroups": SUBGROUPS,
        "findings": {"safety": Finding(True, "0 of 50 missed"), "fairness": Finding(False, "a gap")},
    }
    return build_card("common_ensemble", "common", **{**settings, **options})


def test_evaluation_tables_are_declared() -> None:
    for table in EVALUATION_TABLES:
        assert TABLES[table.key] is table
        assert all(table.describe(name) for name in table.schema.names)


def test_figures_keep_interval_n_and_origin() -> None:
    rows = {row["metric"]: row for row in FIGURES.to_pylist()}
    assert set(rows) == {"top1", "ece"}
    assert (rows["top1"]["low"], rows["top1"]["high"], rows["top1"]["n"]) == (0.98, 1.0, 185)
    assert rows["ece"]["low"] is None
    assert conform(FIGURES, COMMON_REPORT).equals(FIGURES)


def test_a_named_figure_without_value_is_kept_as_null() -> None:
    found = figures_of(METRICS, model="m", origin="ddxplus", names=["macro_f1"])
    assert found == [Figure("m", "overall", "macro_f1", None, None, None, 185, "ddxplus")]


def test_a_card_says_what_it_must() -> None:
    text = card().to_markdown()
    for part in (
        "does not diagnose",
        "TRIPOD+AI",
        "CC BY 4.0",
        "not people",
        "0.9950 (0.9800 to 1.0000)",
        "185",
        "sex=F",
    ):
        assert part in text, part
    assert "sex=M" not in text  # another model's subgroup
    assert "**fairness** FAILED: a gap" in text


def test_a_card_is_also_json_and_the_same_each_time() -> None:
    content = json.loads(card().to_json())
    assert content["model"] == "common_ensemble"
    assert content["data"][0]["licence"] == "CC BY 4.0"
    assert content["findings"]["safety"]["passed"] is True
    assert card().to_json() == card().to_json()
    assert "data:image" not in card(images={"Reliability": "![r](data:image/png;base64,AA)"}).to_json()


def test_cards_of_both_kinds_make_a_table() -> None:
    rare = build_card("rare_ranker", "rare", version="1", method="Ranking.", metadata={}, data=DATA)
    assert "Not measured." in rare.to_markdown()
    table = cards_table([card(), rare])
    assert table.column("model").to_pylist() == ["common_ensemble", "rare_ranker"]


def test_a_card_refuses_a_figure_without_origin_and_an_unknown_kind() -> None:
    nameless = figure_table([Figure("common_ensemble", "overall", "top1", 0.9, None, None, 10, "")])
    with pytest.raises(ValueError, match="does not name the origin"):
        card(figures=nameless)
    with pytest.raises(ValueError, match="allowed: common, rare"):
        build_card("x", "dental", version="1", method="", metadata={}, data=[])  # type: ignore[arg-type]


def test_numbers_are_printed_with_their_interval() -> None:
    assert format_interval(0.99, 0.98, 1.0) == "0.9900 (0.9800 to 1.0000)"
    assert format_interval(0.5, None, None) == "0.5000"
    assert format_interval(12.3456, 11, 13) == "12.35 (11.00 to 13.00)"
    assert format_interval(None, None, None) == "–"
    assert markdown_table([{"a": "x|y", "b": 1}]).splitlines()[-1] == "| x\\|y | 1 |"
    assert figure_rows(FIGURES.to_pylist())[0]["origin"] == "ddxplus"


def report(**options) -> Report:
    settings = {
        "title": "Common conditions",
        "summary": "A <b>summary</b>.",
        "origins": count_origins(["ddxplus"] * 3 + ["simulated"]),
        "sections": [
            Section("Accuracy", "All rows.", figure_rows(FIGURES.to_pylist()), {"A plot": b"\x89PNG"})
        ],
        "findings": {"safety": Finding(False, "2 of 50 missed")},
    }
    return Report(**{**settings, **options})


def test_reports_state_origin_n_and_failed_checks() -> None:
    for text in (report().to_html(), report().to_markdown()):
        assert "DDXPlus, a benchmark synthesized by its authors: not people" in text
        assert "3 rows" in text
        assert "does not diagnose" in text
        assert "FAILED" in text
        assert "0.9950 (0.9800 to 1.0000)" in text
        assert "data:image/png;base64,iVBORw==" in text


def test_html_is_escaped_and_loads_nothing() -> None:
    page = report().to_html()
    assert "&lt;b&gt;summary" in page
    assert "<script" not in page
    assert "http" not in page.replace('content="width=device-width', "")


def test_a_report_without_origin_is_refused() -> None:
    with pytest.raises(ValueError, match="origin"):
        report(origins={})
    with pytest.raises(ValueError, match="'real'"):
        report(origins={"real": 5})
