"""The common and the rare report hold every part that was handed in, and only that."""

import numpy as np
import pyarrow as pa
import pytest

from medassets.evaluation.fairness import fairness_report
from medassets.evaluation.figures import Figure, figure_table
from medassets.evaluation.report_common import common_report, weakest_conditions
from medassets.evaluation.report_rare import rare_report
from medassets.evaluation.robustness import ROBUSTNESS_REPORT
from medassets.evaluation.safety import check_critical_misses, critical_miss_figures, critical_miss_metrics
from medassets_tests.evaluation.fixtures_trust import KNOWLEDGE, SEVERITY, calibrated, some_patients

PATIENTS, TRUTH = some_patients(150)
P = calibrated(TRUTH)
NAMES = KNOWLEDGE.condition_names
FIGURES = figure_table(critical_miss_figures(P, TRUTH, SEVERITY, NAMES, model="ensemble", origin="simulated"))
NOISY = Figure("ensemble", "20% unknown, 5% wrong", "conformal_coverage", 0.93, 0.9, 0.95, 150, "simulated")
CHECK = check_critical_misses(critical_miss_metrics(P, TRUTH, SEVERITY))
INQUIRY = pa.Table.from_pylist(
    [
        {"questions": order, "group": group, "metric": metric, "value": value, "low": value - 0.1,
         "high": value + 0.1, "n": 150, "origin": "simulated"}
        for order in ("information", "safety_first") for group in ("overall", "certainty=0.9")
        for metric, value in (("top1", 0.9), ("mean_questions", 3.3))
    ]
)  # fmt: skip
EXPLANATIONS = pa.Table.from_pylist(
    [
        {"patient_id": patient, "condition": "URTI", "method": method, "rank": 1, "feature": feature,
         "state": "present", "contribution": 0.5, "origin": "simulated"}
        for method, feature in (("shap", "E_91"), ("lime", "E_91")) for patient in ("p1", "p2", "all")
    ]
)  # fmt: skip


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
        figures=pa.concat_tables([FIGURES, figure_table([NOISY])]),
        findings={"safety": CHECK},
        fairness=fairness_report(P, TRUTH, SEVERITY, PATIENTS, model="ensemble", resamples=20),
        robustness=robust,
        inquiry=INQUIRY,
        conformal={"coverage": 0.951, "by_sex": {"F": 0.95}},
        explanations=EXPLANATIONS,
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
    assert "| coverage / 20% unknown, 5% wrong | 0.9300" in text
    assert "| red flags first | 0.9000 (0.8000 to 1.0000) | 3.3000 (3.2000 to 3.4000) | 150 |" in text
    assert "Accuracy over questions" in text
    assert "| lime and shap | overall | same_first | 1.0000 | 2 | simulated |" in text
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
    figure = {"low": 0.0, "high": 0.1, "n": 9, "origin": "published_case", "value": 0.05}
    report = rare_report(
        rare_rows(),
        {"published_case": 1943},
        ablation=[{**figure, "method": "maml", "group": "added", "metric": "mrr_difference"}],
        few_shot=[
            {**figure, "method": "prototypes", "group": f"0{n} known cases", "metric": "top1"} for n in (1, 5)
        ],
        fidelity=[{**figure, "method": "ctgan", "group": "overall", "metric": "marginal_error"}],
    )
    text = report.to_markdown()
    assert "1,943 rows: published case reports of people" in text
    assert "what a new patient would meet" in text
    assert "Top-10 of ranker by group (clean)" in text
    assert "none surely adds to the ranker" in text and "maml +0.0500 [+0.0000, +0.1000]" in text
    assert "Accuracy over known cases" in report.sections[-2].plots
    assert [s.title for s in report.sections][-3:] == [
        "What each method adds to the ranker", "Few-shot learning", "Synthetic cases",
    ]  # fmt: skip


def test_a_rare_report_needs_figures() -> None:
    with pytest.raises(ValueError, match="needs figures"):
        rare_report([], {"published_case": 1})
