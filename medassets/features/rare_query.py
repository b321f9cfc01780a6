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

#: Terms and their weights.
Vector = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Query:
    """One case.

    Attributes:
        observed: observed terms, ascending.
        excluded: excluded terms that no observed one contradicts, ascending.
        implied: observed terms and their ancestors, ascending.
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
        implied = np.unique(closure.indices[gather(closure.indptr, observed)[0]])
        excluded = np.setdiff1d(excluded, implied, assume_unique=True)
        both = np.concatenate([observed, excluded])
        ones = np.ones(len(both), np.float32)
        signed = ones.copy()
        signed[len(observed) :] = -AGAINST
        ic = memory.case_ic
        kernels = {
            "implied": _unit(implied, ic[implied]),
            "observed": _unit(observed, ic[observed]),
            "assessed": _unit(both, ones),
            "signed": _unit(both, signed),
            "excluded": _unit(excluded, ones[: len(excluded)]),
        }
        return cls(
            observed, excluded, implied, kernels, _unit(implied, memory.ic[implied]),
            _unit(observed, memory.ic[observed]), (observed, ones[: len(observed)]),
            (excluded, ones[len(observed) :]), sex,
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
        self._data, self._rows, self._bounds = columns.data, columns.indices, columns.indptr

    def products(self, vectors: Sequence[Vector]) -> np.ndarray:
        """Return float32 (n_vectors, n_rows)."""
        result = np.zeros((len(vectors), self._n_rows), np.float32)
        bounds, rows, data, n = self._bounds, self._rows, self._data, self._n_rows
        for row, (terms, weights) in zip(result, vectors, strict=True):
            for i, term in enumerate(terms.tolist()):
                # One column at a time, added in place: a product of sparse matrices costs twice as much.
                csc_matvec(n, 1, bounds[term : term + 2], rows, data, weights[i : i + 1], row)
        return result


class BlockReader:
    """Cuts profiles of chosen candidates at a few terms out of sparse matrices; safe for threads."""

    def __init__(self, n_terms: int) -> None:
        self._n_terms = n_terms

    def places(self, columns: np.ndarray, terms: np.ndarray) -> np.ndarray:
        """Return the position in ``columns`` of each of ``terms``, -1 where it is not among them."""
        # A table of its own for each call: several requests are answered at once.
        place = np.full(self._n_terms, -1, np.int32)
        place[columns] = np.arange(len(columns), dtype=np.int32)
        return np.asarray(place[terms])

    def read(self, profiles: sp.csr_matrix, chosen: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return float32 (len(columns), len(chosen))."""
        rows = profiles[chosen]
        place = self.places(columns, rows.indices)
        hit = np.flatnonzero(place >= 0)
        owner = np.searchsorted(rows.indptr, hit, side="right") - 1
        block = np.zeros(len(columns) * len(chosen), np.float32)
        block[place[hit].astype(np.int64) * len(chosen) + owner] = rows.data[hit]
        return block.reshape(len(columns), len(chosen))


class ProfileScores:
    """Scores of one case against blocks of profiles (terms, candidates)."""

    def __init__(
        self, query: Query, columns: np.ndarray, reader: BlockReader, ic: np.ndarray, closure: sp.csr_matrix,
        mixing: np.ndarray,
    ) -> None:  # fmt: skip
        """Prepare one case.

        Args:
            query: the case.
            columns: terms of the blocks' rows: the implied terms first, then the excluded ones.
            reader: finds places.
            ic: (n_terms,) information content.
            closure: (n_terms, n_terms), the terms that each term implies.
            mixing: how each of those explains the term, in the order of ``closure.indices``.
        """
        self._observed = reader.places(columns, query.observed)
        self._excluded = reader.places(columns, query.excluded)
        positions, owner = gather(closure.indptr, query.observed)
        self._above = reader.places(columns, closure.indices[positions])
        lengths = closure.indptr[query.observed + 1] - closure.indptr[query.observed]
        self._starts = np.cumsum(lengths) - lengths
        self._mix = np.zeros((len(query.observed), len(columns)), np.float32)
        self._mix[owner, self._above] = mixing[positions]
        self._columns = columns
        self._ic = ic[columns][:, None]
        self._weight = max(float(ic[query.observed].sum()), 1e-6)
        terms, weights = query.implied_ic
        self._square = np.zeros(len(columns), np.float32)
        self._square[: len(terms)] = weights * ic[terms]

    def similarity(self, block: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return cosine, best match and mixture: (3, k)."""
        informative = np.sqrt(block)
        informative *= self._ic
        if len(self._starts):
            best = np.maximum.reduceat(informative[self._above], self._starts, axis=0).sum(axis=0)
        else:
            best = np.zeros(block.shape[1], np.float32)
        mixture = np.log(UNEXPLAINED + self._mix @ block).sum(axis=0)
        return np.stack([(self._square @ block) / lengths, best / self._weight, mixture])

    def full(self, block: np.ndarray, lengths: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Return log ratios of observed and of excluded terms before the similarities: (5, k)."""
        base = background[self._columns][:, None]
        chance = base[self._observed]
        share = _EXPLAINED * block[self._observed] + ((1 - _EXPLAINED) * chance + _FLOOR)
        observed = np.log(share).sum(axis=0) - np.log(chance + _FLOOR).sum()
        missing = np.log1p(-_TRUSTED * block[self._excluded]).sum(axis=0)
        excluded = missing - np.log1p(-_TRUSTED * base[self._excluded]).sum()
        return np.concatenate([observed[None], excluded[None], self.similarity(block, lengths)])


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
