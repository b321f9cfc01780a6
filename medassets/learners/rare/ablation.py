"""What each score adds to the ranker: alone, removed, and - for methods that are not served - added.

What belongs here: learning the ranker again on the same episodes with fewer or more scores. What does not:
the figures of the test part (``evaluation.rare``): an ablation chooses what is served, so it reads episodes
of the training part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from medassets.cohorts.splits import publication_groups
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_evidence import FEATURES, SCORES
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import learn_networks, list_ranks
from medassets.learners.rare.ranker_episodes import Episodes, held_out_knowledge
from medassets.learners.rare.ranker_episodes import Protocol as Protocols

#: Scores that are removed together.
FAMILIES: dict[str, tuple[str, ...]] = {
    "likelihood ratios of annotations": ("own_observed", "own_excluded"),
    "likelihood ratios with cases": ("updated_observed", "updated_excluded"),
    "similarity to annotations": (
        "own_cosine",
        "own_best_match",
        "own_mixture",
        "own_covered",
        "listed_overlap",
    ),
    "similarity to updated profiles": ("updated_cosine", "updated_best_match", "updated_mixture"),
    "Orphanet rows": ("foreign_cosine", "foreign_best_match", "foreign_mixture", "foreign_covered"),
    "what was assessed": ("assessed_of_disease", "assessed_of_case", "excluded_listed"),
    "single sources": ("source_assessed", "source_seen"),
    "nearest cases": tuple(s for s in SCORES if s.startswith(("nearest_", "average_"))),
    "ridge regression": ("ridge",),
    "sex": ("sex",),
}
_GROUPS: dict[str, tuple[float, float]] = {
    "shots_0": (0, 0),
    "shots_1_4": (1, 4),
    "shots_5_50": (5, 50),
    "shots_over_50": (51, np.inf),
}


class Method(Protocol):
    """What is asked of a method beside the ranker."""

    def fit(self, knowledge: RareKnowledge, cases: CaseSet) -> Any:
        """Learn from annotations and cases."""

    def score(self, cases: CaseSet) -> np.ndarray:
        """Return (n_cases, n_candidates), higher is better."""


def ablation(
    episodes: Episodes, config: ListwiseConfig, seed: int, families: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """Rank the episodes by each score alone, and by rankers that lack one family of scores.

    Args:
        episodes: of the training part.
        config: settings of the networks.
        seed: of the networks.
        families: scores to remove together; ``FAMILIES`` when None.

    Returns:
        Rows with ``scores``, ``setting`` (``all``, ``alone`` or ``removed``), ``group``, ``top1``,
        ``top10``, ``n``.
    """
    rows = figures("all scores", "all", _ranks(episodes, config, seed), episodes)
    for score in SCORES:
        column = episodes.features[:, :, FEATURES.index(score)]
        rows += figures(score, "alone", list_ranks(column, episodes), episodes)
    for family, members in (families or FAMILIES).items():
        lacking = {FEATURES.index(name) for s in members for name in (s, f"{s}_gap")}
        blank = episodes.features.copy()
        blank[:, :, sorted(lacking)] = 0
        rows += figures(family, "removed", _ranks(replace(episodes, features=blank), config, seed), episodes)
    return rows


def added(
    episodes: Episodes, scores: Mapping[str, np.ndarray], config: ListwiseConfig, seed: int
) -> list[dict[str, Any]]:
    """Rank the episodes by each further method alone and by rankers that also read it.

    Args:
        episodes: of the training part.
        scores: by method (n_episodes, n_candidates), as :func:`held_out_scores` gives them.
        config: settings of the networks.
        seed: of the networks.
    """
    rows = figures("all scores", "all", _ranks(episodes, config, seed), episodes)
    for method, values in scores.items():
        listed = np.take_along_axis(values, np.maximum(episodes.candidates, 0), axis=1)
        listed = np.where(episodes.candidates >= 0, listed, values.min()).astype(np.float16)
        rows += figures(method, "alone", list_ranks(listed, episodes), episodes)
        gap = listed - listed.max(axis=1, keepdims=True)
        wider = np.concatenate([episodes.features, listed[:, :, None], gap[:, :, None]], axis=2)
        rows += figures(method, "added", _ranks(replace(episodes, features=wider), config, seed), episodes)
    return rows


def held_out_scores(
    make: Callable[[], Method],
    knowledge: RareKnowledge,
    cases: CaseSet,
    episodes: Episodes,
    protocol: Protocols,
) -> np.ndarray:
    """Return float32 (n_episodes, n_candidates): scores of a method that never saw the fold's publications.

    Args:
        make: gives a new, unfitted method.
        knowledge: annotations of the candidates.
        cases: the cases that the episodes were made of.
        episodes: the episodes; their folds are used again.
        protocol: as the episodes were made with.
    """
    scores = np.empty((len(episodes), len(knowledge)), np.float32)
    # Whole groups: not every case of a held-out publication need be an episode.
    groups = np.array(publication_groups(cases.case_ids, cases.pmids))
    for fold in np.unique(episodes.fold):
        rows = np.flatnonzero(episodes.fold == fold)
        held = np.isin(groups, groups[episodes.case[rows]])
        method = make()
        method.fit(held_out_knowledge(knowledge, cases[held], protocol), cases[~held])
        scores[rows] = method.score(cases[episodes.case[rows]])
    return scores


def figures(scores: str, setting: str, ranks: np.ndarray, episodes: Episodes) -> list[dict[str, Any]]:
    """Return one row a group of known cases; diseases about which nothing was known are left out."""
    informed = episodes.annotated | (episodes.shots > 0)
    rows = []
    for group, (low, high) in {"all": (0, np.inf), **_GROUPS}.items():
        chosen = ranks[informed & (episodes.shots >= low) & (episodes.shots <= high)]
        if len(chosen):
            rows.append(
                {
                    "scores": scores, "setting": setting, "group": group,
                    "top1": float((chosen <= 1).mean()), "top10": float((chosen <= 10).mean()),
                    "n": len(chosen),
                }
            )  # fmt: skip
    return rows


def _ranks(episodes: Episodes, config: ListwiseConfig, seed: int) -> np.ndarray:
    return list_ranks(learn_networks(episodes, config, seed)[1], episodes)
