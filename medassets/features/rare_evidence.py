"""The evidence of a case for each candidate disease: a short list of candidates, and numbers that compare
them.

What belongs here: ``Evidence``, which reads a ``CaseMemory`` and turns cases into candidate lists and
feature rows. Training and serving call the same code. What does not: the learned combination
(``rare_network``), and the scores that are computed for every candidate (``rare_wide``). It is on the
serving path: numpy and scipy only.

Sources: likelihood ratios after LIRICAL (Robinson et al., 2020); best-match averages after Phenomizer
(Köhler et al., 2009); an observed term that a disease does not list is explained by the ancestors that it
does list, in the manner of BOQA (Bauer et al., 2012).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.features.rare_arrays import scale_columns
from medassets.features.rare_memory import META, CaseMemory
from medassets.features.rare_query import (
    UNEXPLAINED,
    ProfileScores,
    Query,
    mixing_weights,
)
from medassets.features.rare_wide import BY_CASE, WIDE, WideScores
from medassets.knowledge.ontology import Ontology

#: Candidates on a case's list: with known cases, and without.
LIST_WITH, LIST_WITHOUT = 150, 190
_TRUSTED = 0.95
_CHUNK = 32

_PROFILE = ("cosine", "best_match", "mixture")
#: Scores of a candidate, in the order of the feature rows.
SCORES = (
    *(f"own_{s}" for s in ("observed", "excluded", *_PROFILE)),
    *(f"updated_{s}" for s in ("observed", "excluded", *_PROFILE)),
    *(f"foreign_{s}" for s in _PROFILE),
    *WIDE, *BY_CASE, "sex",
)  # fmt: skip
_FIRST_WIDE = SCORES.index(WIDE[0])
_FIRST_BY_CASE = SCORES.index(BY_CASE[0])
#: All features: scores, their distance to the best on the list, what is known of the candidate, and of the
#: case.
FEATURES = (
    *SCORES, *(f"{s}_gap" for s in SCORES), *META, "has_case", "has_annotation",
    "n_observed", "n_excluded", "best_nearest", "best_cosine",
)  # fmt: skip


@dataclass(frozen=True)
class CandidateList:
    """The candidates of one case that are compared in full.

    Attributes:
        candidates: (k,) columns, those with cases first.
        features: (k, len(FEATURES)) float32.
        short: (D,) the score that the list was chosen by, for all candidates.
        similar: (n_known,) similarity to each known case, in the order of ``case_position``; where asked for.
    """

    candidates: np.ndarray
    features: np.ndarray
    short: np.ndarray
    similar: np.ndarray | None = None


class Evidence:
    """Computes candidate lists and features against one memory."""

    def __init__(self, memory: CaseMemory, ontology: Ontology) -> None:
        """Prepare the derived tables (a second)."""
        self.memory = memory
        self._closure = ontology.closure
        self._scores = WideScores(memory, ontology)
        ic = memory.ic
        self._own_length = _lengths(memory.own, ic)
        self._foreign_length = _lengths(memory.foreign, ic)
        active_ic = np.zeros(len(memory.updated), np.float32)
        active_ic[memory.active] = ic
        active_ic[-1] = 0
        self._updated_length = np.maximum(
            np.sqrt(((memory.updated * active_ic[:, None]) ** 2).sum(axis=0)), 1e-6
        )
        # By candidate as well: an explanation reads whole rows, the list whole columns.
        self._updated_rows = np.ascontiguousarray(memory.updated.T)
        self._mixing = mixing_weights(self._closure, ic, memory.background_updated)
        self._has_case = np.zeros(memory.own.shape[0], bool)
        self._has_case[memory.with_cases] = True
        self._without = np.flatnonzero(~self._has_case)
        annotated = np.diff(memory.assessed.indptr) > 0
        self._fixed = np.concatenate(
            [memory.meta, self._has_case[:, None], annotated[:, None]], axis=1
        ).astype(np.float32)

    def lists(self, cases: CaseSet, *, similar: bool = False) -> Iterator[CandidateList]:
        """Yield the candidate list of each case, in order; ``similar``: and how like known cases it is."""
        for start in range(0, len(cases), _CHUNK):
            queries = self._queries(cases[start : start + _CHUNK])
            by_case, wide = self._scores.against_cases(queries, similar), self._scores.of_all(queries)
            with_cases, short = self._short_scores(by_case, wide)
            for i, query in enumerate(queries):
                yield self._list(
                    query, {n: v[i] for n, v in by_case.items()}, {n: v[i] for n, v in wide.items()},
                    with_cases[i], short[i],
                )  # fmt: skip

    def frequencies(self, candidates: np.ndarray) -> np.ndarray:
        """Return float32 (k, n_terms): frequency of each term, after known cases where there are some."""
        memory = self.memory
        result = np.empty((len(candidates), len(memory.ic)), np.float32)
        with_cases = self._has_case[candidates]
        result[~with_cases] = memory.own[candidates[~with_cases]].toarray()
        place = np.searchsorted(memory.with_cases, candidates[with_cases])
        result[with_cases] = np.take(self._updated_rows[place], memory.active, axis=1)
        return result

    def term_log_ratios(
        self, observed: np.ndarray, excluded: np.ndarray, frequency: np.ndarray
    ) -> np.ndarray:
        """Return what each term says for or against a candidate.

        Args:
            observed: term indices.
            excluded: term indices.
            frequency: (n_terms,) of the candidate, a row of :meth:`frequencies`.

        Returns:
            float64 (n_observed + n_excluded,), nats.
        """
        explained = []
        for term in observed:
            entries = slice(self._closure.indptr[term], self._closure.indptr[term + 1])
            explained.append(self._mixing[entries] @ frequency[self._closure.indices[entries]])
        chance = self.memory.background_updated[excluded]
        missing = np.log1p(-_TRUSTED * frequency[excluded]) - np.log1p(-_TRUSTED * chance)
        shown = np.log(UNEXPLAINED + (1 - UNEXPLAINED) * np.array(explained, np.float64))
        return np.concatenate([shown, missing.astype(np.float64)])

    def _queries(self, cases: CaseSet) -> list[Query]:
        return [
            Query.of(observed, excluded, sex, self._closure, self.memory)
            for observed, excluded, sex in zip(cases.observed, cases.excluded, cases.sex, strict=True)
        ]

    def _short_scores(
        self, by_case: dict[str, np.ndarray], wide: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores that lists are chosen by: (n_queries, W) with cases, (n_queries, D) for all."""
        with_cases = (
            2 * _standard(by_case["nearest_implied"]) + 1.5 * _standard(by_case["ridge"])
            + _standard(by_case["nearest_signed"]) + 0.5 * _standard(wide["ratio"][:, self.memory.with_cases])
        )  # fmt: skip
        short = _standard(wide["ratio"])
        for name, weight in (
            ("cosine", 2),
            ("own_covered", 2),
            ("foreign_cosine", 1),
            ("foreign_covered", 1),
        ):
            short += _standard(wide[name], weight)
        return with_cases, short

    def _list(
        self, query: Query, by_case: dict[str, np.ndarray], wide: dict[str, np.ndarray],
        with_cases: np.ndarray, short: np.ndarray,
    ) -> CandidateList:  # fmt: skip
        """Choose the candidates of one case and compute their features."""
        memory = self.memory
        position, without = _best(with_cases, LIST_WITH), self._choose(wide, short)
        n = len(position)
        chosen = np.concatenate([memory.with_cases[position], without]).astype(np.int32)
        against = ProfileScores(query, memory.ic, self._closure, self._mixing)
        own, foreign = against.read(memory.own, chosen), against.read(memory.foreign, chosen)
        updated = own.copy()
        updated[:, :n] = memory.updated[memory.active[against.columns]].take(position, axis=1)
        # In one go; where there is no case the updated profile is the annotated one.
        alike = against.similarity(
            np.concatenate([own, updated[:, :n], foreign], axis=1),
            np.concatenate(
                [self._own_length[chosen], self._updated_length[position], self._foreign_length[chosen]]
            ),
        )
        k = len(chosen)
        scores = np.zeros((len(SCORES), k), np.float32)
        scores[0:2] = against.ratios(own, memory.background)
        scores[2:5] = alike[:, :k]
        scores[5:7] = against.ratios(updated, memory.background_updated)
        scores[7:10, :n] = alike[:, k : k + n]
        scores[7:10, n:] = alike[:, n:k]
        scores[10:13] = alike[:, k + n :]
        for row, name in enumerate(WIDE, start=_FIRST_WIDE):
            scores[row] = wide[name][chosen]
        for row, name in enumerate(BY_CASE, start=_FIRST_BY_CASE):
            scores[row, :n] = by_case[name][position]
        if query.sex != "unknown":
            seen = memory.sexes[chosen]
            scores[-1] = np.log((seen[:, int(query.sex == "M")] + 2) / (seen.sum(axis=1) + 4) / 0.5)
        return CandidateList(chosen, self._rows(scores, chosen, query), short, by_case.get("similar"))

    def _choose(self, wide: dict[str, np.ndarray], short: np.ndarray) -> np.ndarray:
        """Return the candidates without cases that one case is compared with."""
        half, sixth = LIST_WITHOUT // 2, LIST_WITHOUT // 6
        foreign = wide["foreign_cosine"] + wide["foreign_covered"]
        source = wide["source_assessed"] + wide["source_seen"]
        parts = [
            _best(score[self._without], k)
            for score, k in ((short, half), (wide["ratio"], sixth), (foreign, sixth), (source, sixth))
        ]
        return self._without[np.unique(np.concatenate(parts))]

    def _rows(self, scores: np.ndarray, chosen: np.ndarray, query: Query) -> np.ndarray:
        """Return the feature rows from scores (len(SCORES), k)."""
        n, best = len(SCORES), scores.max(axis=1, initial=-np.inf)
        rows = np.empty((scores.shape[1], len(FEATURES)), np.float32)
        rows[:, :n] = scores.T
        rows[:, n : 2 * n] = (scores - best[:, None]).T
        rows[:, 2 * n : -4] = self._fixed[chosen]
        rows[:, -4:] = (
            np.log1p(len(query.observed)), np.log1p(len(query.excluded)),
            best[SCORES.index("nearest_implied")], best[SCORES.index("own_cosine")],
        )  # fmt: skip
        return rows


