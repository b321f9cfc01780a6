"""Small array tools of the rare-disease scoring: sparse matrices on disk, row gathering, propagation in the
ontology.

What belongs here: helpers without medical meaning. What does not: profiles, ratios, evidence. It is on the
serving path: numpy, scipy and pyarrow only. Arrays are kept one a file (``.npy``), so that the bytes depend
on the content alone and large ones can be mapped instead of read.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse as sp

from medassets.knowledge.ontology import Ontology


def save_array(directory: Path, name: str, value: np.ndarray | sp.csr_matrix) -> None:
    """Write an array as ``<name>.npy``, a CSR matrix as four such files."""
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(value, sp.csr_matrix):
        parts = {"data": value.data, "indices": value.indices, "indptr": value.indptr, "shape": value.shape}
        for part, array in parts.items():
            np.save(directory / f"{name}.{part}.npy", np.asarray(array), allow_pickle=False)
    else:
        np.save(directory / f"{name}.npy", np.asarray(value), allow_pickle=False)


def load_array(directory: Path, name: str) -> np.ndarray | sp.csr_matrix:
    """Read what :func:`save_array` wrote.

    Raises:
        FileNotFoundError: neither form of the array is there.
    """
    plain = directory / f"{name}.npy"
    if plain.exists():
        return np.load(plain, allow_pickle=False)
    data, indices, indptr, shape = (
        np.load(directory / f"{name}.{part}.npy", allow_pickle=False)
        for part in ("data", "indices", "indptr", "shape")
    )
    return sp.csr_matrix((data, indices, indptr), shape=tuple(int(s) for s in shape))


def read_parquet(path: Path) -> pa.Table:
    """Read one file; ``read_table`` would bring in data sets, and with them pandas where it is installed."""
    with pq.ParquetFile(path) as file:
        return file.read()


def scale_columns(matrix: sp.csr_matrix, weights: np.ndarray) -> sp.csr_matrix:
    """Return the matrix with each column multiplied by its weight."""
    values = (matrix.data * weights[matrix.indices]).astype(np.float32)
    return sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Return the matrix with rows of length 1; rows without entry stay."""
    squares = np.add.reduceat(np.append(matrix.data**2, 0.0), matrix.indptr[:-1]) * (
        np.diff(matrix.indptr) > 0
    )
    length = np.maximum(np.sqrt(squares), 1e-6)
    values = (matrix.data / np.repeat(length, np.diff(matrix.indptr))).astype(np.float32)
    return sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def gather(indptr: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions of all entries of the given CSR rows, and which of ``rows`` each belongs to."""
    lengths = indptr[rows + 1] - indptr[rows]
    owner = np.repeat(np.arange(len(rows)), lengths)
    ends = np.cumsum(lengths)
    positions = np.arange(ends[-1] if len(rows) else 0) + np.repeat(indptr[rows] - ends + lengths, lengths)
    return positions, owner


class ParentLevels(NamedTuple):
    """Terms by their longest way to a root, for carrying values downwards.

    Attributes:
        terms: (m,) terms, parents before children; those that are not asked for are left out.
        levels: for each depth the place of its first term, and places of the first, second, ... parents.
            Terms with more parents come first within their depth, so that each array may be shorter than
            the one before.
    """

    terms: np.ndarray
    levels: list[tuple[int, list[np.ndarray]]]

    @classmethod
    def of(cls, ontology: Ontology, wanted: np.ndarray | None = None) -> ParentLevels:
        """Order the terms of an ontology.

        Args:
            ontology: the ontology.
            wanted: bool (n_terms,), terms whose values are asked for, all when None; ancestors stay as well.
        """
        needed = np.ones(len(ontology), bool) if wanted is None else wanted @ ontology.closure > 0
        parents = ontology.parents
        depth = np.zeros(len(ontology), np.int64)
        for i in sorted(range(len(ontology)), key=lambda i: len(ontology.ancestors(i))):
            depth[i] = 1 + max((depth[p] for p in parents[i]), default=-1)
        n_parents = np.array([len(p) for p in parents])
        order = np.lexsort((-n_parents, depth))
        order = order[needed[order]]
        place = np.full(len(ontology), -1, np.int64)
        place[order] = np.arange(len(order))
        levels = []
        for level in range(1, int(depth.max(initial=0)) + 1):
            members = order[depth[order] == level]
            if len(members):
                columns = [
                    place[[parents[i][j] for i in members if len(parents[i]) > j]]
                    for j in range(n_parents[members[0]])
                ]
                levels.append((int(place[members[0]]), columns))
        return cls(order, levels)

    def carry_largest(self, values: np.ndarray) -> None:
        """Give each term the largest value among itself and its ancestors, in place.

        Args:
            values: (m, k), in the order of ``terms``.
        """
        for start, columns in self.levels:
            for parents in columns:
                part = values[start : start + len(parents)]
                np.maximum(part, values.take(parents, axis=0), out=part)
