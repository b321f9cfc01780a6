"""One case as the ranker reads it, and tables that are multiplied by a few of its terms.

What belongs here: terms and unit vectors of a case, sparse products, scores against small dense blocks of
profiles, all with little overhead a call, since a single request has to be answered in milliseconds. What
does not: which tables there are (``rare_memory``) and which scores are used (``rare_evidence``). It is on
the serving path: numpy and scipy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse._sparsetools import csc_matvec

from medassets.features.rare_arrays import gather
from medassets.features.rare_memory import AGAINST, CaseMemory

_EXPLAINED, _TRUSTED, _FLOOR = 0.98, 0.95, 1e-5
#: What a term weighs for a disease that lists none of its ancestors.
UNEXPLAINED = 0.03

#: Terms, descending, and their weights.
Vector = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Query:
    """One case.

    Attributes:
        observed: observed terms, ascending.
        excluded: excluded terms that no observed one contradicts, ascending.
        implied: observed terms and their ancestors, descending.
        kernels: the case as a unit vector for each kernel of the memory.
        implied_ic: unit vector over implied terms, by information content over diseases.
        observed_ic: the same over observed terms.
        observed_ones: 1 at each observed term.
        excluded_ones: 1 at each excluded term.
        sex: ``M``, ``F`` or ``unknown``.
    """

    observed: np.ndarray
    excluded: np.ndarray
    implied: np.ndarray
    kernels: dict[str, Vector]
    implied_ic: Vector
    observed_ic: Vector
    observed_ones: Vector
    excluded_ones: Vector
    sex: str

    @classmethod
    def of(
        cls, observed: np.ndarray, excluded: np.ndarray, sex: str, closure: sp.csr_matrix, memory: CaseMemory
    ) -> Query:
        """Read one case.

        Args:
            observed: observed terms.
            excluded: excluded terms.
            sex: ``M``, ``F`` or ``unknown``.
            closure: (n_terms, n_terms), the terms that each term implies.
            memory: gives the information content.
        """
        implied = np.unique(closure.indices[gather(closure.indptr, observed)[0]])[::-1]
        excluded = np.setdiff1d(excluded, implied, assume_unique=True)
        ones = np.ones(len(observed) + len(excluded), np.float32)
        signed = ones.copy()
        signed[len(observed) :] = -AGAINST
        both = np.concatenate([observed, excluded])
        order = np.argsort(-both)
        shown, absent, both = observed[::-1], excluded[::-1], both[order]
        ic = memory.case_ic
        kernels = {
            "implied": _unit(implied, ic[implied]),
            "observed": _unit(shown, ic[shown]),
            "assessed": _unit(both, ones),
            "signed": _unit(both, signed[order]),
            "excluded": _unit(absent, ones[: len(excluded)]),
        }
        return cls(
            observed, excluded, implied, kernels,
            _unit(implied, memory.ic[implied]), _unit(shown, memory.ic[shown]),
            (shown, ones[: len(observed)]), (absent, ones[: len(excluded)]), sex,
        )  # fmt: skip


def _unit(terms: np.ndarray, weights: np.ndarray) -> Vector:
    return terms, (weights / max(float(np.sqrt((weights * weights).sum())), 1e-6)).astype(np.float32)


class ColumnTable:
    """A sparse matrix (n_rows, n_terms) that is multiplied by vectors of few terms."""

    def __init__(self, rows: sp.csr_matrix, *, keep: np.ndarray | None = None) -> None:
        """Args: rows: the matrix. keep: bool (n_terms,), terms that count; all when None."""
        if keep is not None:
            rows = (rows @ sp.diags(keep.astype(np.float32))).tocsr()
            rows.eliminate_zeros()
        columns = rows.T.tocsr().astype(np.float32)
        self._n_rows = rows.shape[0]
        self._data, self._rows = columns.data, columns.indices
        self._bounds = np.stack([columns.indptr[:-1], columns.indptr[1:]], axis=1)

    def products(self, vectors: Sequence[Vector]) -> np.ndarray:
        """Return float32 (n_vectors, n_rows)."""
        result = np.zeros((len(vectors), self._n_rows), np.float32)
        for row, (terms, weights) in zip(result, vectors, strict=True):
            # Chosen columns are added in place, in one call: a product of sparse matrices costs twice as
            # much. The call walks from each bound to the next. Terms descend, so between the end of one
            # column and the start of the next, which lies before it, it does nothing.
            bounds = self._bounds[terms].ravel()
            csc_matvec(
                self._n_rows, len(bounds) - 1, bounds, self._rows, self._data, np.repeat(weights, 2), row
            )
        return result


class ProfileScores:
    """Scores of one case against profiles of chosen candidates, cut out at the terms of the case.

    Blocks are (terms, candidates), terms in the order of ``columns``.
    """

    def __init__(self, query: Query, ic: np.ndarray, closure: sp.csr_matrix, mixing: np.ndarray) -> None:
        """Prepare one case.

        Args:
            query: the case.
            ic: (n_terms,) information content.
            closure: (n_terms, n_terms), the terms that each term implies.
            mixing: how each of those explains the term, in the order of ``closure.indices``.
        """
        n_implied = len(query.implied)
        self.columns = np.concatenate([query.implied, query.excluded])
        # A table of its own for each case: several requests are answered at once.
        self._place = np.full(len(ic), -1, np.int32)
        self._place[self.columns] = np.arange(len(self.columns), dtype=np.int32)
        self._observed = self._place[query.observed]
        self._excluded = slice(n_implied, None)
        positions, owner = gather(closure.indptr, query.observed)
        above = self._place[closure.indices[positions]]
        self._above = np.split(above, np.flatnonzero(np.diff(owner)) + 1) if len(above) else []
        self._mix = np.zeros((len(query.observed), n_implied), np.float32)
        self._mix[owner, above] = mixing[positions]
        self._ic = ic[query.implied][:, None]
        self._weight = max(float(ic[query.observed].sum()), 1e-6)
        self._square = query.implied_ic[1] * ic[query.implied]

    def read(self, profiles: sp.csr_matrix, chosen: np.ndarray) -> np.ndarray:
        """Return the block float32 (n_columns, k) of sparse profiles (n_candidates, n_terms)."""
        rows = profiles[chosen]
        place = self._place[rows.indices]
        hit = np.flatnonzero(place >= 0)
        owner = np.repeat(np.arange(len(chosen)), np.diff(rows.indptr))
        block = np.zeros(len(self.columns) * len(chosen), np.float32)
        block[place[hit] * len(chosen) + owner[hit]] = rows.data[hit]
        return block.reshape(len(self.columns), len(chosen))

    def similarity(self, block: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return cosine, best match and mixture: (3, k)."""
        implied = block[: len(self._ic)]
        informative = np.sqrt(implied)
        informative *= self._ic
        best = np.zeros(block.shape[1], np.float32)
        for above in self._above:
            best += informative[above].max(axis=0)
        mixture = np.log(UNEXPLAINED + self._mix @ implied).sum(axis=0)
        return np.stack([(self._square @ implied) / lengths, best / self._weight, mixture])

    def ratios(self, block: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Return log ratios of observed and of excluded terms: (2, k)."""
        base = background[self.columns][:, None]
        chance = base[self._observed]
        share = _EXPLAINED * block[self._observed] + ((1 - _EXPLAINED) * chance + _FLOOR)
        observed = np.log(share).sum(axis=0) - np.log(chance + _FLOOR).sum()
        missing = np.log1p(-_TRUSTED * block[self._excluded]).sum(axis=0)
        excluded = missing - np.log1p(-_TRUSTED * base[self._excluded]).sum()
        return np.stack([observed, excluded])


def mixing_weights(closure: sp.csr_matrix, ic: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return how each ancestor explains a term: nearness in information content over background frequency.

    Args:
        closure: (n_terms, n_terms), the terms that each term implies.
        ic: (n_terms,) information content.
        background: (n_terms,) frequency over candidates.

    Returns:
        float32, in the order of ``closure.indices``.
    """
    term = np.repeat(np.arange(len(ic)), np.diff(closure.indptr))
    near = np.exp(ic[closure.indices] - ic[term])
    total = np.add.reduceat(near, closure.indptr[:-1])
    return (near / total[term] / (background[closure.indices] + 1e-4)).astype(np.float32)
