"""Answers as table look-ups: every (column, answer) pair has one number, and scores are sums of looked-up
rows.

What belongs here: the numbering (``AnswerCodes``) and additive scores over it (``AdditiveScores``), the form
that naive Bayes takes in training and in serving. What does not: how the numbers in the table are learned
(``medassets.learners.common.naive_bayes``). On the serving path: numpy and scipy only.

An unknown answer has a number of its own, so it is never mistaken for an absent one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from medassets.features.answers import AGE_CEILING
from medassets.features.common import EvidenceSpace

#: Added to an answer to make it a position: unknown (-1) is 0, absent 1, present 2; a level or age x is x +
#: 1.
SHIFT = 1


@dataclass(frozen=True)
class AnswerCodes:
    """Numbers of all (column, answer) pairs of a symptom matrix.

    Attributes:
        sizes: (n_features,) int64, how many different answers a column has, unknown included.
    """

    sizes: np.ndarray

    @classmethod
    def from_space(cls, space: EvidenceSpace) -> AnswerCodes:
        """Number the answers of a space."""
        sizes = np.full(space.n_features, 3, dtype=np.int64)
        for shape, detail in zip(space.shapes, space.details, strict=True):
            if shape.ordinal:
                sizes[detail] = max(int(value) for value in shape.values) + 1 + SHIFT
        sizes[space.age] = AGE_CEILING + 1 + SHIFT
        return cls(sizes)

    @cached_property
    def offsets(self) -> np.ndarray:
        """(n_features,) int64: number of each column's unknown answer."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    @property
    def size(self) -> int:
        """How many (column, answer) pairs there are."""
        return int(self.sizes.sum())

    def position(self, column: int, answer: int) -> int:
        """Number of one answer of one column."""
        return int(self.offsets[column]) + answer + SHIFT


@dataclass(frozen=True)
class AdditiveScores:
    """Scores of every condition as ``bias`` plus one table row for each answer.

    A table may hold several components side by side, for example likelihoods under several chances that an
    answer is wrong. Scores are then summed over components as probabilities: how the answers agree with each
    other says which component they come from.

    Attributes:
        codes: the numbering of the table's rows.
        table: (codes.size, n_components * n_conditions) float64, components one after another.
        bias: (n_conditions,) float64.
    """

    codes: AnswerCodes
    table: np.ndarray
    bias: np.ndarray

    @property
    def components(self) -> int:
        """How many components the table holds."""
        return self.table.shape[1] // len(self.bias)

    @cached_property
    def _relative(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores of an all-zero row, and the table relative to it: most answers are zero."""
        zero = self.table[self.codes.offsets + SHIFT]
        return zero.sum(axis=0), self.table - np.repeat(zero, self.codes.sizes, axis=0)

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Score rows of a symptom matrix.

        Args:
            matrix: (n, n_features) int8, or one row (n_features,).

        Returns:
            (n, n_conditions) float64.
        """
        parts = self._score_components(np.atleast_2d(matrix))
        top = parts.max(axis=1)
        return top + np.log(np.exp(parts - top[:, None]).mean(axis=1)) + self.bias

    def _score_components(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_components, n_conditions) without bias."""
        start, table = self._relative
        rows, columns = np.nonzero(matrix)
        positions = self.codes.offsets[columns] + matrix[rows, columns] + SHIFT
        if len(matrix) == 1:
            total = table[positions].sum(axis=0, keepdims=True)
        else:
            ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
            shape = (len(matrix), self.codes.size)
            total = sp.csr_matrix((np.ones(len(positions)), positions, ends), shape=shape) @ table
        return (start + total).reshape(len(matrix), -1, len(self.bias))

    def contributions(self, row: np.ndarray) -> np.ndarray:
        """Share of each column in the scores of one row, under the component that fits the row best.

        Returns:
            (n_features, n_conditions); they sum to that component's score without bias.
        """
        parts = self._score_components(row[None])[0] + self.bias
        best = int(parts.max(axis=1).argmax())
        classes = len(self.bias)
        positions = self.codes.offsets + row.astype(np.int64) + SHIFT
        return np.asarray(self.table[:, best * classes : (best + 1) * classes][positions])

    def save(self, path: Path) -> None:
        """Write as ``.npz``."""
        np.savez(path, sizes=self.codes.sizes, table=self.table.astype(np.float32), bias=self.bias)

    @classmethod
    def load(cls, path: Path) -> AdditiveScores:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(AnswerCodes(stored["sizes"]), stored["table"].astype(np.float64), stored["bias"])


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Logarithms of probabilities that are proportional to ``exp(scores)``, along the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
