"""Protocols for the common-disease ensemble: figures overall, per condition and per model; conformal
promises; mix.

What belongs here: which figures are measured on which rows. What does not: the metrics (``metrics``),
fairness, robustness and safety (modules of their own), and the page (``report_common``).

The rule of the conformal sets is judged on its own (``coverage``: is it the nominal one?) and as shown to a
person (``shown_coverage``: the most probable condition is always kept).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from medassets.cohorts.simulate_common import mask
from medassets.evaluation.fairness import age_group_names
from medassets.evaluation.figures import COMMON_REPORT, Figure, figure_table, figures_of, origin_of
from medassets.evaluation.metrics import classification_metrics, ece, mean_ci, ranks_of
from medassets.features.common import EvidenceSpace
from medassets.features.pooling import CommonPrediction
from medassets.knowledge.common_conditions import CommonKnowledge

#: Conditions with fewer rows have no row of their own in the report.
MIN_ROWS = 5
#: Shares of unknown and of wrong answers under which the promise of prediction sets is tested as well.
SET_NOISE = ((0.2, 0.0), (0.5, 0.0), (0.0, 0.05), (0.2, 0.05))
#: What is measured of prediction sets: of the rule, and as shown to a person.
SET_FIGURES = ("coverage", "mean_size", "shown_coverage", "shown_mean_size")


class Predicts(Protocol):
    """What is judged: the trained ensemble or its export."""

    @property
    def space(self) -> EvidenceSpace:
        """Columns of the symptom matrix."""
        ...

    def predict_matrix(self, matrix: np.ndarray) -> CommonPrediction:
        """Predict for rows of a symptom matrix."""
        ...


@dataclass(frozen=True)
class CommonEvaluation:
    """Figures of an ensemble on rows that it was not trained on.

    Attributes:
        figures: ``evaluation/common_report``.
        metrics: of the ensemble overall, with ``ci95``.
        conformal: nominal coverage, coverage and mean size of the rule and as shown, by sex and age group.
        prediction: what was predicted, for further reports.
        truth: (n,) true condition.
    """

    figures: pa.Table
    metrics: dict[str, Any]
    conformal: dict[str, Any]
    prediction: CommonPrediction
    truth: np.ndarray


def evaluate(
    model: Predicts,
    patients: pa.Table,
    knowledge: CommonKnowledge,
    *,
    coverage: float = 0.95,
    resamples: int = 300,
    seed: int = 0,
) -> CommonEvaluation:
    """Measure with the answers as recorded.

    Args:
        model: ensemble or predictor.
        patients: rows of ``clinical/common_patients`` with conditions, not trained on.
        knowledge: names and order of the conditions.
        coverage: nominal coverage of the model's sets.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Raises:
        ValueError: no rows, or a condition that the knowledge does not have.
    """
    if not patients.num_rows:
        raise ValueError("an evaluation needs at least one patient")
    truth = true_conditions(patients, knowledge)
    made = model.predict_matrix(model.space.encode_table(patients))
    reference = differentials(patients, knowledge)
    origin = origin_of(patients)
    figures: list[Figure] = []
    named = {"ensemble": made.probabilities, **made.models}
    metrics: dict[str, Any] = {}
    for name, p in named.items():
        differential = made.differential if name == "ensemble" else None
        measured = classification_metrics(
            p,
            truth,
            predicted_differential=differential,
            reference_differential=reference,
            resamples=resamples,
            seed=seed,
        )
        figures += figures_of(measured, model=name, origin=origin)
        if name == "ensemble":
            metrics = measured
    figures += _per_condition(made.probabilities, truth, knowledge, origin, seed)
    conformal = conformal_report(made, truth, patients, coverage=coverage, seed=seed)
    for key in SET_FIGURES:
        low, high = conformal["ci95"][key]
        figures.append(
            Figure("ensemble", "overall", f"conformal_{key}", conformal[key], low, high, len(truth), origin)
        )
    for group, row in conformal["groups"].items():
        low, high = row["ci95"]
        figures.append(
            Figure("ensemble", group, "conformal_coverage", row["coverage"], low, high, row["n"], origin)
        )
    return CommonEvaluation(figure_table(figures, COMMON_REPORT), metrics, conformal, made, truth)


def conformal_report(
    made: CommonPrediction, truth: np.ndarray, patients: pa.Table, *, coverage: float, seed: int = 0
) -> dict[str, Any]:
    """Coverage and size of prediction sets, overall and by sex and age group.

    Returns:
        ``{"nominal", "coverage", "mean_size", "shown_coverage", "shown_mean_size", "ci95": {...}, "groups":
        {"sex=F": {"n", "coverage", "ci95"}, ...}}``.
    """
    values = _set_values(made, truth)
    held = values[:, SET_FIGURES.index("coverage")]
    means, limits = mean_ci(values, seed=seed)
    result: dict[str, Any] = {"nominal": coverage, **dict(zip(SET_FIGURES, means.tolist(), strict=True))}
    result["ci95"] = dict(zip(SET_FIGURES, limits.tolist(), strict=True))
    result["groups"] = {}
    for kind, groups in _groups(patients).items():
        for group in sorted(set(groups)):
            inside = held[groups == group]
            mean, limit = mean_ci(inside[:, None], seed=seed)
            result["groups"][f"{kind}={group}"] = {
                "n": len(inside),
                "coverage": float(mean[0]),
                "ci95": limit[0].tolist(),
            }
    return result


def sets_under_noise(
    model: Predicts,
    patients: pa.Table,
    knowledge: CommonKnowledge,
    *,
    points: tuple[tuple[float, float], ...] = SET_NOISE,
    seed: int = 0,
) -> list[Figure]:
    """Coverage and size of prediction sets as answers go missing or wrong.

    The thresholds know how much is unknown, so the rule's coverage should hold there; wrong answers nobody
    can see, and where records are complete but wrong the rule covers less often than it says. What a person
    is shown always has the most probable condition, and covers at least as often as that one is right.

    Args:
        model: ensemble or predictor.
        patients: rows that it was not trained on.
        knowledge: names and order of the conditions.
        points: (unknown, wrong) shares of answers.
        seed: of hiding, falsifying and the intervals.

    Returns:
        Coverage and mean size of each point, of the rule and as shown; its group reads
        ``20% unknown, 5% wrong``.
    """
    truth, origin = true_conditions(patients, knowledge), origin_of(patients)
    figures = []
    for unknown, wrong in points:
        noisy = mask(patients, knowledge, seed=seed, unknown_rate=unknown, wrong_rate=wrong)
        made = model.predict_matrix(model.space.encode_table(noisy))
        means, limits = mean_ci(_set_values(made, truth), seed=seed)
        group = f"{unknown:.0%} unknown, {wrong:.0%} wrong"
        for name, mean, (low, high) in zip(SET_FIGURES, means, limits, strict=True):
            metric = f"conformal_{name}"
            figures.append(
                Figure("ensemble", group, metric, float(mean), float(low), float(high), len(truth), origin)
            )
    return figures


def _set_values(made: CommonPrediction, truth: np.ndarray) -> np.ndarray:
    """Return float64 (n, len(SET_FIGURES)) of each patient."""
    rows = np.arange(len(truth))
    sets, shown = made.sets, made.shown
    values = [sets[rows, truth], sets.sum(1), shown[rows, truth], shown.sum(1)]
    return np.stack(values, axis=1).astype(np.float64)


def mix_ablation(
    train: Callable[[str], Predicts],
    patients: pa.Table,
    knowledge: CommonKnowledge,
    mixes: tuple[str, ...] = ("both", "records", "simulated"),
) -> pa.Table:
    """Compare what models are trained on: records, simulated patients, or both.

    Args:
        train: gives the ensemble trained with a mix (``CommonConfig.mix``).
        patients: rows that none of them was trained on.
        knowledge: names and order of the conditions.
        mixes: those to compare.

    Returns:
        ``evaluation/common_report`` rows whose model is ``mix=<mix>/<model>``.
    """
    figures: list[Figure] = []
    truth, origin = true_conditions(patients, knowledge), origin_of(patients)
    for mix in mixes:
        model = train(mix)
        made = model.predict_matrix(model.space.encode_table(patients))
        for name, p in {"ensemble": made.probabilities, **made.models}.items():
            measured = classification_metrics(p, truth, resamples=100)
            figures += figures_of(
                measured, model=f"mix={mix}/{name}", origin=origin, names=("top1", "macro_f1", "ece")
            )
    return figure_table(figures, COMMON_REPORT)


def true_conditions(patients: pa.Table, knowledge: CommonKnowledge) -> np.ndarray:
    """(n,) int64 row of each patient's condition.

    Raises:
        ValueError: a condition that the knowledge does not have; the message has the row.
    """
    names = patients.column("condition").to_pylist()
    for row, name in enumerate(names):
        if name not in knowledge.condition_index:
            raise ValueError(
                f"row {row}: condition {name!r} is not one of the {len(knowledge.conditions)} known"
            )
    return np.array([knowledge.condition_index[name] for name in names], dtype=np.int64)


def differentials(patients: pa.Table, knowledge: CommonKnowledge) -> np.ndarray | None:
    """(n, n_conditions) reference differentials, zero rows where none; None if nobody has one."""
    rows = patients.column("differential").to_pylist()
    if not any(rows):
        return None
    result = np.zeros((len(rows), len(knowledge.conditions)))
    for row, entries in enumerate(rows):
        for entry in entries or ():
            result[row, knowledge.condition_index[entry["condition"]]] = entry["probability"]
    return result


def _per_condition(
    p: np.ndarray, truth: np.ndarray, knowledge: CommonKnowledge, origin: str, seed: int
) -> list[Figure]:
    """Top-1, top-3 and calibration of each condition with enough rows."""
    ranks = ranks_of(p, truth)
    figures = []
    for c in np.unique(truth):
        rows = truth == c
        if rows.sum() < MIN_ROWS:
            continue
        group, n = f"condition={knowledge.condition_names[c]}", int(rows.sum())
        values = np.stack([ranks[rows] <= 1, ranks[rows] <= 3], axis=1)
        means, limits = mean_ci(values, seed=seed)
        for name, mean, (low, high) in zip(("top1", "top3"), means, limits, strict=True):
            figures.append(Figure("ensemble", group, name, float(mean), float(low), float(high), n, origin))
        figures.append(Figure("ensemble", group, "ece", ece(p[rows], truth[rows]), None, None, n, origin))
    return figures


def _groups(patients: pa.Table) -> dict[str, np.ndarray]:
    ages = np.array(
        [np.nan if age is None else age for age in patients.column("age").to_pylist()], dtype=float
    )
    return {"sex": np.array(patients.column("sex").to_pylist()), "age": np.asarray(age_group_names(ages))}
