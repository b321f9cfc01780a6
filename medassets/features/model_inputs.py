"""Which columns of the symptom matrix a trained model sees, as arrays that travel with it.

What belongs here: the fitted choice of columns and its application. What does not: how columns are chosen
(``medassets.learners.common.preprocessing``). On the serving path: numpy only.

Answers go to the models as they are encoded: 1 present, 0 absent, -1 unknown, so that "unknown" stays a value
of its own which trees can split off and networks embed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medassets.features.answer_codes import SHIFT, AnswerCodes


@dataclass(frozen=True)
class ModelInputs:
    """Columns of a model's input.

    Attributes:
        columns: (n_inputs,) int64 columns of the symptom matrix, ascending.
        sizes: (n_inputs,) int64 number of different answers of each, unknown included.
    """

    columns: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray, codes: AnswerCodes) -> ModelInputs:
        """Keep these columns of a space."""
        chosen = np.sort(np.asarray(columns, dtype=np.int64))
        return cls(chosen, codes.sizes[chosen])

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def offsets(self) -> np.ndarray:
        """(n_inputs,) int64: number of each input's unknown answer, numbered input by input."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)

    def transform(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_inputs) float32 of a symptom matrix (n, n_features)."""
        return np.atleast_2d(matrix)[:, self.columns].astype(np.float32)

    def rows_of(self, codes: AnswerCodes) -> np.ndarray:
        """Positions of these inputs' answers in a table numbered by ``codes``: (sizes.sum(),) int64."""
        return np.concatenate(
            [
                np.arange(codes.position(c, -SHIFT), codes.position(c, -SHIFT) + s)
                for c, s in zip(self.columns, self.sizes, strict=True)
            ]
        )
