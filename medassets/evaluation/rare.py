"""Protocols of the rare-disease figures: which cases, which candidates, which groups, and what is left out.

What belongs here: ranking test cases by protocol and group, accuracy over the number of known cases.
What does not: the metrics themselves (``metrics``), few-shot episodes (``few_shot``), unknown diseases
(``rare_open``), the page (``report_rare``).

Two protocols. ``clean``: no case and no annotation row of a test publication was seen. ``published``: the
annotations stand as published, so that some describe the very test case; other papers measure this way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from medassets.cohorts.splits import publication_groups
from medassets.evaluation.metrics import rank_metrics
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_model import RareModel
from medassets.knowledge.ontology import Ontology

METRICS = ("top1", "top3", "top10", "mrr")
_CHUNK = 256
_DAYS = 365.25
#: Age groups in years, upper bounds excluded.
AGE_GROUPS = (("under_1", 0, 1), ("1_to_5", 1, 6), ("6_to_17", 6, 18), ("18_and_over", 18, 200))

Score = Callable[[CaseSet], np.ndarray]


def compared_candidates(
    knowledge: RareKnowledge, train: CaseSet, databases: Collection[str] = ("OMIM",)
) -> np.ndarray:
    """Return bool (n_candidates,): the diseases that the agreed comparison ranks.

    These are the diseases of the given databases that have an annotation row of their own, as far as
    ``knowledge`` still holds it, or a training case.
    """
    named = np.array([c.split(":")[0] in databases for c in knowledge.candidates], dtype=bool)
    labels = knowledge.labels(train)
    known = np.bincount(labels[labels >= 0], minlength=len(knowledge)) > 0
    return np.asarray(named & (knowledge.has_annotation | known))


def rank_cases(
    score: Score, cases: CaseSet, truth: np.ndarray, among: np.ndarray | None = None
) -> np.ndarray:
    """Return float64 (n_cases,): rank of the true disease, infinity where it is not among the candidates.

    Args:
        score: gives (n, n_candidates), higher is better.
        cases: the cases.
        truth: (n_cases,) column of the true disease, -1 where it is none.
        among: bool (n_candidates,), candidates that count; all when None.
    """
    ranks = np.full(len(cases), np.inf)
    for start in range(0, len(cases), _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, len(cases)))
        scores = np.asarray(score(cases[rows]), dtype=np.float64)
        if among is not None:
            scores[:, ~among] = -np.inf
        known = truth[rows] >= 0
        own = scores[np.flatnonzero(known), truth[rows][known]][:, None]
        above = (scores[known] > own).sum(axis=1) + ((scores[known] == own).sum(axis=1) - 1) / 2 + 1
        ranks[rows[known]] = np.where(np.isfinite(own[:, 0]), above, np.inf)
    return ranks


def case_groups(
    cases: CaseSet, truth: np.ndarray, shots: np.ndarray, annotated: np.ndarray, ontology: Ontology
) -> dict[str, np.ndarray]:
    """Return bool masks (n_cases,) by group: known cases of the disease, sex, age, organ system.

    Args:
        cases: the cases.
        truth: (n_cases,) column of the true disease, -1 where it is none.
        shots: (n_candidates,) known cases.
        annotated: (n_candidates,) whether own annotation rows are known.
        ontology: gives the organ systems; a case belongs to each system that one of its observed terms is of.
    """
    known = np.where(truth >= 0, shots[truth], 0)
    with_rows = (truth >= 0) & annotated[truth]
    groups = {
        "all": np.ones(len(cases), bool),
        "annotated": with_rows,
        "shots_0": (known == 0) & with_rows,
        "shots_1_4": (known >= 1) & (known < 5),
        "shots_5_50": (known >= 5) & (known <= 50),
        "shots_over_50": known > 50,
    }
    sexes = np.array(cases.sex)
    groups |= {f"sex_{sex}": sexes == sex for sex in ("F", "M", "unknown")}
    years = cases.age_days / _DAYS
    groups |= {f"age_{name}": (years >= low) & (years < high) for name, low, high in AGE_GROUPS}
    groups["age_unknown"] = np.isnan(years)
    systems = [
        {s for term in observed for s in ontology.organ_systems(int(term))} for observed in cases.observed
    ]
    for root in ontology.organ_system_roots:
        groups[f"organ_{ontology.names[root]}"] = np.array([root in s for s in systems], dtype=bool)
    return groups


def figure_rows(
    protocol: str,
    method: str,
    listed: str,
    ranks: np.ndarray,
    groups: Mapping[str, np.ndarray],
    cases: CaseSet,
) -> Iterator[dict[str, Any]]:
    """Yield one row a group and metric, with a 95 % interval over publication groups.

    Args:
        protocol: ``clean`` or ``published``.
        method: name of the method.
        listed: ``own`` (the databases of the diagnoses) or ``all`` candidates.
        ranks: (n_cases,) ranks.
        groups: masks by group; empty groups give no row.
        cases: the ranked cases.
    """
    cluster = np.array(publication_groups(cases.case_ids, cases.pmids))
    origin = "+".join(sorted(set(cases.origins)))
    for group, mask in groups.items():
        if not mask.any():
            continue
        figures = rank_metrics(ranks[mask], groups=cluster[mask])
        for metric in METRICS:
            low, high = figures["ci95"][metric]
            yield {
                "protocol": protocol, "method": method, "candidates": listed, "group": group,
                "metric": metric,
                "value": figures[metric], "low": low, "high": high, "n": figures["n"], "origin": origin,
            }  # fmt: skip


def evaluate_ranker(model: RareModel, published: RareKnowledge, test: CaseSet) -> list[dict[str, Any]]:
    """Rank the test cases under each protocol that a head was learned for.

    Args:
        model: the ranker, fitted on training cases and on annotations that cite no test publication.
        published: the annotations as published, over the same candidates.
        test: the test cases.

    Raises:
        ValueError: the two annotations rank different candidates.
    """
    if published.candidates != model.knowledge.candidates:
        raise ValueError("the annotations as published rank other candidates than the model")
    rows: list[dict[str, Any]] = []
    for protocol in sorted(model.heads):
        known = model if protocol == "clean" else model.with_memory(published, model.cases)
        truth = known.knowledge.labels(test)
        groups = case_groups(
            test, truth, known.memory.shots, known.knowledge.has_annotation, known.knowledge.ontology
        )
        own = compared_candidates(known.knowledge, known.cases, _databases(test))
        scores = ScoreCache(known, protocol)
        for listed, among in (("own", own), ("all", None)):
            ranks = rank_cases(scores, test, truth, among)
            rows += figure_rows(protocol, "ranker", listed, ranks, groups, test)
    return rows


class ScoreCache:
    """Scores of a model under one protocol; a set that was scored once is not scored again."""

    def __init__(self, model: RareModel, protocol: str) -> None:
        self._model, self._protocol = model, protocol
        self._kept: dict[tuple[str, ...], np.ndarray] = {}

    def __call__(self, cases: CaseSet) -> np.ndarray:
        """Return (n_cases, n_candidates)."""
        key = tuple(cases.case_ids)
        if key not in self._kept:
            self._kept[key] = self._model.score(cases, self._protocol)
        return self._kept[key].copy()


def accuracy_over_cases(
    model: RareModel, test: CaseSet, counts: Sequence[int] = (0, 1, 2, 3, 5, 10), *, at_least: int = 10
) -> list[dict[str, Any]]:
    """Let each disease have no more than so many known cases, and rank again: what each new case adds.

    Args:
        model: the ranker; the heads stay, the memory is renewed.
        test: the test cases; those count whose disease has ``at_least`` known cases.
        counts: numbers of known cases of every such disease.
        at_least: known cases that a disease needs to be shown.

    Returns:
        Rows with ``known_cases``, ``top1``, ``top10``, ``mrr`` and ``n``.
    """
    labels = model.knowledge.labels(model.cases)
    shots, truth = model.memory.shots, model.knowledge.labels(test)
    chosen = np.flatnonzero((truth >= 0) & (shots[truth] >= at_least))
    rows: list[dict[str, Any]] = []
    if len(chosen) == 0:
        return rows
    position = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        position[members] = np.arange(len(members))
    limited = np.isin(labels, np.unique(truth[chosen]))
    for count in counts:
        known = model.with_memory(model.knowledge, model.cases[~limited | (position < count)])
        figures = rank_metrics(rank_cases(known.score, test[chosen], truth[chosen]))
        rows.append({"known_cases": count, **{m: figures[m] for m in ("top1", "top10", "mrr", "n")}})
    return rows


def _databases(cases: CaseSet) -> set[str]:
    return {disease.split(":")[0] for disease in cases.disease_ids if disease is not None}
