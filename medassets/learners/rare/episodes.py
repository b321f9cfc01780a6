"""Episodes: small few-shot problems in which no publication stands on both sides.

What belongs here: who may be support and who query, N-way K-shot episodes (Vinyals et al. 2016; Snell et al.
2017) and the retrieval steps that train an encoder against all diseases at once. What does not: losses and
models.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from medassets.cohorts.splits import group_folds, publication_groups
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge


class Episode(NamedTuple):
    """One N-way episode; all arrays hold positions in the case set, or class numbers 0 to N-1.

    Attributes:
        candidates: int (way,), candidate of each class.
        support: int (n_support,), cases that are shown with their diagnosis.
        support_class: int (n_support,).
        query: int (n_query,), cases to be named.
        query_class: int (n_query,).
    """

    candidates: np.ndarray
    support: np.ndarray
    support_class: np.ndarray
    query: np.ndarray
    query_class: np.ndarray


class EpisodeError(ValueError):
    """The cases cannot make the episodes that were asked for; the message says what is missing."""


class EpisodeSampler:
    """Draws N-way K-shot episodes whose support and query share no publication.

    A disease takes part when its cases come from at least two publication groups and one of them leaves
    ``shots`` cases for support in the others.
    """

    def __init__(self, labels: np.ndarray, groups: list[str], *, shots: int) -> None:
        """Args:
        labels: int (n_cases,), candidate of each case, -1 for none.
        groups: publication group of each case.
        shots: support cases of each disease in an episode.
        """
        self.shots = shots
        group = np.unique(np.asarray(groups, dtype=object), return_inverse=True)[1]
        self._members: dict[int, list[np.ndarray]] = {}
        for label in np.unique(labels[labels >= 0]):
            cases = np.flatnonzero(labels == label)
            parts = [cases[group[cases] == g] for g in np.unique(group[cases])]
            if len(parts) > 1 and len(cases) - min(len(p) for p in parts) >= shots:
                self._members[int(label)] = parts

    @property
    def diseases(self) -> list[int]:
        """Candidates that can take part."""
        return list(self._members)

    def sample(self, rng: np.random.Generator, way: int, n_query: int) -> Episode:
        """Draw one episode.

        A query group is drawn first, then support from the other groups, so a disease with few publications
        takes part too; it then gives fewer than ``n_query`` queries.

        Raises:
            EpisodeError: fewer diseases than ``way`` can take part.
        """
        if len(self._members) < way:
            raise EpisodeError(
                f"{len(self._members)} diseases have {self.shots} support cases and a query of another "
                f"publication, but a {way}-way episode needs {way}"
            )
        chosen = rng.choice(np.array(self.diseases), way, replace=False)
        parts = [self._part(rng, self._members[int(disease)], n_query) for disease in chosen]
        return Episode(
            candidates=chosen,
            support=np.concatenate([support for support, _ in parts]),
            support_class=np.repeat(np.arange(way), [len(support) for support, _ in parts]),
            query=np.concatenate([query for _, query in parts]),
            query_class=np.repeat(np.arange(way), [len(query) for _, query in parts]),
        )

    def episodes(self, seed: int, n: int, way: int, n_query: int) -> Iterator[Episode]:
        """Yield ``n`` episodes; the same seed gives the same episodes."""
        rng = np.random.default_rng(seed)
        for _ in range(n):
            yield self.sample(rng, way, n_query)

    def _part(
        self, rng: np.random.Generator, groups: list[np.ndarray], n_query: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return support and query of one disease: groups are asked while enough is left for support."""
        left = sum(len(g) for g in groups)
        query: list[np.ndarray] = []
        support: list[np.ndarray] = []
        for i in rng.permutation(len(groups)):
            wanted = sum(len(g) for g in query) < n_query
            if wanted and left - len(groups[i]) >= self.shots:
                query.append(groups[i])
                left -= len(groups[i])
            else:
                support.append(groups[i])
        return (
            rng.choice(np.concatenate(support), self.shots, replace=False),
            rng.permutation(np.concatenate(query))[:n_query],
        )


class RetrievalStep(NamedTuple):
    """One training step: queries of held-out publications against every disease with a known case.

    Attributes:
        fold: which inner fold the queries come from.
        query: int (n_query,), positions of cases.
        query_class: int (n_query,), position in ``candidates``.
        support: int (n_support,), cases of other publications.
        support_class: int (n_support,), position in ``candidates``.
        candidates: int (n_classes,), sorted candidates that have support.
    """

    fold: int
    query: np.ndarray
    query_class: np.ndarray
    support: np.ndarray
    support_class: np.ndarray
    candidates: np.ndarray


class RetrievalSteps:
    """Draws training steps from publication folds inside the given cases.

    Queries of one fold are ranked against support of the other folds and against annotations that do not cite
    the fold's publications, so what is learned is how to recognise a case of a new publication.
    """

    def __init__(self, knowledge: RareKnowledge, cases: CaseSet, *, folds: int, seed: int) -> None:
        """Args:
        knowledge: annotations; rows that cite a fold's publications are left out for that fold.
        cases: training cases.
        folds: number of inner folds.
        seed: of the assignment of publication groups to folds.
        """
        self.labels = knowledge.labels(cases)
        self.fold = group_folds(publication_groups(cases.case_ids, cases.pmids), folds, seed)
        self._cases = cases
        self._knowledge = knowledge
        self._profiles: dict[int, sp.csr_matrix] = {}

    def profiles(self, fold: int) -> sp.csr_matrix:
        """Return the profiles (n_candidates, n_terms) without rows that cite the fold's publications."""
        if fold not in self._profiles:
            cited = {p for i in np.flatnonzero(self.fold == fold) for p in self._cases.pmids[i]}
            self._profiles[fold] = self._knowledge.without_publications(cited).profiles()
        return self._profiles[fold]

    def sample(self, rng: np.random.Generator, fold: int, n_query: int, max_support: int) -> RetrievalStep:
        """Draw one step; each disease shows 1 to ``max_support`` cases, rare diseases are asked more often.

        Raises:
            EpisodeError: no case of the fold has a disease with a case in another fold.
        """
        known = np.flatnonzero((self.fold != fold) & (self.labels >= 0))
        known = known[np.argsort(self.labels[known], kind="stable")]
        candidates, starts, counts = np.unique(self.labels[known], return_index=True, return_counts=True)
        asked = np.flatnonzero((self.fold == fold) & np.isin(self.labels, candidates))
        if not len(asked):
            raise EpisodeError(f"fold {fold} has no case of a disease that another fold shows")
        weight = np.bincount(self.labels[self.labels >= 0])[self.labels[asked]] ** -0.75
        query = rng.choice(asked, min(n_query, len(asked)), replace=False, p=weight / weight.sum())
        taken = np.minimum(counts, rng.integers(1, max_support + 1, len(candidates)))
        support = np.concatenate(
            [
                rng.choice(known[s : s + n], k, replace=False)
                for s, n, k in zip(starts, counts, taken, strict=True)
            ]
        )
        return RetrievalStep(
            fold,
            query,
            np.searchsorted(candidates, self.labels[query]),
            support,
            np.repeat(np.arange(len(candidates)), taken),
            candidates,
        )
