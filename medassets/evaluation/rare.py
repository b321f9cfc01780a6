"""Protocols of the rare-disease figures: which cases, which candidates, which groups, and what is left out.

What belongs here: ranking test cases by protocol and group.
What does not: the metrics themselves (``metrics``), few-shot episodes (``few_shot``), unknown diseases
(``rare_open``), the page (``report_rare``).

Two protocols. ``clean``: no case and no annotation row of a test publication was seen. ``published``: the
annotations stand as published, so that some describe the very test case; other papers measure this way.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from medassets.cohorts.splits import publication_groups
from medassets.evaluation.metrics import rank_metrics, ranks_of
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


def rank_cases(score: Score, cases: CaseSet, truth: np.ndarray, *among: np.ndarray) -> np.ndarray:
    """Return float64 (n_lists, n_cases): rank of the true disease, infinity where it is no candidate.

    Args:
        score: gives (n, n_candidates), higher is better; each case is scored once.
        cases: the cases.
        truth: (n_cases,) column of the true disease, -1 where it is none.
        among: for each list of candidates bool (n_candidates,), those that count.
    """
    ranks = np.full((len(among), len(cases)), np.inf)
    places = [np.where(listed, np.cumsum(listed) - 1, -1) for listed in among]
    for start in range(0, len(cases), _CHUNK):
        rows = slice(start, start + _CHUNK)
        scores = score(cases[rows])
        for own, listed, place in zip(ranks, among, places, strict=True):
            own[rows] = ranks_of(scores[:, listed], np.where(truth[rows] >= 0, place[truth[rows]], -1))
    return ranks


def known_case_groups(truth: np.ndarray, shots: np.ndarray, annotated: np.ndarray) -> dict[str, np.ndarray]:
    """Return bool masks (n_cases,) by number of known cases of the disease.

    Args:
        truth: (n_cases,) column of the true disease, -1 where it is none.
        shots: (n_candidates,) known cases.
        annotated: (n_candidates,) whether own annotation rows are known.
    """
    known = np.where(truth >= 0, shots[truth], 0)
    with_rows = (truth >= 0) & annotated[truth]
    return {
        "all": np.ones(len(truth), bool),
        "annotated": with_rows,
        "shots_0": (known == 0) & with_rows,
        "shots_1_4": (known >= 1) & (known < 5),
        "shots_5_50": (known >= 5) & (known <= 50),
        "shots_over_50": known > 50,
    }


def person_groups(cases: CaseSet, ontology: Ontology) -> dict[str, np.ndarray]:
    """Return bool masks (n_cases,) by sex, age and organ system.

    Args:
        cases: the cases.
        ontology: gives the organ systems; a case belongs to each system that one of its observed terms is of.
    """
    sexes = np.array(cases.sex)
    groups = {f"sex_{sex}": sexes == sex for sex in ("F", "M", "unknown")}
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
        groups = known_case_groups(truth, known.memory.shots, known.knowledge.has_annotation)
        everyone = np.ones(len(known.knowledge), bool)
        own = compared_candidates(known.knowledge, known.cases, _databases(test))
        among_own, among_all = rank_cases(partial(known.score, protocol=protocol), test, truth, own, everyone)
        persons = person_groups(test, known.knowledge.ontology)
        rows += figure_rows(protocol, "ranker", "own", among_own, groups | persons, test)
        rows += figure_rows(protocol, "ranker", "all", among_all, groups, test)
    return rows


def _databases(cases: CaseSet) -> set[str]:
    return {disease.split(":")[0] for disease in cases.disease_ids if disease is not None}