def _best(values: np.ndarray, k: int) -> np.ndarray:
    """Return the positions of the k largest values, ascending."""
    if len(values) <= k:
        return np.arange(len(values))
    mean = values.sum() / len(values)
    deviation = np.sqrt(max(values @ values / len(values) - mean * mean, 0.0))
    # Nearly all values lie below; what is left is sorted the faster.
    upper = np.flatnonzero(values > mean + 1.5 * deviation)
    if len(upper) < k:
        upper = np.arange(len(values))
    if len(upper) > k:
        upper = np.sort(upper[np.argpartition(-values[upper], k - 1)[:k]])
    return upper


def _standard(values: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """Return each row over its standard deviation; a common shift does not matter for an order."""
    n = max(values.shape[1], 1)
    mean = values.sum(axis=1) / n
    square = np.einsum("ij,ij->i", values, values) / n
    return values * (weight / (np.sqrt(np.maximum(square - mean * mean, 0.0)) + 1e-6))[:, None]


def _lengths(profiles: sp.csr_matrix, ic: np.ndarray) -> np.ndarray:
    """Return the length of each information-weighted row, at least 1e-6."""
    weighted = scale_columns(profiles, ic)
    square = np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel()
    return np.maximum(np.sqrt(square), 1e-6).astype(np.float32)
