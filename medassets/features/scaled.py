"""Transformations that grow with the number of patients, in the form that every engine runs.

What belongs here: what is computed, as row-by-row functions and as SQL. What does not: engines
(``medassets.engines``). The SQL keeps to what polars, Daft and Spark understand alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from medassets.cohorts.schema import Table, column
from medassets.features.common import EvidenceSpace
from medassets.features.common_features import declaration, features

#: Columns of ``clinical/common_patients`` that the symptom matrix is made of.
PATIENT_COLUMNS = ("patient_id", "condition", "origin", "age", "sex", "evidence", "unknown")


@dataclass(frozen=True)
class CommonFeatures:
    """From ``clinical/common_patients`` to ``features/common_features``."""

    space: EvidenceSpace

    @property
    def columns(self) -> tuple[str, ...]:
        """Give the columns that it reads."""
        return PATIENT_COLUMNS

    @cached_property
    def schema(self) -> pa.Schema:
        """Give the schema of the symptom matrix."""
        return declaration(self.space).schema

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Encode some patients."""
        return features(rows, self.space)


#: How many patients of which condition, sex and age group an installation learns from.
COHORT_PROFILE_SQL = """
SELECT condition, origin, sex, age_from, COUNT(*) AS patients
FROM (
  SELECT condition, origin, sex,
         CASE WHEN age < 0 THEN -1 WHEN age < 15 THEN 0 WHEN age < 30 THEN 15 WHEN age < 45 THEN 30
              WHEN age < 60 THEN 45 WHEN age < 75 THEN 60 ELSE 75 END AS age_from
  FROM features
) AS grouped
GROUP BY condition, origin, sex, age_from
"""
COHORT_PROFILE = Table(
    "features/cohort_profile",
    pa.schema(
        [
            column("condition", pa.string(), "condition that the source gives", required=False),
            column("origin", pa.string(), "origin of the patients' rows"),
            column("sex", pa.int8(), "1 male, 0 female, -1 unknown"),
            column("age_from", pa.int8(), "youngest age of the group in years; -1 unknown"),
            column("patients", pa.int64(), "patients in the group"),
        ]
    ),
    ("condition", "origin", "sex", "age_from"),
    "A row counts the patients of one condition, sex and age group.",
)
