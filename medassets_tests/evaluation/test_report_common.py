"""The common and the rare report hold every part that was handed in, and only that."""

import numpy as np
import pytest

from medassets.evaluation.fairness import fairness_report
from medassets.evaluation.figures import Figure, Finding, figure_table
from medassets.evaluation.report_common import common_report, weakest_conditions
from medassets.evaluation.report_rare import rare_report
from medassets.evaluation.robustness import ROBUSTNESS_REPORT
from medassets.evaluation.safety import check_critical_misses, critical_miss_figures, critical_miss_metrics
from medassets_tests.evaluation.fixtures_trust import KNOWLEDGE, SEVERITY, calibrated, some_patients

PATIENTS, TRUTH = some_patients(150)
P = calibrated(TRUTH)
NAMES = KNOWLEDGE.condition_names
FIGURES = figure_table(critical_miss_figures(P, TRUTH, SEVERITY, NAMES, model="ensemble", origin="simulated"))
CHECK = check_critical_misses(critical_miss_metrics(P, TRUTH, SEVERITY))
CI = {"top1": [0.98, 1.0], "mean_questions": [3.0, 3.6]}
INQUIRY = {"top1": 0.99, "mean_questions": 3.3, "median_questions": 3.0, "n": 150, "ci95": CI}


def test_a_full_report_holds_every_part() -> None:
    robust = ROBUSTNESS_REPORT.schema.empty_table().from_pylist(
        [
            {"model": m, "group": "overall", "metric": k, "value": 0.9, "low": 0.8, "high": 1.0, "n": 150,
             "origin": "simulated", "unknown_rate": u, "wrong_rate": 0.0}
            for m in ("ensemble", "naive_bayes") for k in ("top1", "ece") for u in (0.0, 0.5)
        ],
        schema=ROBUSTNESS_REPORT.schema,
    )  # fmt: skip
    report = common_report(
        {"ensemble": P, "naive_bayes": P},
        PATIENTS,
        NAMES,
        figures=FIGURES,
        findings={"safety": CHECK},
        fairness=fairness_report(P, TRUTH, SEVERITY, PATIENTS, model="ensemble", resamples=20),
        robustness=robust,
        inquiry={**INQUIRY, "safety_first": INQUIRY},
        curves={"inquiry": [{"mean_questions": 3.0, "top1": 0.99, "low": 0.98, "high": 1.0}]},
        conformal={"coverage": 0.951, "by_sex": {"F": 0.95}},
        agreement=[Figure("shap and lime", "overall", "top_overlap", 0.5, None, None, 20, "simulated")],
    )
    titles = [section.title for section in report.sections]
    assert titles == [
        "Figures", "Calibration", "Confusions", "Questions to the answer", "Missing and wrong answers",
        "Prediction sets", "Sex and age groups", "Explanations",
    ]  # fmt: skip
    page, text = report.to_html(), report.to_markdown()
    assert "150 rows: simulated from reference figures: not people" in page
    assert "AARLC (preprint), published" in text
    assert "| by_sex / F | 0.9500 |" in text
    assert len(page) < 1_000_000


def test_a_short_report_leaves_out_what_was_not_measured() -> None:
    report = common_report({"ensemble": P}, PATIENTS, NAMES, figures=FIGURES, findings={"safety": CHECK})
    assert [section.title for section in report.sections] == ["Figures", "Calibration", "Confusions"]


def test_weakest_conditions_come_first_with_what_they_are_taken_for() -> None:
    p = np.eye(len(NAMES))[TRUTH]
    anemia, urti = (NAMES.index(name) for name in ("Anemia", "URTI"))
    p[anemia == TRUTH] = np.eye(len(NAMES))[urti]
    rows = weakest_conditions(p, TRUTH, NAMES)
    assert rows[0] == {
        "condition": "Anemia",
        "n": int((anemia == TRUTH).sum()),
        "found first": "0.000",
        "mostly taken for": "URTI",
    }


def test_an_unknown_condition_or_no_model_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one model"):
        common_report({}, PATIENTS, NAMES, figures=FIGURES, findings={})
    with pytest.raises(ValueError, match="not among the model's 3"):
        common_report({"m": P[:, :3]}, PATIENTS, NAMES[:3], figures=FIGURES, findings={})


def rare_rows() -> list[dict]:
    base = {"low": 0.2, "high": 0.5, "n": 1943, "origin": "published_case"}
    return [
        {**base, "protocol": protocol, "method": method, "group": group, "metric": metric, "value": value}
        for protocol in ("clean", "published")
        for method, value in (("likelihood", 0.3), ("ranker", 0.45))
        for group in ("all", "5-50 cases")
        for metric in ("top1", "top3", "top10", "mrr")
    ]


def test_the_rare_report_names_protocols_groups_and_people() -> None:
    report = rare_report(
        rare_rows(),
        {"published_case": 1943},
        findings={"no leak": Finding(True, "publications are apart")},
        shots={"prototypes": {1: 0.3, 5: 0.6}},
        fidelity=[{"generator": "ctgan", "marginal error": 0.05}],
    )
    text = report.to_markdown()
    assert "1,943 rows: published case reports of people" in text
    assert "what a new patient would meet" in text
    assert "Top-10 of ranker by group (clean)" in text
    assert [s.title for s in report.sections][-2:] == ["Few-shot learning", "Synthetic cases"]


def test_a_rare_report_needs_figures() -> None:
    with pytest.raises(ValueError, match="needs figures"):
        rare_report([], {"published_case": 1}, findings={})
