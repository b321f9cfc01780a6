"""Reasons of a rare-disease answer: what each finding says, and which finding to look for next.

What belongs here: likelihood ratios a term and candidate, expected information gain. What does not: the
ranking itself, which weighs more than these ratios (known cases, similarity, what was looked for): their
sum is a reason, not the score.

Sources: likelihood ratios after LIRICAL (Robinson et al., AJHG 2020); a term that a disease does not list
is explained by the ancestors that it does list. Expected information gain after Lindley (1956).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medassets.features.cases import CaseSet
from medassets.features.rare_model import Ranking, RareModel

_TOP = 10
_SURE = 0.02


def term_evidence(model: RareModel, case: CaseSet, candidate: int) -> list[dict[str, Any]]:
    """Return what each finding of the first of ``case`` says about one candidate, strongest first.

    Args:
        model: the ranker.
        case: set of one case.
        candidate: column of the candidate.

    Returns:
        Rows with ``hpo_id``, ``label``, ``state``, ``direction`` and ``log_ratio`` (natural logarithm).
    """
    ontology = model.knowledge.ontology
    ratios = model.evidence.term_log_ratios(case.observed[0], case.excluded[0], candidate)
    states = ["observed"] * len(case.observed[0]) + ["excluded"] * len(case.excluded[0])
    rows = [
        {
            "hpo_id": ontology.terms[term],
            "label": ontology.names[term],
            "state": state,
            "direction": "for" if ratio >= 0 else "against",
            "log_ratio": float(ratio),
        }
        for term, state, ratio in zip(
            np.concatenate([case.observed[0], case.excluded[0]]), states, ratios, strict=True
        )
    ]
    return sorted(rows, key=lambda row: (-abs(row["log_ratio"]), row["hpo_id"]))


def discriminating_phenotypes(
    model: RareModel, case: CaseSet, ranking: Ranking, n: int
) -> list[dict[str, Any]]:
    """Return the phenotypes whose presence or absence would tell the leading candidates apart best.

    The gain is the expected drop in entropy over the leading candidates, in bits, when a term is looked
    for. Terms that the case already answers (observed or implied, excluded or below an excluded one) are
    left out, and so are relatives of a term already chosen.

    Args:
        model: the ranker.
        case: set of one case.
        ranking: its ranking.
        n: number of phenotypes.
    """
    ontology = model.knowledge.ontology
    columns = ranking.candidates[:_TOP]
    prior = ranking.probabilities[:_TOP]
    if len(columns) < 2 or prior.sum() <= 0:
        return []
    prior = prior / prior.sum()
    frequency = model.evidence.frequencies(columns)
    share = np.clip(frequency, _SURE, 1 - _SURE)
    present = prior @ share
    gain = _entropy(prior[:, None]) - (
        present * _entropy(prior[:, None] * share / present)
        + (1 - present) * _entropy(prior[:, None] * (1 - share) / (1 - present))
    )
    known = ontology.implied(case.observed[0].tolist())
    excluded = set(case.excluded[0].tolist())
    chosen: list[int] = []
    for term in np.argsort(-gain, kind="stable"):
        term = int(term)
        if len(chosen) == n or gain[term] <= 1e-6:
            break
        above = ontology.ancestors(term)
        related = any(other in above or term in ontology.ancestors(other) for other in chosen)
        if not related and term not in known and excluded.isdisjoint(above):
            chosen.append(term)
    return [
        {
            "hpo_id": ontology.terms[term],
            "label": ontology.names[term],
            "gain": float(gain[term]),
            "frequency": {
                model.knowledge.candidates[column]: round(float(frequency[row, term]), 3)
                for row, column in enumerate(columns[:5])
            },
        }
        for term in chosen
    ]


def _entropy(p: np.ndarray) -> np.ndarray:
    """Return the entropy of each column in bits."""
    return np.asarray(-(p * np.log2(np.maximum(p, 1e-12))).sum(axis=0))
