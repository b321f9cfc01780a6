"""What the evaluation assets measure: each served model on rows that it never saw, as tables and findings.

What belongs here: asking models and handing their answers to the measures. What does not: the measures
(``evaluation``) and Dagster (``assets.evaluation``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from medassets.evaluation.figures import Finding
from medassets.orchestration.training import CommonData, RareData

if TYPE_CHECKING:
    from medassets.evaluation.common import CommonEvaluation
    from medassets.features.cases import CaseSet
    from medassets.knowledge.ontology import Ontology

#: Name of the served common model in reports.
SERVED = "ensemble"
#: Figures of a rare-disease method, in the order of the report.
RARE_METRICS = ("top1", "top3", "top10", "mrr")


def ask_common(ensemble: Any, data: CommonData, seed: int) -> CommonEvaluation:
    """Let an ensemble answer the test part, and measure the answers."""
    from medassets.evaluation.common import evaluate

    return evaluate(ensemble, data.test, data.knowledge, seed=seed)


def severity_of(data: CommonData) -> np.ndarray:
    """Give the severity (1 is the gravest) of each condition."""
    return np.asarray(data.knowledge.severity)


def common_findings(
    judged: CommonEvaluation, data: CommonData, fairness: pa.Table, robustness: pa.Table
) -> dict[str, Finding]:
    """Judge the ensemble's safety, fairness and robustness."""
    from medassets.evaluation.fairness import check_fairness
    from medassets.evaluation.robustness import check_against_line
    from medassets.evaluation.safety import check_critical_misses, critical_miss_metrics

    misses = critical_miss_metrics(judged.prediction.probabilities, judged.truth, severity_of(data))
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


class MethodScorer:
    """A rare-disease method in the shape that the validation protocol asks of a ranker."""

    def __init__(self, method: Any, data: RareData) -> None:
        knowledge = data.clean_knowledge
        labels = knowledge.labels(data.train)
        self._method, self._index = method, knowledge.index
        self.candidates = list(knowledge.candidates)
        self.shots = np.bincount(labels[labels >= 0], minlength=len(self.candidates))
        self.annotated = knowledge.has_annotation
        self.ontology: Ontology = knowledge.ontology

    def canonical(self, disease_id: str) -> str:
        """Id under which a disease is a candidate."""
        column = self._index.get(disease_id)
        return disease_id if column is None else self.candidates[column]

    def score(self, cases: CaseSet) -> np.ndarray:
        """(n_cases, n_candidates), higher is better."""
        found: np.ndarray = self._method.score(cases)
        return found

    def without_publications(self, pmids: Collection[str]) -> MethodScorer:
        """Refuse: the methods were trained without the test publications already.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("trained without the test publications: there is nothing left to leave out")


def rare_rows(methods: Mapping[str, Any], data: RareData) -> list[dict[str, Any]]:
    """Rank the test cases by each method, which saw no case and no annotation row of a test publication."""
    from medassets.serving.validation import rare_report

    rows: list[dict[str, Any]] = []
    for name, method in methods.items():
        report = rare_report(MethodScorer(method, data), data.test)
        for listed, groups in (("own", report["groups"]), ("all", report["full"]["groups"])):
            rows += _rank_rows(name, listed, groups, data.origin)
    return rows


def _rank_rows(method: str, listed: str, groups: Mapping[str, Any], origin: str) -> Iterable[dict[str, Any]]:
    for group, metrics in groups.items():
        for metric in RARE_METRICS:
            low, high = metrics["ci95"].get(metric, (None, None)) if metrics.get("ci95") else (None, None)
            yield {
                "protocol": "clean",
                "method": method,
                "candidates": listed,
                "group": group,
                "metric": metric,
                "value": metrics.get(metric),
                "low": low,
                "high": high,
                "n": metrics["n"],
                "origin": origin,
            }
