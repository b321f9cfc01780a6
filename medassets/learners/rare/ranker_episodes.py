"""Episodes of the ranker: known cases, each compared as if its publications had never been read.

What belongs here: holding publication groups out of the case memory and, in the clean protocol, out of the
annotations, so that diseases become zero-shot and few-shot exactly as for a new case. What does not: the
learning itself (``listwise``). These episodes rank all candidates; the N-way K-shot episodes of
meta-learning are ``episodes``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medassets.cohorts.splits import group_folds, publication_groups
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_evidence import FEATURES, LIST_WITH, LIST_WITHOUT, CandidateList, Evidence
from medassets.features.rare_memory import CaseMemory

Protocol = Literal["clean", "published"]


@dataclass(frozen=True, eq=False)
class Episodes:
    """Held-out cases with their candidate lists. n episodes, K places on a list, F features.

    Attributes:
        case: (n,) position of the case in the set that the episodes were made of.
        fold: (n,) fold that the case was held out with.
        candidates: (n, K) columns, listed ones first, then -1.
        features: (n, K, F) float32, 0 where nothing is listed.
        target: (n,) place of the true disease on the list, -1 where it is not listed.
        weight: (n,) one over the square root of the number of cases in the publication group.
        shots: (n,) known cases of the true disease in the fold's memory.
        annotated: (n,) whether the true disease has annotation rows in the fold's knowledge.
    """

    case: np.ndarray
    fold: np.ndarray
    candidates: np.ndarray
    features: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    shots: np.ndarray
    annotated: np.ndarray

    @property
    def zero_shot(self) -> np.ndarray:
        """Bool (n,): the true disease had no known case."""
        return self.shots == 0

    def __len__(self) -> int:
        return len(self.case)

    def __getitem__(self, chosen: np.ndarray) -> Episodes:
        """Return the episodes at the given positions or mask."""
        return Episodes(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def held_out_knowledge(knowledge: RareKnowledge, held_out: CaseSet, protocol: Protocol) -> RareKnowledge:
    """Return the knowledge before the publications of ``held_out`` (clean), or unchanged (published)."""
    if protocol == "published":
        return knowledge
    return knowledge.without_publications({p for pmids in held_out.pmids for p in pmids})


def make_episodes(
    knowledge: RareKnowledge, cases: CaseSet, protocol: Protocol, *, n_folds: int, seed: int
) -> Episodes:
    """Hold out one fold of publication groups after the other.

    Args:
        knowledge: annotations of the candidates.
        cases: known cases with diagnosis.
        protocol: whether the annotations of the held-out publications are left out as well.
        n_folds: number of folds.
        seed: of the assignment of groups to folds.
    """
    groups = publication_groups(cases.case_ids, cases.pmids)
    folds = group_folds(groups, n_folds, seed)
    size = Counter(groups)
    labels = knowledge.labels(cases)
    parts = []
    for fold in range(n_folds):
        held = np.flatnonzero(folds == fold)
        known = held_out_knowledge(knowledge, cases[held], protocol)
        memory = CaseMemory.fit(known, cases[folds != fold])
        evidence = Evidence(memory, knowledge.ontology)
        candidates, features = stack_lists(evidence.lists(cases[held]), len(held))
        truth = labels[held]
        hit = candidates == truth[:, None]
        parts.append(
            Episodes(
                held, np.full(len(held), fold), candidates, features,
                np.where(hit.any(axis=1) & (truth >= 0), hit.argmax(axis=1), -1),
                np.array([size[groups[i]] ** -0.5 for i in held]),
                np.where(truth >= 0, memory.shots[truth], 0),
                (truth >= 0) & known.has_annotation[truth],
            )
        )  # fmt: skip
    return Episodes(*(np.concatenate([getattr(p, n) for p in parts]) for n in Episodes.__dataclass_fields__))


def stack_lists(lists: Iterator[CandidateList], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return candidates (n, K) padded with -1 and features (n, K, F) padded with 0."""
    width = LIST_WITH + LIST_WITHOUT
    candidates = np.full((n, width), -1, np.int32)
    features = np.zeros((n, width, len(FEATURES)), np.float32)
    for i, one in enumerate(lists):
        candidates[i, : len(one.candidates)] = one.candidates
        features[i, : len(one.candidates)] = one.features
    return candidates, features
