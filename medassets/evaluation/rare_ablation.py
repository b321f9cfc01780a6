"""What each score and each few-shot method adds to the ranker: alone, added to it, removed from it.

What belongs here: learning the ranker again on the same episodes with more or fewer scores. What does not:
the figures of the test part (``evaluation.rare``): an ablation chooses what is served, so it reads episodes
of the training part alone.

Every method is fitted anew without the publications of the episodes that it scores, and the ranker is judged
on episodes that it did not learn from. Figures are mean reciprocal ranks on the episodes' lists; differences
are paired on the episodes. Intervals are 95 %, over publication groups. Diseases about which nothing is left
to know are not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from medassets.cohorts.splits import group_folds
from medassets.evaluation.figures import Finding
from medassets.evaluation.metrics import mean_ci
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_evidence import FEATURES, SCORES
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import learn_networks, list_ranks
from medassets.learners.rare.ranker_episodes import (
    Episodes,
    episode_groups,
    held_out_knowledge,
    make_episodes,
)

#: Scores of the ranker that are removed together.
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
#: The ranker as it is served, and with every few-shot method.
SERVED, TOGETHER = "ranker", "all few-shot methods"
#: Protocol of the episodes: the one that answers users.
_PROTOCOL: Literal["clean"] = "clean"
#: Folds of episodes that rankers learn on.
_RANKERS = 2


class Method(Protocol):
    """What is asked of a fitted method beside the ranker."""

    def score(self, cases: CaseSet) -> np.ndarray:
        """Return (n_cases, n_candidates), higher is better."""


#: Fits methods on knowledge and cases, by name.
Fit = Callable[[RareKnowledge, CaseSet], Mapping[str, Method]]


@dataclass(frozen=True)
class AblationConfig:
    """What an ablation may spend.

    Attributes:
        most_cases: training cases that take part, whole diseases; all when None.
        n_folds: folds of publication groups.
        asked_folds: how many of them become episodes.
        per_group: most cases of one publication group that become episodes.
        methods: budget of the few-shot methods, which are fitted for each asked fold.
        families: whether the ranker's own scores are removed as well.
        listwise: settings of the rankers.
        seed: of every draw.
    """

    most_cases: int | None
    n_folds: int
    asked_folds: int
    per_group: int
    methods: FewShotConfig
    families: bool
    listwise: ListwiseConfig
    seed: int = 0

    @classmethod
    def quick(cls, seed: int = 0) -> AblationConfig:
        """Settings for half a minute: a sample of diseases, one fold, everything learns for less long."""
        brief = FewShotConfig.quick(seed=seed, encoder_steps=30, dimension=64, meta_iterations=30)
        return cls(1500, 3, 1, 8, brief, False, ListwiseConfig(epochs=3), seed)

    @classmethod
    def full(cls, seed: int = 0) -> AblationConfig:
        """Settings for some minutes: every case is held out once."""
        return cls(None, 3, 3, 8, FewShotConfig.quick(seed=seed), True, ListwiseConfig(epochs=5), seed)


def ablation(
    knowledge: RareKnowledge, cases: CaseSet, config: AblationConfig, fit: Fit | None = None
) -> list[dict[str, Any]]:
    """Measure what the few-shot methods add to the ranker, and what each of its own scores does.

    Args:
        knowledge: annotations that cite no test publication.
        cases: training cases.
        config: budget.
        fit: fits the methods; :func:`few_shot_methods` when None.

    Returns:
        Rows with ``method``, ``group`` (``alone``, ``added`` or ``removed``), ``metric`` (``mrr``, or
        ``mrr_difference`` to the same without or with it), ``value``, ``low``, ``high`` and ``n``.

    Raises:
        ValueError: too few publication groups for the folds, or no episode with its disease on the list.
    """
    cases = _of_some_diseases(cases, config)
    groups = np.array(episode_groups(cases))
    episodes = make_episodes(
        knowledge, cases, _PROTOCOL,
        n_folds=config.n_folds, seed=config.seed, per_group=config.per_group, asked_folds=config.asked_folds,
    )  # fmt: skip
    methods = fit or (lambda known, shown: few_shot_methods(known, shown, config.methods))
    scores = held_out_scores(methods, knowledge, cases, episodes)
    # The methods' folds are done with: rankers learn on other ones, since the quick profile asks one alone.
    own = groups[episodes.case]
    episodes = replace(episodes, fold=group_folds(own.tolist(), _RANKERS, config.seed + 1))
    return list(_rows(_Comparison(episodes, own, config), scores, config.families))


def few_shot_methods(knowledge: RareKnowledge, cases: CaseSet, config: FewShotConfig) -> dict[str, Method]:
    """Fit the four few-shot methods; transfer borrows the prototypes' encoder.

    MAML is left out where too few diseases have cases of two publications to make its episodes.
    """
    from medassets.learners.rare.episodes import EpisodeError
    from medassets.learners.rare.maml import MAML
    from medassets.learners.rare.prototypical import PrototypicalNetwork
    from medassets.learners.rare.siamese import SiameseNetwork
    from medassets.learners.rare.transfer import TransferPrototypes

    prototypes = PrototypicalNetwork(config).fit(knowledge, cases)
    methods: dict[str, Method] = {
        "prototypical": prototypes,
        "siamese": SiameseNetwork(config).fit(knowledge, cases),
        "transfer": TransferPrototypes(config, network=prototypes).fit(knowledge, cases),
    }
    with suppress(EpisodeError):
        methods["maml"] = MAML(config).fit(knowledge, cases)
    return methods


def held_out_scores(
    fit: Fit, knowledge: RareKnowledge, cases: CaseSet, episodes: Episodes
) -> dict[str, np.ndarray]:
    """Score the episodes by methods that never saw their fold's publications.

    Args:
        fit: fits the methods anew.
        knowledge: annotations of the candidates.
        cases: the cases that the episodes were made of.
        episodes: the episodes; their folds are used again.

    Returns:
        By method float32 (n_episodes, K): the scores of the listed candidates, elsewhere the lowest score.
    """
    # Whole groups: not every case of a held-out publication need be an episode.
    groups = np.array(episode_groups(cases))
    scores: dict[str, np.ndarray] = {}
    for fold in np.unique(episodes.fold):
        rows = np.flatnonzero(episodes.fold == fold)
        held = np.isin(groups, groups[episodes.case[rows]])
        fitted = fit(held_out_knowledge(knowledge, cases[held], _PROTOCOL), cases[~held])
        candidates = episodes.candidates[rows]
        for name, method in fitted.items():
            every = method.score(cases[episodes.case[rows]])
            listed = np.take_along_axis(every, np.maximum(candidates, 0), axis=1)
            table = scores.setdefault(name, np.empty(episodes.candidates.shape, np.float32))
            table[rows] = np.where(candidates >= 0, listed, every.min())
    return scores


def check_what_is_served(rows: Sequence[Mapping[str, Any]]) -> Finding:
    """Pass unless a method that is not served surely adds to the ranker: its interval lies above zero."""
    added = [row for row in rows if row["group"] == "added"]
    said = "; ".join(f"{r['method']} {r['value']:+.4f} [{r['low']:+.4f}, {r['high']:+.4f}]" for r in added)
    helping = [row["method"] for row in added if row["low"] > 0]
    verdict = (
        f"{', '.join(helping)} would add to the ranker, which is served without"
        if helping
        else "none surely adds to the ranker: all stay assets and out of what is served"
    )
    return Finding(not helping, f"{verdict} (mean reciprocal rank, added: {said})")


def _of_some_diseases(cases: CaseSet, config: AblationConfig) -> CaseSet:
    """Return the cases of diseases drawn at random, whole, until there are enough."""
    if config.most_cases is None or len(cases) <= config.most_cases:
        return cases
    named = np.array([d or "" for d in cases.disease_ids])
    diseases, count = np.unique(named, return_counts=True)
    order = np.random.default_rng(config.seed).permutation(len(diseases))
    drawn = diseases[order[: np.searchsorted(np.cumsum(count[order]), config.most_cases, side="right")]]
    return cases[np.isin(named, drawn)]


class _Comparison:
    """Rankers that are learned on the same episodes with other scores."""

    def __init__(self, episodes: Episodes, groups: np.ndarray, config: AblationConfig) -> None:
        self._episodes, self._config = episodes, config
        self._counted = episodes.annotated | (episodes.shots > 0)
        self._groups = groups[self._counted]

    def alone(self, scores: np.ndarray) -> np.ndarray:
        """Return the reciprocal rank (n,) of each episode by one score (n, K)."""
        return np.asarray(1 / list_ranks(scores, self._episodes))

    def learned(self, added: Sequence[np.ndarray] = (), without: Sequence[str] = ()) -> np.ndarray:
        """Learn the ranker with further scores and without some of its own: (n,) reciprocal ranks."""
        features = self._episodes.features
        if without:
            features = features.copy()
            features[:, :, [FEATURES.index(name) for s in without for name in (s, f"{s}_gap")]] = 0
        columns = [part for s in added for part in (s, s - s.max(axis=1, keepdims=True))]
        features = np.concatenate(
            [features, *(part[:, :, None].astype(np.float16) for part in columns)], axis=2
        )
        episodes = replace(self._episodes, features=features)
        return self.alone(learn_networks(episodes, self._config.listwise, self._config.seed)[1])

    def row(
        self, method: str, group: str, values: np.ndarray, beside: np.ndarray | None = None
    ) -> dict[str, Any]:
        """Return one figure: the mean of (n,) reciprocal ranks, or of their difference to others."""
        counted = (values if beside is None else values - beside)[self._counted]
        mean, interval = mean_ci(counted[:, None], groups=self._groups, seed=self._config.seed)
        low, high = interval[0].tolist()
        return {
            "method": method, "group": group, "metric": "mrr" if beside is None else "mrr_difference",
            "value": float(mean[0]), "low": low, "high": high, "n": len(counted),
        }  # fmt: skip


def _rows(
    compared: _Comparison, scores: Mapping[str, np.ndarray], families: bool
) -> Iterator[dict[str, Any]]:
    """Yield the rows of :func:`ablation`."""
    base, together = compared.learned(), compared.learned(list(scores.values()))
    yield compared.row(SERVED, "alone", base)
    yield compared.row(TOGETHER, "added", together, base)
    for name, own in scores.items():
        others = [s for other, s in scores.items() if other != name]
        yield compared.row(name, "alone", compared.alone(own))
        yield compared.row(name, "added", compared.learned([own]), base)
        yield compared.row(name, "removed", compared.learned(others), together)
    for family, members in FAMILIES.items() if families else ():
        yield compared.row(family, "removed", compared.learned(without=members), base)
