"""The table ``features/common_features``: the symptom matrix as a data team reads it.

What belongs here: the table's declaration for a given set of evidences, and the way from patients to rows and
from rows back to the matrix. What does not: the encoding itself (``medassets.features.common``).

Layout, the quickest of five that were measured which still reads well in a viewer: one int8 column for each
base evidence and level, age and sex, and the few values present in a list. The 689 value columns of the
matrix would make the table four times as slow to write and twice as large; they follow from the list
(``matrix``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from medassets.cohorts.schema import Table, column, conform
from medassets.features.answers import ABSENT, PRESENT, UNKNOWN
from medassets.features.common import EvidenceSpace
from medassets.ingest.common_patients import list_column

VALUES = "present_values"
PART_ROWS = 50_000


def declaration(space: EvidenceSpace) -> Table:
    """Return the table's declaration; its columns follow the evidences."""
    fields = [
        column("patient_id", pa.string(), "patient of clinical/common_patients"),
        column("condition", pa.string(), "condition that the source gives", required=False),
        column("origin", pa.string(), "origin of the patient's row"),
    ]
    for name in space.names[space.base]:
        fields.append(column(name, pa.int8(), f"evidence {name}: 1 present, 0 absent, -1 unknown"))
    for name in space.names[space.levels]:
        fields.append(
            column(name, pa.int8(), f"degree of {name.partition('_@_')[0]}: 0 and above, -1 unknown")
        )
    fields += [
        column("age", pa.int8(), "age in years, at most 120; -1 unknown"),
        column("sex", pa.int8(), "1 male, 0 female, -1 unknown"),
        column(VALUES, pa.list_(pa.string()), "values present, as E_54_@_V_161"),
    ]
    return Table(
        key="features/common_features",
        schema=pa.schema(fields),
        primary_key=("patient_id",),
        description="The symptom matrix: one row a patient, unknown answers kept apart from absent ones.",
    )


def features(patients: pa.Table, space: EvidenceSpace) -> pa.Table:
    """Return the rows of ``features/common_features`` of some patients.

    Raises:
        EvidenceError: see ``EvidenceSpace.encode_table``.
    """
    spec = declaration(space)
    # In parts, so that a million patients do not need their whole matrix (0.9 GB, twice) at once.
    starts = range(0, patients.num_rows, PART_ROWS) or [0]
    return pa.concat_tables([_features(patients.slice(start, PART_ROWS), space, spec) for start in starts])


def _features(patients: pa.Table, space: EvidenceSpace, spec: Table) -> pa.Table:
    encoded = np.asfortranarray(space.encode_table(patients))
    narrow = [*range(space.base.stop), *range(space.levels.start, space.n_features)]
    columns: dict[str, pa.Array] = {
        name: patients.column(name) for name in ("patient_id", "condition", "origin")
    }
    columns |= {space.names[j]: pa.array(encoded[:, j]) for j in narrow}
    rows, numbers = np.nonzero(encoded[:, space.values] == PRESENT)
    columns[VALUES] = list_column(rows, numbers, space.names[space.values], patients.num_rows)
    return conform(pa.table(columns), spec)


def feature_batches(batches: Iterable[pa.Table], space: EvidenceSpace) -> Iterator[pa.RecordBatch]:
    """Encode patients batch by batch; memory does not grow with their number."""
    for patients in batches:
        yield from features(patients, space).combine_chunks().to_batches()


def reader(batches: Iterable[pa.Table], space: EvidenceSpace) -> pa.RecordBatchReader:
    """Return ``feature_batches`` as a reader, the form in which a Delta table is written as a stream."""
    return pa.RecordBatchReader.from_batches(declaration(space).schema, feature_batches(batches, space))


def matrix(table: pa.Table, space: EvidenceSpace) -> np.ndarray:
    """Return the symptom matrix of rows of ``features/common_features``, (n, n_features) int8.

    It equals ``EvidenceSpace.encode_table`` of the same patients.
    """
    result = np.zeros((table.num_rows, space.n_features), dtype=np.int8, order="F")
    for j in (*range(space.base.stop), *range(space.levels.start, space.n_features)):
        result[:, j] = table.column(space.names[j]).to_numpy()
    lists = table.column(VALUES).combine_chunks()
    entries = lists.flatten().dictionary_encode()
    columns = np.array([space.index[name] for name in entries.dictionary.to_pylist()], dtype=np.int64)
    rows = lists.value_parent_indices().to_numpy()
    result[rows, columns[entries.indices.to_numpy()]] = PRESENT
    for base, details in enumerate(space.details):
        if details.start >= space.values.stop or details.stop == details.start:
            continue  # levels have columns of their own
        state = result[:, base]
        bare = (state == PRESENT) & ~(result[:, details] == PRESENT).any(axis=1)
        result[bare | (state == UNKNOWN), details] = UNKNOWN
        result[state == ABSENT, details] = ABSENT
    return np.ascontiguousarray(result)
