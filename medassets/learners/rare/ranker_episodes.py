"""Episodes of the ranker: known cases, each compared as if its publications had never been read.

What belongs here: holding publication groups out of the case memory and, in the clean protocol, out of the
annotations, so that diseases become zero-shot and few-shot exactly as for a new case. What does not: the
learning itself (``listwise``). These episodes rank all candidates; the N-way K-shot episodes of
meta-learning are ``episodes``.

Published cases come in series, so that a fold leaves many diseases without a case and some without an
annotation. Each simulated case has a publication of its own: no fold would, and a ranker would learn that the
answer always has known cases. Half of the simulated diseases are therefore held out whole, and some of these
with their annotations, as diseases that nobody knows.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from medassets.cohorts.splits import group_folds, publication_groups
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_evidence import FEATURES, LIST_WITH, LIST_WITHOUT, Evidence
from medassets.features.rare_memory import CaseMemory

Protocol = Literal["clean", "published"]
SIMULATED = "simulated"
#: Eighths of the simulated diseases that are held out whole, and with their annotations.
_WHOLE, _UNKNOWN = 4, 1
#: Largest feature of an episode: what float16 holds.
_LARGEST = 60_000.0
#: Observed terms of a brief case.
_FEWEST, _MOST = 3, 6


@dataclass(frozen=True, eq=False)
class Episodes:
    """Held-out cases with their candidate lists. n episodes, K places on a list, F features.

    Attributes:
        case: (n,) position of the case in the set that the episodes were made of.
        fold: (n,) fold that the case was held out with.
        candidates: (n, K) columns, listed ones first, then -1.
        features: (n, K, F) float16, 0 where nothing is listed; half the memory, and finer than what the
            networks can tell apart.
        target: (n,) place of the true disease on the list, -1 where it is not listed.
        weight: (n,) such that a publication group counts with the square root of its number of cases.
        shots: (n,) known cases of the true disease in the fold's memory.
        annotated: (n,) whether the true disease has annotation rows in the fold's knowledge.
        brief: (n,) whether most findings were hidden, as where a physician names but a few.
    """

    case: np.ndarray
    fold: np.ndarray
    candidates: np.ndarray
    features: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    shots: np.ndarray
    annotated: np.ndarray
    brief: np.ndarray

    @property
    def zero_shot(self) -> np.ndarray:
        """Bool (n,): the true disease had no known case."""
        return self.shots == 0

    def __len__(self) -> int:
        return len(self.case)

    def __getitem__(self, chosen: np.ndarray) -> Episodes:
        """Return the episodes at the given positions or mask."""
        return Episodes(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def episode_groups(cases: CaseSet) -> list[str]:
    """Return what each case is held out with: its publication group, or its whole simulated disease."""
    groups = publication_groups(cases.case_ids, cases.pmids)
    return [
        f"disease {disease}" if origin == SIMULATED and _eighth(disease) < _WHOLE else group
        for group, disease, origin in zip(groups, cases.disease_ids, cases.origins, strict=True)
    ]


def held_out_knowledge(knowledge: RareKnowledge, held_out: CaseSet, protocol: Protocol) -> RareKnowledge:
    """Return the knowledge before the publications of ``held_out`` (clean), or unchanged (published).

    The clean knowledge lacks some of the simulated diseases that are held out whole.
    """
    if protocol == "published":
        return knowledge
    known = knowledge.without_publications({p for pmids in held_out.pmids for p in pmids})
    unknown = [
        origin == SIMULATED and _eighth(disease) < _UNKNOWN
        for origin, disease in zip(held_out.origins, held_out.disease_ids, strict=True)
    ]
    if not any(unknown):
        return known

    labels = knowledge.labels(held_out[unknown])
    return known.without_diseases(np.isin(np.arange(len(knowledge)), labels))


def _eighth(disease: str | None) -> int:
    """Return which eighth of all diseases one belongs to: 0 to 7, the same in every run."""
    return hashlib.sha256(f"medassets-episodes|{disease}".encode()).digest()[0] % 8


def make_episodes(
    knowledge: RareKnowledge,
    cases: CaseSet,
    protocol: Protocol,
    *,
    n_folds: int,
    seed: int,
    per_group: int | None = None,
    most: int | None = None,
    brief: float = 0.0,
    asked_folds: int | None = None,
) -> Episodes:
    """Hold out one fold of publication groups after the other.

    Args:
        knowledge: annotations of the candidates.
        cases: known cases with diagnosis.
        protocol: whether the annotations of the held-out publications are left out as well.
        n_folds: number of folds.
        seed: of the assignment of groups to folds, and of the cases that stand for their group.
        per_group: most cases of one publication group that become episodes, all when None. All are held out.
        most: most cases in all that become episodes, all when None.
        brief: share of the episodes that are shown once more with few findings (:func:`brief_cases`).
        asked_folds: how many of the folds are held out and become episodes, all when None.
    """
    groups = episode_groups(cases)
    folds = group_folds(groups, n_folds, seed)
    size = Counter(groups)
    rng = np.random.default_rng(seed)
    shown = _shown(groups, per_group or len(groups), most or len(groups), rng)
    labels = knowledge.labels(cases)
    order = np.concatenate(
        [np.flatnonzero((folds == fold) & shown) for fold in range(asked_folds or n_folds)]
    )
    taken = Counter(groups[i] for i in order)
    order, is_brief = _with_brief(order, brief, rng)
    asked = cases[order]
    asked = asked[~is_brief].concatenate(brief_cases(asked[is_brief], rng))
    width = LIST_WITH + LIST_WITHOUT
    candidates = np.full((len(order), width), -1, np.int32)
    features = np.zeros((len(order), width, len(FEATURES)), np.float16)
    shots, annotated = np.zeros(len(order), np.int64), np.zeros(len(order), bool)
    truth = labels[order]
    for fold in range(asked_folds or n_folds):
        held = folds == fold
        rows = np.flatnonzero(held[order])
        known = held_out_knowledge(knowledge, cases[held], protocol)
        memory = CaseMemory.fit(known, cases[~held])
        evidence = Evidence(memory, knowledge.ontology)
        for row, one in zip(rows, evidence.lists(asked[rows]), strict=True):
            candidates[row, : len(one.candidates)] = one.candidates
            features[row, : len(one.candidates)] = np.clip(one.features, -_LARGEST, _LARGEST)
        shots[rows] = np.where(truth[rows] >= 0, memory.shots[truth[rows]], 0)
        annotated[rows] = (truth[rows] >= 0) & known.has_annotation[truth[rows]]
    hit = candidates == truth[:, None]
    return Episodes(
        order, folds[order], candidates, features,
        np.where(hit.any(axis=1) & (truth >= 0), hit.argmax(axis=1), -1),
        np.array([size[groups[i]] ** 0.5 / taken[groups[i]] for i in order]), shots, annotated,
        is_brief,
    )  # fmt: skip


def brief_cases(cases: CaseSet, rng: np.random.Generator) -> CaseSet:
    """Return the cases with 3 to 6 of their observed terms and without excluded ones."""
    observed = [
        np.sort(rng.permutation(terms)[: rng.integers(_FEWEST, _MOST + 1)]) for terms in cases.observed
    ]
    return replace(cases, observed=observed, excluded=[terms[:0] for terms in cases.excluded])


def _with_brief(order: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions with a share of them once more at the end, and which those are."""
    again = rng.permutation(order)[: round(share * len(order))]
    return np.concatenate([order, again]), np.arange(len(order) + len(again)) >= len(order)


def _shown(groups: Sequence[str], per_group: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Return bool (n_cases,): at most so many cases of each group, and so many in all, drawn at random."""
    shown, seen = np.zeros(len(groups), bool), Counter[str]()
    drawn = 0
    for i in rng.permutation(len(groups)):
        shown[i] = seen[groups[i]] < per_group and drawn < most
        seen[groups[i]] += 1
        drawn += int(shown[i])
    return shown
