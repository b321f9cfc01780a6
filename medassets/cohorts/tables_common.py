"""Declared tables of common conditions: clinical patients, features and splits."""

from __future__ import annotations

import pyarrow as pa

from medassets.cohorts.schema import Table, column
from medassets.ingest.common_patients import PATIENT_SCHEMA

_PATIENT_COLUMNS = {
    "patient_id": ("id of the row's patient: the source's own, or file hash and row number", True),
    "age": ("age in completed years, 0 to 130; empty where not known", False),
    "sex": ("M, F or unknown", True),
    "condition": ("condition that the source gives, by its DDXPlus name; empty where not known", False),
    "evidence": ("present evidences: E_91, E_54_@_V_161, or a bare categorical code (value not known)", True),
    "unknown": ("base codes of evidences with no answer; what is named in neither list is absent", True),
    "initial_evidence": ("base code of the complaint that the consultation began with", False),
    "differential": ("the source's differential with probabilities; empty where it has none", False),
    "completeness": (
        "share of expected fields that are filled: age, sex, initial evidence, each answer",
        True,
    ),
    "complete_enough": ("whether completeness reaches 0.7; rows below are kept", True),
    "origin": ("ddxplus (a benchmark synthesized by its authors), simulated, ctgan or ehr", True),
    "source_file": (
        "file (and member of an archive) that the row was read from; empty for simulated rows",
        False,
    ),
    "source_row": ("row in that file, the first after the header being 1; empty for simulated rows", False),
}

COMMON_PATIENTS = Table(
    key="clinical/common_patients",
    schema=pa.schema(
        [
            column(
                field.name,
                field.type,
                _PATIENT_COLUMNS[field.name][0],
                required=_PATIENT_COLUMNS[field.name][1],
            )
            for field in PATIENT_SCHEMA
        ]
    ),
    primary_key=("patient_id",),
    description="One consultation for a common condition: age, sex, what was found and what was not asked.",
)

COMMON_SPLIT = Table(
    key="features/common_split",
    schema=pa.schema(
        [
            column("patient_id", pa.string(), "patient of clinical/common_patients"),
            column("part", pa.string(), "train, validation or test"),
        ]
    ),
    primary_key=("patient_id",),
    description="The part of the common-condition data that a patient belongs to; stratified by condition.",
)

COMMON_TABLES: tuple[Table, ...] = (COMMON_PATIENTS, COMMON_SPLIT)
