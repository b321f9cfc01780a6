"""What the differential head reads of a patient: answers, posterior, and how far each condition explains
them.

What belongs here: these columns, the same in training and serving. What does not: the head itself
(``medassets.learners.common.differential``). On the serving path: numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medassets.features.common import PRESENT
from medassets.features.model_inputs import ModelInputs

#: Log-posteriors below this say no more than this.
_LOG_FLOOR = -25.0


@dataclass(frozen=True)
class DifferentialInputs:
    """Columns of the head's input.

    Attributes:
        inputs: columns of the symptom matrix.
        pictured: (n_conditions, n_base) bool, symptoms that belong to a condition's picture.
        symptoms: (n_base,) bool, evidences that are symptoms and no antecedents.
    """

    inputs: ModelInputs
    pictured: np.ndarray
    symptoms: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs) + 3 * len(self.pictured)

    def transform(self, matrix: np.ndarray, log_posterior: np.ndarray) -> np.ndarray:
        """Build the input.

        Args:
            matrix: (n, n_features) symptom matrix.
            log_posterior: (n, n_conditions) of naive Bayes.

        Returns:
            (n, len(self)) float32: answers, log-posterior, present symptoms that each condition explains, and
            those that it does not.
        """
        present = (matrix[:, : len(self.symptoms)] == PRESENT) & self.symptoms
        explained = present.astype(np.float32) @ self.pictured.T.astype(np.float32)
        return np.hstack(
            [
                self.inputs.transform(matrix),
                np.maximum(log_posterior, _LOG_FLOOR).astype(np.float32),
                explained,
                present.sum(axis=1, keepdims=True, dtype=np.float32) - explained,
            ]
        )
