"""Plots: PNG files, small, the same bytes for the same figures, and no pyplot."""

import base64
import subprocess
import sys

import numpy as np
import pytest

from medassets.evaluation import plots
from medassets.evaluation.inquiry import PUBLISHED
from medassets_tests.evaluation.fixtures_trust import KNOWLEDGE, calibrated, some_patients

PATIENTS, TRUTH = some_patients(200)
P = calibrated(TRUTH)
CURVE = [{"mean_questions": q, "top1": 0.9 + q / 100, "low": 0.88, "high": 0.99} for q in (2.0, 4.0, 6.0)]
ROBUST = [
    {"model": m, "metric": "top1", "unknown_rate": u, "wrong_rate": w, "value": 0.9 - u / 10 - w}
    for m in ("ensemble", "naive_bayes")
    for u, w in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.1))
]
GROUPS = [
    {"group": "sex=F", "value": 0.9, "low": 0.8, "high": 0.95, "n": 50},
    {"group": "sex=M", "value": None, "low": None, "high": None, "n": 0},
]
DRAWN = {
    "reliability": lambda: plots.reliability_plot(P, TRUTH),
    "questions": lambda: plots.questions_plot({"inquiry": CURVE}, PUBLISHED),
    "robustness": lambda: plots.robustness_plot(ROBUST),
    "confusion": lambda: plots.confusion_bars(TRUTH, P.argmax(1), KNOWLEDGE.condition_names),
    "no confusion": lambda: plots.confusion_bars(TRUTH, TRUTH, KNOWLEDGE.condition_names),
    "ranks": lambda: plots.rank_curves(
        {"likelihood": {1: 0.4, 10: 0.6}}, title="t", x_label="x", y_label="y"
    ),
    "groups": lambda: plots.interval_bars(GROUPS, title="Accuracy"),
}


@pytest.mark.parametrize("name", list(DRAWN))
def test_a_plot_is_a_small_png_and_always_the_same(name: str) -> None:
    png = DRAWN[name]()
    assert png.startswith(b"\x89PNG\r\n")
    assert len(png) < 80_000
    assert png == DRAWN[name]()


def test_different_figures_look_different() -> None:
    other = calibrated(TRUTH, certainty=0.6)
    assert plots.reliability_plot(P, TRUTH) != plots.reliability_plot(other, TRUTH)


def test_markdown_carries_the_image() -> None:
    text = plots.markdown_image(b"abc", "A plot")
    assert text == f"![A plot](data:image/png;base64,{base64.b64encode(b'abc').decode()})"


def test_importing_does_not_load_matplotlib() -> None:
    code = "import sys, medassets.evaluation.plots; print('matplotlib' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )


def test_drawing_leaves_pyplot_alone() -> None:
    code = (
        "import sys; from medassets.evaluation.plots import rank_curves;"
        "rank_curves({'a': {1: 1.0}}, title='t', x_label='x', y_label='y');"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )


def test_reliability_counts_all_rows_even_at_certainty_one() -> None:
    assert plots.reliability_plot(np.eye(49)[TRUTH], TRUTH).startswith(b"\x89PNG")
