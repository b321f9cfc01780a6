"""Patients of common conditions as the learners see them: a symptom matrix, labels, and where the rows came
from.

What belongs here: the container, its making from tables, and the corruption of answers that makes models
robust (answers hidden or falsified at random, as ``medassets.cohorts.simulate_common.mask`` does for whole
tables).
What does not: the encoding (``medassets.features.common``), models, and the choice of rows (``training``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from medassets.features.common import ABSENT, PRESENT, UNKNOWN, EvidenceSpace
from medassets.knowledge.common_conditions import CommonKnowledge


@dataclass(frozen=True)
class CommonPatients:
    """Rows of one cohort.

    Attributes:
        ids: (n,) object, patient ids.
        matrix: (n, n_features) int8 of ``EvidenceSpace``.
        labels: (n,) int64, row of the condition in ``CommonKnowledge``.
        differential: (n, n_conditions) float64 reference differential; NaN rows where the source has none.
        origin: (n,) object, origin of each row.
    """

    ids: np.ndarray
    matrix: np.ndarray
    labels: np.ndarray
    differential: np.ndarray
    origin: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def from_table(
        cls, patients: pa.Table, space: EvidenceSpace, knowledge: CommonKnowledge
    ) -> CommonPatients:
        """Encode rows of ``clinical/common_patients`` that name their condition.

        Raises:
            ValueError: a condition that the knowledge does not have, or a row without one.
            EvidenceError: an answer that cannot be used.
        """
        names = patients.column("condition").to_pylist()
        for row, name in enumerate(names):
            if name not in knowledge.condition_index:
                raise ValueError(
                    f"row {row}: condition {name!r} is not one of the {len(knowledge.conditions)} known"
                )
        return cls(
            ids=np.array(patients.column("patient_id").to_pylist(), dtype=object),
            matrix=space.encode_table(patients),
            labels=np.array([knowledge.condition_index[name] for name in names], dtype=np.int64),
            differential=reference_differentials(patients, knowledge),
            origin=np.array(patients.column("origin").to_pylist(), dtype=object),
        )

    def take(self, rows: np.ndarray) -> CommonPatients:
        """Return these rows (indices or a mask)."""
        return CommonPatients(
            self.ids[rows], self.matrix[rows], self.labels[rows], self.differential[rows], self.origin[rows]
        )

    def with_matrix(self, matrix: np.ndarray) -> CommonPatients:
        """Return the same patients with other answers."""
        return CommonPatients(self.ids, matrix, self.labels, self.differential, self.origin)

    @staticmethod
    def concat(parts: list[CommonPatients]) -> CommonPatients:
        """Stack cohorts that share a space and a knowledge table."""
        return CommonPatients(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("ids", "matrix", "labels", "differential", "origin")
            )
        )


def reference_differentials(patients: pa.Table, knowledge: CommonKnowledge) -> np.ndarray:
    """Differentials of a table as (n, n_conditions) float64; NaN rows where there is none.

    Raises:
        ValueError: a differential names a condition that the knowledge does not have.
    """
    result = np.full((patients.num_rows, len(knowledge.conditions)), np.nan)
    for row, entries in enumerate(patients.column("differential").to_pylist()):
        if not entries:
            continue
        result[row] = 0.0
        for entry in entries:
            column = knowledge.condition_index.get(entry["condition"])
            if column is None:
                raise ValueError(
                    f"row {row}: differential names the unknown condition {entry['condition']!r}"
                )
            result[row, column] = entry["probability"]
    return result


def agree(space: EvidenceSpace, matrix: np.ndarray) -> np.ndarray:
    """Make details agree with their questions, in place: hidden under a hidden one, absent under an absent
    one.

    A detail that is present although nothing is known of its values keeps them unknown.
    """
    for column, detail in enumerate(space.details):
        parent = space.parents[column]
        if parent >= 0:
            matrix[:, column] = np.where(matrix[:, parent] == PRESENT, matrix[:, column], matrix[:, parent])
        if detail.stop > detail.start:
            for state in (ABSENT, UNKNOWN):
                matrix[matrix[:, column] == state, detail] = state
    return matrix


def corrupt(
    space: EvidenceSpace,
    matrix: np.ndarray,
    rng: np.random.Generator,
    *,
    unknown: float | np.ndarray = 0.0,
    wrong: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Hide and falsify answers.

    Args:
        space: the columns.
        matrix: (n, n_features) int8; left as it is.
        rng: source of chance.
        unknown: share of answers hidden, one number or one for each row (n,).
        wrong: share of yes/no answers turned round, and of positive other answers denied.

    Returns:
        A new matrix; age and sex are kept.
    """
    result = matrix.copy()
    base = result[:, space.base]
    before = base.copy()
    turned = (rng.random(base.shape, dtype=np.float32) < np.reshape(wrong, (-1, 1))) & (base != UNKNOWN)
    base[turned] = 1 - base[turned]
    appeared = turned & (before == ABSENT)
    for column, detail in enumerate(space.details):
        if detail.stop > detail.start:
            result[appeared[:, column], detail] = UNKNOWN
    base[rng.random(base.shape, dtype=np.float32) < np.reshape(unknown, (-1, 1))] = UNKNOWN
    return agree(space, result)


def unknown_share(space: EvidenceSpace, matrix: np.ndarray) -> np.ndarray:
    """Share of base evidences with no answer, (n,) float64."""
    return (matrix[:, space.base] == UNKNOWN).mean(axis=1)
