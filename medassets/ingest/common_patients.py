"""The form in which every reader and simulator hands over patients with common conditions.

What belongs here: column types of ``clinical/common_patients``, how complete a record is, and list columns
built from flat arrays. What does not: the declaration of the table (``medassets.cohorts.tables_common``) and
file formats.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from medassets.knowledge.common_conditions import VALUE_SEPARATOR

DIFFERENTIAL = pa.list_(
    pa.struct([pa.field("condition", pa.string()), pa.field("probability", pa.float64())])
)

#: Columns and types, in order.
PATIENT_SCHEMA = pa.schema(
    {
        "patient_id": pa.string(),
        "age": pa.int16(),
        "sex": pa.string(),
        "condition": pa.string(),
        "evidence": pa.list_(pa.string()),
        "unknown": pa.list_(pa.string()),
        "initial_evidence": pa.string(),
        "differential": DIFFERENTIAL,
        "completeness": pa.float64(),
        "complete_enough": pa.bool_(),
        "origin": pa.string(),
        "source_file": pa.string(),
        "source_row": pa.int64(),
    }
)

SEXES = ("M", "F", "unknown")
MAX_AGE = 130
#: A record below this share of filled fields is kept and flagged.
ENOUGH = 0.7


def list_column(rows: np.ndarray, numbers: np.ndarray, names: list[str], count: int) -> pa.ListArray:
    """Return a list<string> column: ``names[numbers[i]]`` is an entry of row ``rows[i]`` (ascending)."""
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(np.bincount(rows, minlength=count), out=offsets[1:])
    entries = pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32)), pa.array(names, pa.string()))
    return pa.ListArray.from_arrays(pa.array(offsets), entries.cast(pa.string()))


def with_completeness(patients: pa.Table, n_evidences: int) -> pa.Table:
    """Fill ``completeness`` and ``complete_enough``.

    Completeness is the share of expected fields that are filled: age, sex, initial evidence and one answer,
    yes or no, for each of ``n_evidences`` questions.
    """
    count = patients.num_rows
    filled = np.zeros(count)
    filled += pc.is_valid(patients.column("age")).to_numpy()
    filled += pc.fill_null(pc.is_in(patients.column("sex"), value_set=pa.array(["M", "F"])), False).to_numpy()
    filled += pc.is_valid(patients.column("initial_evidence")).to_numpy()
    unknown = pc.fill_null(pc.list_value_length(patients.column("unknown")), 0).to_numpy()
    completeness = (filled + n_evidences - unknown) / (n_evidences + 3)
    columns = {name: patients.column(name) for name in PATIENT_SCHEMA.names if name in patients.column_names}
    columns["completeness"] = pa.array(completeness)
    columns["complete_enough"] = pa.array(completeness >= ENOUGH)
    return pa.table([columns[name] for name in PATIENT_SCHEMA.names], schema=PATIENT_SCHEMA)


def base_code(answer: str) -> str:
    """Return the evidence of an answer: ``E_54`` of ``E_54_@_V_161``."""
    return answer.partition(VALUE_SEPARATOR)[0]
