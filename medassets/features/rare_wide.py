"""Scores of a case that cost one pass over every candidate, or over every known case.

What belongs here: ``WideScores``, several cases at a time. What does not: choosing a list by them and the
scores of the chosen (``rare_evidence``). It is on the serving path: numpy and scipy only.

Sources: kernels over known cases and likelihood ratios as in ``rare_memory`` and ``rare_ratios``; how much
of a disease is covered follows the best-match average of Phenomizer (Köhler et al., 2009).
"""

from __future__ import annotations

import numpy as np

from medassets.features.rare_arrays import ParentLevels, scale_columns, unit_rows
from medassets.features.rare_memory import KERNELS, RIDGE_KERNELS, CaseMemory
from medassets.features.rare_query import ColumnTable, Query
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
        ratios = log_ratios(memory.own)
        # Without the ratios' bases: they are the same for all candidates of a case.
        self._observed_ratio = ColumnTable(ratios.observed.T.tocsr())
        self._excluded_ratio = ColumnTable(ratios.excluded.T.tocsr())
        telling = ic >= _TOO_COMMON
        self._own_unit = ColumnTable(unit_rows(scale_columns(memory.own, ic)), keep=telling)
        self._foreign_unit = ColumnTable(unit_rows(scale_columns(memory.foreign, ic)), keep=telling)
        self._listed, self._assessed = ColumnTable(memory.listed), ColumnTable(memory.assessed)
        self._read_sources(memory)
        self._kernels = {k: ColumnTable(memory.kernels[k]) for k in KERNELS if k != "implied"}
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
            if kernel == "implied":
                similarity = self._implied_similarity(queries)
            else:
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
            "source_assessed": self._best_source(
                self._sources[0].products([q.kernels["assessed"] for q in queries])
            ),
            "source_seen": self._best_source(self._sources[1].products(observed_ic)),
        }

    def _implied_similarity(self, queries: list[Query]) -> np.ndarray:
        """Return float32 (n_queries, n_known): cosine over implied terms; these are many, so always dense."""
        dense = np.zeros((len(self.memory.ic), len(queries)), np.float32)
        for i, query in enumerate(queries):
            terms, weights = query.kernels["implied"]
            dense[terms, i] = weights
        return np.ascontiguousarray((self.memory.kernels["implied"] @ dense).T)

    def _covered(self, queries: list[Query]) -> tuple[np.ndarray, np.ndarray]:
        """Return how much of each disease the cases cover, own and foreign rows: (n_queries, D)."""
        above = np.zeros((len(self.memory.ic), len(queries)), np.float32)
        for i, query in enumerate(queries):
            above[query.implied, i] = self.memory.ic[query.implied]
        above = self._levels.largest_above(above)
        own, foreign = self.memory.links @ above, self.memory.foreign_links @ above
        return np.ascontiguousarray(own.T), np.ascontiguousarray(foreign.T)

    def _read_sources(self, memory: CaseMemory) -> None:
        """Prepare the tables of sources; candidates with one source come first, as they need no maximum."""
        counts = np.diff(np.append(memory.source_start, memory.source_seen.shape[0]))
        one = counts == 1
        order = np.concatenate([memory.source_start[one], np.flatnonzero(np.repeat(~one, counts))])
        self._sources = [ColumnTable(table[order]) for table in (memory.source_assessed, memory.source_seen)]
        self._one_source, self._more_sources = memory.source_candidate[one], memory.source_candidate[~one]
        self._more_start = np.cumsum(counts[~one]) - counts[~one]

    def _best_source(self, similarity: np.ndarray) -> np.ndarray:
        """Return the best similarity over the sources of each candidate: (n_queries, R) to (n_queries, D)."""
        result = np.zeros((len(similarity), self.memory.own.shape[0]), np.float32)
        first = len(self._one_source)
        result[:, self._one_source] = similarity[:, :first]
        if len(self._more_sources):
            best = np.maximum.reduceat(similarity[:, first:], self._more_start, axis=1)
            result[:, self._more_sources] = best
        return result
