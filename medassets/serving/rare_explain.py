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

#: Candidates among which the next finding is to tell.
LEADING = 10
_SURE = 0.02


def term_evidence(model: RareModel, case: CaseSet, frequency: np.ndarray) -> list[dict[str, Any]]:
    """Return what each finding of the first of ``case`` says about one candidate, strongest first.

    Args:
        model: the ranker.
        case: set of one case.
        frequency: (n_terms,) of the candidate, as ``Evidence.frequencies`` gives it.

    Returns:
        Rows with ``hpo_id``, ``label``, ``state``, ``direction`` and ``log_ratio`` (natural logarithm).
    """
    ontology = model.knowledge.ontology
    ratios = model.evidence.term_log_ratios(case.observed[0], case.excluded[0], frequency)
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
    model: RareModel, case: CaseSet, ranking: Ranking, frequency: np.ndarray, n: int
) -> list[dict[str, Any]]:
    """Return the phenotypes whose presence or absence would tell the leading candidates apart best.

    The gain is the expected drop in entropy over the leading candidates, in bits, when a term is looked
    for. Terms that the case already answers (observed or implied, excluded or below an excluded one) are
    left out, and so are relatives of a term already chosen.

    Args:
        model: the ranker.
        case: set of one case.
        ranking: its ranking.
        frequency: (at least ``LEADING``, n_terms) of its leading candidates, fewer where it has fewer.
        n: number of phenotypes.
    """
    ontology = model.knowledge.ontology
    columns = ranking.candidates[:LEADING]
    prior = ranking.probabilities[:LEADING]
    if len(columns) < 2 or prior.sum() <= 0:
        return []
    prior = prior / prior.sum()
    frequency = frequency[: len(columns)]
    # A term that all candidates have equally often tells nothing: of most of the ontology that is so.
    telling = np.flatnonzero((frequency > _SURE).any(axis=0))
    share = np.clip(frequency[:, telling], _SURE, 1 - _SURE)
    present = prior @ share
    gain = _entropy(prior[:, None]) - (
        present * _entropy(prior[:, None] * share / present)
        + (1 - present) * _entropy(prior[:, None] * (1 - share) / (1 - present))
    )
    known = ontology.implied(case.observed[0].tolist())
    excluded = set(case.excluded[0].tolist())
    chosen: list[int] = []
    gain_of: dict[int, float] = {}
    for place in np.argsort(-gain, kind="stable"):
        term = int(telling[place])
        if len(chosen) == n or gain[place] <= 1e-6:
            break
        above = ontology.ancestors(term)
        related = any(other in above or term in ontology.ancestors(other) for other in chosen)
        if not related and term not in known and excluded.isdisjoint(above):
            chosen.append(term)
            gain_of[term] = float(gain[place])
    return [
        {
            "hpo_id": ontology.terms[term],
            "label": ontology.names[term],
            "gain": gain_of[term],
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
