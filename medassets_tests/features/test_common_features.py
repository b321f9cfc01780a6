import deltalake
import numpy as np
import pyarrow as pa
import pytest

from medassets.cohorts.schema import SchemaError, conform
from medassets.cohorts.simulate_common import simulate
from medassets.features.common import EvidenceSpace
from medassets.features.common_features import declaration, features, matrix, reader
from medassets.knowledge.common_conditions import CommonKnowledge

KNOWLEDGE = CommonKnowledge.bundled()
SPACE = EvidenceSpace.from_knowledge(KNOWLEDGE)


@pytest.mark.parametrize("draw_values", [True, False])
def test_the_matrix_comes_back_from_the_table(draw_values: bool) -> None:
    patients = simulate(
        KNOWLEDGE, seed=1, per_condition=20, missing_rate=0.2, noise_rate=0.05, draw_values=draw_values
    )
    table = features(patients, SPACE)
    assert np.array_equal(matrix(table, SPACE), SPACE.encode_table(patients))
    assert table.column("patient_id").to_pylist() == patients.column("patient_id").to_pylist()


def test_the_table_reads_without_the_code() -> None:
    patients = simulate(KNOWLEDGE, seed=2, per_condition=1, draw_values=True)
    row, source = features(patients, SPACE).to_pylist()[0], patients.to_pylist()[0]
    assert row["present_values"] == [a for a in source["evidence"] if a in SPACE.names[SPACE.values]]
    assert all(row[code] in (-1, 0, 1) for code in KNOWLEDGE.codes)
    assert row["age"] == source["age"] and row["origin"] == "simulated"


def test_batches_written_as_a_stream_are_the_whole(tmp_path) -> None:
    parts = [simulate(KNOWLEDGE, seed=seed, total=50, missing_rate=0.1) for seed in (3, 4)]
    deltalake.write_deltalake(str(tmp_path), reader(iter(parts), SPACE))
    stored = deltalake.DeltaTable(str(tmp_path)).to_pyarrow_table()
    kept = conform(stored, declaration(SPACE)).sort_by("patient_id")
    expected = pa.concat_tables([features(part, SPACE) for part in parts]).sort_by("patient_id")
    assert kept.equals(expected)


def test_parts_do_not_show(monkeypatch) -> None:
    patients = simulate(KNOWLEDGE, seed=7, total=25, missing_rate=0.1)
    whole = features(patients, SPACE)
    monkeypatch.setattr("medassets.features.common_features.PART_ROWS", 10)
    assert features(patients, SPACE).equals(whole)


def test_columns_follow_the_evidences_of_the_site() -> None:
    spec = declaration(SPACE)
    assert spec.key == "features/common_features" and spec.primary_key == ("patient_id",)
    assert all(spec.describe(name) for name in spec.schema.names)
    few = EvidenceSpace(SPACE.shapes[:3])
    with pytest.raises(SchemaError, match="not declared"):
        conform(features(simulate(KNOWLEDGE, seed=5, total=5), SPACE), declaration(few))


def test_no_rows_give_an_empty_table() -> None:
    nobody = simulate(KNOWLEDGE, seed=6, total=1).slice(0, 0)
    table = features(nobody, SPACE)
    assert table.num_rows == 0 and matrix(table, SPACE).shape == (0, SPACE.n_features)
