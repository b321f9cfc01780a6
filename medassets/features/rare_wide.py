"""Scores of a case that cost one pass over every candidate, or over every known case.

What belongs here: ``WideScores``, several cases at a time. What does not: choosing a list by them and the
scores of the chosen (``rare_evidence``). It is on the serving path: numpy and scipy only.

Sources: kernels over known cases and likelihood ratios as in ``rare_memory`` and ``rare_ratios``; how much
of a disease is covered follows the best-match average of Phenomizer (Köhler et al., 2009).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from medassets.features.rare_arrays import ParentLevels, scale_columns, unit_rows
from medassets.features.rare_memory import KERNELS, RIDGE_KERNELS, CaseMemory
from medassets.features.rare_query import ColumnTable, Query, Vector
from medassets.features.rare_ratios import log_ratios
from medassets.knowledge.ontology import Ontology

#: Terms of less information (nats) are too common to choose a list by.
_TOO_COMMON = 1.5
_AVERAGED = ("implied", "assessed", "signed")
#: Kernels whose mean says how like a known case is.
_SIMILAR = ("implied", "signed")

#: Scores of every candidate that stand in the feature rows.
WIDE = (
    "own_covered", "foreign_covered", "listed_overlap", "assessed_of_disease", "assessed_of_case",
    "excluded_listed",
    "source_assessed", "source_seen",
)  # fmt: skip
#: Scores against the known cases.
BY_CASE = (*(f"nearest_{k}" for k in KERNELS), *(f"average_{k}" for k in _AVERAGED), "ridge")


class WideScores:
    """Compares cases with every candidate and every known case of one memory."""

    def __init__(self, memory: CaseMemory, ontology: Ontology) -> None:
        """Prepare the derived tables (a second)."""
        self.memory = memory
        ic = memory.ic
        linked = np.bincount(memory.links.indices, minlength=len(ic))
        linked += np.bincount(memory.foreign_links.indices, minlength=len(ic))
        self._levels = ParentLevels.of(ontology, linked > 0)
        self._place = np.full(len(ic), -1, np.int32)
        self._place[self._levels.terms] = np.arange(len(self._levels.terms), dtype=np.int32)
        self._links = sp.vstack([memory.links, memory.foreign_links]).tocsr()[:, self._levels.terms]
        ratios = log_ratios(memory.own)
        # Without the ratios' bases: they are the same for all candidates of a case.
        self._observed_ratio = ColumnTable(ratios.observed.T.tocsr())
        self._excluded_ratio = ColumnTable(ratios.excluded.T.tocsr())
        telling = ic >= _TOO_COMMON
        self._own_unit = ColumnTable(unit_rows(scale_columns(memory.own, ic)), keep=telling)
        self._foreign_unit = ColumnTable(unit_rows(scale_columns(memory.foreign, ic)), keep=telling)
        self._listed, self._assessed = ColumnTable(memory.listed), ColumnTable(memory.assessed)
        self._assessed_sources, self._seen_sources = (
            _Sources(table, memory) for table in (memory.source_assessed, memory.source_seen)
        )
        self._kernels = {k: ColumnTable(memory.kernels[k]) for k in KERNELS}
        self._sizes = np.diff(np.append(memory.case_start, len(memory.case_position))).astype(np.float32)
        self._listed_terms = np.maximum(np.diff(memory.assessed.indptr), 1).astype(np.float32)

    def against_cases(self, queries: list[Query], similar: bool) -> dict[str, np.ndarray]:
        """Return the scores of ``BY_CASE``, (n_queries, W) each, and where asked for ``similar``."""
        start = self.memory.case_start
        scores: dict[str, np.ndarray] = {}
        for kernel in KERNELS:
            if len(start) == 0:
                scores[f"nearest_{kernel}"] = scores[f"average_{kernel}"] = np.zeros((len(queries), 0))
                continue
            similarity = self._kernels[kernel].products([q.kernels[kernel] for q in queries])
            if similar and kernel in _SIMILAR:
                scores["similar"] = scores.get("similar", 0) + similarity / len(_SIMILAR)
            scores[f"nearest_{kernel}"] = np.maximum.reduceat(similarity, start, axis=1)
            if kernel in _AVERAGED:
                fourth = np.square(np.square(similarity))
                mean = np.add.reduceat(fourth, start, axis=1) / self._sizes
                scores[f"average_{kernel}"] = np.sqrt(np.sqrt(mean))
        ridge = np.zeros((len(queries), len(start)), np.float32)
        for i, query in enumerate(queries):
            for table, kernel in zip(self.memory.ridge, RIDGE_KERNELS, strict=True):
                terms, weights = query.kernels[kernel]
                ridge[i] += weights @ table[self.memory.active[terms]]
        scores["ridge"] = ridge
        return scores

    def of_all(self, queries: list[Query]) -> dict[str, np.ndarray]:
        """Return the scores for every candidate, (n_queries, D) each."""
        observed, excluded = [q.observed_ones for q in queries], [q.excluded_ones for q in queries]
        observed_ic, implied = [q.observed_ic for q in queries], [q.implied_ic for q in queries]
        n_observed = np.array([len(q.observed) for q in queries])[:, None]
        n_excluded = np.array([len(q.excluded) for q in queries])[:, None]
        excluded_listed = self._assessed.products(excluded)
        shared = self._assessed.products(observed) + excluded_listed
        own_covered, foreign_covered = self._covered(queries)
        return {
            "ratio": self._observed_ratio.products(observed) + self._excluded_ratio.products(excluded),
            "cosine": self._own_unit.products(implied),
            "foreign_cosine": self._foreign_unit.products(implied),
            "own_covered": own_covered,
            "foreign_covered": foreign_covered,
            "listed_overlap": self._listed.products(observed_ic),
            "assessed_of_disease": shared / self._listed_terms,
            "assessed_of_case": shared / np.maximum(n_observed + n_excluded, 1),
            "excluded_listed": excluded_listed / np.maximum(n_excluded, 1),
            "source_assessed": self._assessed_sources.best([q.kernels["assessed"] for q in queries]),
            "source_seen": self._seen_sources.best(observed_ic),
        }

    def _covered(self, queries: list[Query]) -> tuple[np.ndarray, np.ndarray]:
        """Return how much of each disease the cases cover, own and foreign rows: (n_queries, D)."""
        above = np.zeros((len(self._levels.terms), len(queries)), np.float32)
        for i, query in enumerate(queries):
            place = self._place[query.implied]
            above[place[place >= 0], i] = self.memory.ic[query.implied[place >= 0]]
        self._levels.carry_largest(above)
        own, foreign = np.split(np.ascontiguousarray((self._links @ above).T), 2, axis=1)
        return own, foreign


class _Sources:
    """What single sources list, for the best source of each candidate."""

    def __init__(self, table: sp.csr_matrix, memory: CaseMemory) -> None:
        """Args: table: (R, T), sources sorted by candidate. memory: says which are of which candidate."""
        counts = np.diff(np.append(memory.source_start, table.shape[0]))
        more = counts > 1
        # The first source of each candidate in the candidate's row; the others stand behind.
        row = np.full(memory.own.shape[0], -1)
        row[memory.source_candidate] = memory.source_start
        padded = sp.vstack([table, sp.csr_matrix((1, table.shape[1]), dtype=np.float32)]).tocsr()
        others = np.setdiff1d(np.arange(table.shape[0]), memory.source_start)
        self._table = ColumnTable(padded[np.concatenate([row, others])])
        self._n, self._more = len(row), memory.source_candidate[more]
        self._start = np.cumsum(counts[more] - 1) - (counts[more] - 1)

    def best(self, vectors: Sequence[Vector]) -> np.ndarray:
        """Return float32 (n_vectors, D): the best similarity over each candidate's sources, 0 without."""
        similarity = self._table.products(vectors)
        first = similarity[:, : self._n]
        if len(self._more):
            others = np.maximum.reduceat(similarity[:, self._n :], self._start, axis=1)
            first[:, self._more] = np.maximum(first[:, self._more], others)
        return first
