"""What the evaluation assets measure: each served model on rows that it never saw, as tables and findings.

What belongs here: asking models and handing their answers to the measures. What does not: the measures
(``evaluation``) and Dagster (``assets.evaluation``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from medassets.evaluation.figures import Finding
from medassets.orchestration.training import CommonData, RareData
from medassets.settings import Settings

if TYPE_CHECKING:
    from medassets.evaluation.common import CommonEvaluation
    from medassets.features.pooling import CommonPrediction

#: Name of the served common model in reports.
SERVED = "ensemble"


def ask_common(ensemble: Any, data: CommonData, seed: int) -> CommonEvaluation:
    """Let an ensemble answer the test part, and measure the answers and its sets under noise."""
    from dataclasses import replace

    from medassets.evaluation.common import evaluate, sets_under_noise
    from medassets.evaluation.figures import COMMON_REPORT, figure_table

    judged = evaluate(ensemble, data.test, data.knowledge, seed=seed)
    noisy = figure_table(sets_under_noise(ensemble, data.test, data.knowledge, seed=seed), COMMON_REPORT)
    return replace(judged, figures=pa.concat_tables([judged.figures, noisy]))


def answer_common(ensemble: Any, data: CommonData) -> tuple[CommonPrediction, np.ndarray]:
    """Let an ensemble answer the test part, without measuring: what it predicted, and the true conditions."""
    from medassets.evaluation.common import true_conditions

    made = ensemble.predict_matrix(data.training.space.encode_table(data.test))
    return made, true_conditions(data.test, data.knowledge)


def severity_of(data: CommonData) -> np.ndarray:
    """Give the severity (1 is the gravest) of each condition."""
    return np.asarray(data.knowledge.severity)


def common_findings(
    probabilities: np.ndarray,
    truth: np.ndarray,
    data: CommonData,
    fairness: pa.Table,
    robustness: pa.Table,
) -> dict[str, Finding]:
    """Judge the ensemble's safety, fairness and robustness on the test part."""
    from medassets.evaluation.fairness import check_fairness
    from medassets.evaluation.robustness import check_against_line
    from medassets.evaluation.safety import check_critical_misses, critical_miss_metrics

    misses = critical_miss_metrics(probabilities, truth, severity_of(data))
    return {
        "critical misses": check_critical_misses(misses),
        "fairness": check_fairness(fairness),
        "robustness": check_against_line(robustness, SERVED),
    }


def all_models(ensemble: Any, data: CommonData) -> Callable[[pa.Table], dict[str, np.ndarray]]:
    """Give a function that asks every model at once, for the robustness grid."""

    def predict(patients: pa.Table) -> dict[str, np.ndarray]:
        answer = ensemble.predict(data.training.space.encode_table(patients))
        return {SERVED: answer.probabilities, **answer.models}

    return predict


def rare_rows(methods: Mapping[str, Any], ranker: Any, data: RareData) -> list[dict[str, Any]]:
    """Rank the test cases by the ranker, under each protocol that it learned, by each method alone, clean,
    and with diseases held out whole.

    Args:
        methods: name to a method fitted on ``data.train`` and ``data.clean_knowledge``.
        ranker: the ranker, fitted on the same.
        data: the cases and what is known.
    """
    from medassets.evaluation.rare import (
        compared_candidates,
        evaluate_ranker,
        figure_rows,
        known_case_groups,
        rank_cases,
    )

    rows = evaluate_ranker(ranker.model, data.knowledge, data.test)
    clean = data.clean_knowledge
    truth, labels = clean.labels(data.test), clean.labels(data.train)
    shots = np.bincount(labels[labels >= 0], minlength=len(clean))
    groups = known_case_groups(truth, shots, clean.has_annotation)
    among = compared_candidates(clean, data.train, {(d or "").split(":")[0] for d in data.test.disease_ids})
    for name, method in methods.items():
        (ranks,) = rank_cases(method.score, data.test, truth, among)
        rows += figure_rows("clean", name, "own", ranks, groups, data.test)
    return rows + _open_set_rows(ranker.model, data)


def clean_ranks(ranker: Any, data: RareData) -> np.ndarray:
    """Rank the test cases among the compared candidates, with a memory of the training part alone.

    Returns:
        (n_cases,) ranks of the true disease; infinity where it is not ranked.
    """
    from medassets.evaluation.rare import compared_candidates, rank_cases

    clean = data.clean_knowledge
    model = ranker.model.with_memory(clean, data.train)
    among = compared_candidates(clean, data.train, {(d or "").split(":")[0] for d in data.test.disease_ids})
    (ranks,) = rank_cases(model.score, data.test, clean.labels(data.test), among)
    return np.asarray(ranks)


def ablation_rows(data: RareData, settings: Settings) -> list[dict[str, Any]]:
    """Measure what methods and scores add to the ranker; nothing of the test part is read.

    Returns:
        Rows of ``evaluation/rare_ablation``.
    """
    from medassets.evaluation.rare_ablation import AblationConfig, ablation

    make = AblationConfig.quick if settings.profile == "quick" else AblationConfig.full
    rows = ablation(data.clean_knowledge, data.train, make(settings.seed))
    return [{"origin": data.origin, **row} for row in rows]


def _open_set_rows(model: Any, data: RareData) -> list[dict[str, Any]]:
    """Measure whether diseases held out whole are noticed; no rows where the cases allow no such test."""
    from medassets.evaluation.rare_open import held_out_diseases, open_set

    held_out = held_out_diseases(model, data.test, seed=0)
    try:
        return list(open_set(model, data.test, held_out).rows())
    except ValueError:  # all test cases are of known, or all of unknown diseases
        return []
