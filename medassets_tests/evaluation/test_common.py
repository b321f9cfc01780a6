"""Figures of an ensemble of known quality."""

import numpy as np
import pytest

from medassets.evaluation.common import conformal_report, evaluate, mix_ablation, sets_under_noise
from medassets.features.pooling import CommonPrediction
from medassets_tests.learners.common import small


@pytest.fixture(scope="module")
def patients():
    return small.records(12, seed=77)


def test_figures_cover_models_conditions_and_promises(patients):
    made = evaluate(small.ensemble(), patients, small.knowledge(), resamples=50)
    rows = {(r["model"], r["group"], r["metric"]): r for r in made.figures.to_pylist()}
    assert rows["ensemble", "overall", "top1"]["value"] == pytest.approx(made.metrics["top1"])
    assert rows["naive_bayes", "overall", "top1"]["low"] <= rows["naive_bayes", "overall", "top1"]["value"]
    assert rows["ensemble", "condition=GERD", "top1"]["n"] == 12
    assert rows["ensemble", "overall", "conformal_coverage"]["value"] == made.conformal["coverage"]
    assert {r["origin"] for r in rows.values()} == {"ddxplus"}
    assert rows["ensemble", "overall", "differential_f1"]["value"] > 0.5


def test_the_promise_is_judged_with_and_without_the_leader():
    truth = np.array([0, 0, 1, 1])
    p = np.full((4, 3), 1 / 3)
    rule = np.zeros((4, 3), dtype=bool)
    rule[0, 0] = True
    shown = rule.copy()
    shown[1:, 1] = True
    table = small.records(1).slice(0, 4)
    report = conformal_report(CommonPrediction(p, p, rule, shown, {}), truth, table, coverage=0.95)
    assert report["coverage"] == 0.25 and report["shown_coverage"] == 0.75
    assert report["mean_size"] == 0.25 and report["shown_mean_size"] == 1.0
    assert sum(row["n"] for name, row in report["groups"].items() if name.startswith("sex=")) == 4


def test_sets_grow_where_answers_are_missing(patients):
    found = sets_under_noise(small.ensemble(), patients, small.knowledge(), points=((0.0, 0.0), (0.5, 0.0)))
    rows = {(figure.group, figure.metric): figure for figure in found}
    clear, half = "0% unknown, 0% wrong", "50% unknown, 0% wrong"
    judged = evaluate(small.ensemble(), patients, small.knowledge(), resamples=20)
    assert rows[clear, "conformal_coverage"].value == pytest.approx(judged.conformal["coverage"])
    assert rows[half, "conformal_mean_size"].value > rows[clear, "conformal_mean_size"].value
    assert rows[half, "conformal_coverage"].n == patients.num_rows


def test_mixes_are_compared_on_the_same_rows(patients):
    table = mix_ablation(lambda mix: small.ensemble(), patients, small.knowledge(), mixes=("both", "records"))
    assert {name.partition("/")[0] for name in table.column("model").to_pylist()} == {
        "mix=both",
        "mix=records",
    }
    assert set(table.column("n").to_pylist()) == {patients.num_rows}


def test_no_rows_and_strange_conditions_are_refused(patients):
    with pytest.raises(ValueError, match="at least one"):
        evaluate(small.ensemble(), patients.slice(0, 0), small.knowledge())
