"""Comparisons that tell why common conditions are learned as they are: imbalance, mix of rows, export.

What belongs here: running each comparison within the profile's budget, as rows of figures. What does not: the
comparisons themselves (``learners.common.preprocessing``, ``evaluation.common``,
``learners.common.onnx_export``).
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from medassets.orchestration.training import CommonData, common_config, thinned
from medassets.settings import Settings

if TYPE_CHECKING:
    from medassets.learners.common.ensemble import CommonEnsemble

#: Base models of the mixes in the quick profile: one that counts records, one that learns from all.
QUICK_MODELS = ("naive_bayes", "network")
#: Patients answered one by one to measure time, and compared in one piece.
TIMED, COMPARED = {"quick": 60, "full": 300}, 1000


def imbalance_rows(data: CommonData, settings: Settings) -> tuple[list[dict[str, Any]], list[str]]:
    """Compare SMOTE and ADASYN with class weights and with nothing; notes say what did not run and why.

    The quick profile trains on every third row, which keeps conditions as rare as they are.
    """
    from medassets.learners.common.preprocessing import compare_imbalance

    training = data.training
    if settings.profile == "quick":
        third = np.arange(0, len(training.train), 3)
        training = replace(training, train=training.train.take(third), folds=training.folds[third])
    rows, notes = [], []
    for row in compare_imbalance(training, common_config(settings)).to_pylist():
        if row["note"]:
            notes.append(f"{row['method']}: {row['note']}")
        for metric in ("n_train", "top1", "macro_f1", "rare_recall"):
            value = row[metric]
            rows.append(
                _row(
                    row["method"],
                    metric,
                    None if value is None else float(value),
                    row["n_validation"],
                    row["origin"],
                )
            )
    return rows, notes


def mix_table(inputs: dict[str, pa.Table], data: CommonData, settings: Settings) -> pa.Table:
    """Train an ensemble on each mix that the installation has rows for; the test part judges them.

    Args:
        inputs: tables by name, as the training assets read them.
        data: the same, prepared; its test part is judged.
        settings: the quick profile trains two base models in two folds, the full one all of them.
    """
    from medassets.evaluation.common import mix_ablation
    from medassets.learners.common.base import BASE_NAMES, train_base
    from medassets.learners.common.ensemble import CommonEnsemble
    from medassets.learners.common.training import prepare

    quick = settings.profile == "quick"
    has_records = inputs["common_patients"].num_rows > 0
    config = common_config(settings)
    if quick:
        config = config.model_copy(update={"folds": 2})

    def train(mix: str) -> CommonEnsemble:
        own = config.model_copy(update={"mix": mix})
        extra = inputs["simulated_common_patients"] if has_records else None
        rows = prepare(data.patients, inputs["common_split"], data.knowledge, own, extra)
        names = QUICK_MODELS if quick else BASE_NAMES
        return CommonEnsemble.fit({name: train_base(name, rows, own) for name in names}, rows, own)

    mixes = ("both", "records", "simulated") if has_records else ("simulated",)
    return mix_ablation(train, data.test, data.knowledge, mixes)


def export_rows(ensemble: CommonEnsemble, data: CommonData, settings: Settings) -> list[dict[str, Any]]:
    """Export an ensemble, compare it with itself, and time both for single patients in the same run."""
    from medassets.learners.common.onnx_export import check_export, measure_latency
    from medassets.serving.common import CommonPredictor

    matrix = data.training.space.encode_table(thinned(data.test, COMPARED))
    with tempfile.TemporaryDirectory() as folder:
        ensemble.export_bundle(Path(folder))
        predictor = CommonPredictor.load(Path(folder))
        apart = check_export(ensemble, predictor, matrix)
        taken = measure_latency(ensemble, predictor, matrix, TIMED[settings.profile])
    found = [
        _row(name, "largest_difference", value, len(matrix), data.origin) for name, value in apart.items()
    ]
    found += [
        _row(name, "median_ms", value, taken.n, data.origin)
        for name, value in (("onnx", taken.onnx_ms), ("python", taken.python_ms))
    ]
    return [*found, _row("onnx", "times_faster", taken.ratio, taken.n, data.origin)]


def _row(model: str, metric: str, value: float | None, n: int, origin: str) -> dict[str, Any]:
    figure = {"model": model, "group": "overall", "metric": metric, "value": value}
    return figure | {"low": None, "high": None, "n": n, "origin": origin}
