"""Frequencies after known cases, and log likelihood ratios of observed and excluded terms.

What belongs here: counting cases, updating annotated frequencies with them, ratios of disease against
background. What
does not: where the profiles come from (``rare``) and the ranker's other evidence (``rare_evidence``). It is
on the
serving path: numpy and scipy only.

Sources: the likelihood ratio of a phenotype follows LIRICAL (Robinson et al., AJHG 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.knowledge.ontology import Ontology

#: An observed term counts at this share for the disease, and at the rest for chance.
_EXPLAINED = 0.98
#: An excluded term is trusted to this degree: 5 % are taken to be overlooked.
_TRUSTED_EXCLUSION = 0.95
_FLOOR = 1e-5
#: What an annotation weighs beside cases, as a number of patients.
ANNOTATION_PATIENTS = 4.0
#: A term not mentioned was looked for in at least this share of a disease's cases.
_ASSUMED_ASSESSED = 0.6


class CaseCounts(NamedTuple):
    """How the known cases of each candidate show each term.

    Attributes:
        shots: float64 (n_candidates,), number of known cases.
        present: float32 (n_candidates, n_terms), cases with the term observed or implied.
        absent: float32 (n_candidates, n_terms), cases with the term excluded.
    """

    shots: np.ndarray
    present: sp.csr_matrix
    absent: sp.csr_matrix


def count_cases(cases: CaseSet, labels: np.ndarray, n_candidates: int, ontology: Ontology) -> CaseCounts:
    """Count terms over the cases of each candidate.

    Args:
        cases: known cases.
        labels: candidate of each case; cases with -1 do not count.
        n_candidates: number of candidates.
        ontology: whose terms the indices mean.
    """
    use = np.flatnonzero(labels >= 0)
    member = sp.csr_matrix(
        (np.ones(len(use), np.float32), (labels[use], use)), shape=(n_candidates, len(cases))
    )
    implied = cases.implied_matrix(ontology)
    excluded = cases.matrix(len(ontology), excluded=True)
    excluded = (excluded - excluded.multiply(implied)).tocsr()
    excluded.eliminate_zeros()
    shots = np.bincount(labels[use], minlength=n_candidates).astype(np.float64)
    return CaseCounts(shots, (member @ implied).tocsr(), (member @ excluded).tocsr())


def update_with_cases(profiles: sp.csr_matrix, counts: CaseCounts) -> sp.csr_matrix:
    """Return the frequencies after the known cases: annotation as pseudo-patients, cases as patients.

    Args:
        profiles: (n_candidates, n_terms) annotated frequencies, closed under the true-path rule.
        counts: what the cases show.

    Returns:
        float32 (n_candidates, n_terms); the annotated frequency where a candidate has no case.
    """
    seen = (ANNOTATION_PATIENTS * profiles + counts.present).tocsr()
    seen.sort_indices()
    entries = seen.tocoo()
    assessed = np.asarray((counts.present + counts.absent).tocsr()[entries.row, entries.col]).ravel()
    annotated = np.asarray(profiles[entries.row, entries.col]).ravel()
    shots = counts.shots[entries.row]
    prior = ANNOTATION_PATIENTS * (np.diff(profiles.indptr) > 0)[entries.row]
    updated = np.clip(entries.data / (prior + np.maximum(assessed, _ASSUMED_ASSESSED * shots) + 1e-6), 0, 1)
    values = np.where(shots > 0, updated, annotated).astype(np.float32)
    return sp.csr_matrix((values, seen.indices, seen.indptr), shape=seen.shape)


@dataclass(frozen=True)
class LogRatios:
    """Log likelihood ratios of terms, disease against background, as a baseline a term plus sparse
    differences.

    Attributes:
        observed: float32 (n_terms, n_candidates), added to ``observed_base`` where a disease shows the term.
        observed_base: float32 (n_terms,), of a disease that does not show it.
        excluded: float32 (n_terms, n_candidates), the same for an excluded term.
        excluded_base: float32 (n_terms,).
    """

    observed: sp.csr_matrix
    observed_base: np.ndarray
    excluded: sp.csr_matrix
    excluded_base: np.ndarray

    def score(self, observed: sp.csr_matrix, excluded: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
        """Return two float32 arrays (n_cases, n_candidates): sums over observed and over excluded terms."""
        for_terms = (observed @ self.observed).toarray() + (observed @ self.observed_base)[:, None]
        against = (excluded @ self.excluded).toarray() + (excluded @ self.excluded_base)[:, None]
        return for_terms.astype(np.float32), against.astype(np.float32)

    def of_candidate(
        self, terms: Sequence[int] | np.ndarray, candidate: int, *, excluded: bool
    ) -> np.ndarray:
        """Return float64 (n_terms,): the log likelihood ratio of each given term for one candidate."""
        table, base = (self.excluded, self.excluded_base) if excluded else (self.observed, self.observed_base)
        index = np.asarray(terms, dtype=np.int64)
        return np.asarray(table[index, candidate].todense()).ravel().astype(np.float64) + base[index]


def log_ratios(profiles: sp.csr_matrix) -> LogRatios:
    """Return the likelihood ratios against the mean over all candidates.

    Args:
        profiles: (n_candidates, n_terms) frequencies.
    """
    background = np.asarray(profiles.mean(axis=0)).ravel()
    share, here = profiles.data, background[profiles.indices]
    base = np.log((1 - _EXPLAINED) * background + _FLOOR) - np.log(background + _FLOOR)
    gain = np.log(_EXPLAINED * share + (1 - _EXPLAINED) * here + _FLOOR) - np.log(here + _FLOOR)
    loss = np.log1p(-_TRUSTED_EXCLUSION * share)
    return LogRatios(
        _like(profiles, gain - base[profiles.indices]).T.tocsr(),
        base.astype(np.float32),
        _like(profiles, loss).T.tocsr(),
        (-np.log1p(-_TRUSTED_EXCLUSION * background)).astype(np.float32),
    )


def _like(matrix: sp.csr_matrix, values: np.ndarray) -> sp.csr_matrix:
    """Return a matrix of the same pattern with other values, float32."""
    return sp.csr_matrix((values.astype(np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)
