"""Engines: the same transformation and the same query give equal tables, whichever engine runs them."""

import deltalake
import pyarrow as pa
import pytest

from medassets.cohorts.schema import conform
from medassets.cohorts.simulate_common import simulate
from medassets.engines import spark
from medassets.engines.base import Engine, EngineError
from medassets.engines.choice import engine_of
from medassets.engines.cluster import DaftEngine
from medassets.engines.local import LocalEngine
from medassets.features.common import EvidenceSpace
from medassets.features.common_features import features
from medassets.features.scaled import COHORT_PROFILE, COHORT_PROFILE_SQL, CommonFeatures
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.settings import Settings

KNOWLEDGE = CommonKnowledge.bundled()
SPACE = EvidenceSpace.from_knowledge(KNOWLEDGE)
ENGINES = (
    "local",
    pytest.param("ray", marks=pytest.mark.integration),
)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request) -> Engine:
    return LocalEngine() if request.param == "local" else DaftEngine()


@pytest.fixture(scope="module")
def patients() -> pa.Table:
    return simulate(KNOWLEDGE, seed=5, per_condition=8, missing_rate=0.2, draw_values=True)


@pytest.fixture(scope="module")
def lake(tmp_path_factory, patients) -> str:
    place = str(tmp_path_factory.mktemp("lake") / "common_patients")
    for start in (0, 200):  # two files, so that a cluster has something to share out
        deltalake.write_deltalake(place, patients.slice(start, 200), mode="append")
    return place


def ordered(table: pa.Table, *keys: str) -> pa.Table:
    return table.sort_by([(key, "ascending") for key in keys]).combine_chunks()


def test_features_are_those_of_a_plain_call(engine, patients) -> None:
    expected = features(patients, SPACE)
    assert ordered(engine.apply(patients, CommonFeatures(SPACE)), "patient_id").equals(
        ordered(expected, "patient_id")
    )


def test_delta_goes_in_and_delta_comes_out(engine, patients, lake, tmp_path) -> None:
    target = str(tmp_path / "common_features")
    for _ in range(2):  # written again, it is replaced
        assert engine.write(lake, CommonFeatures(SPACE), target) == 392
    found = deltalake.DeltaTable(target).to_pyarrow_table().cast(CommonFeatures(SPACE).schema)
    expected = features(patients, SPACE)
    assert ordered(found, "patient_id").equals(ordered(expected, "patient_id"))


def test_a_query_gives_the_same_counts(engine, patients) -> None:
    rows = features(patients, SPACE)
    found = conform(engine.query(COHORT_PROFILE_SQL, {"features": rows}), COHORT_PROFILE)
    counted: dict[tuple, int] = {}
    for row in rows.select(["condition", "origin", "sex", "age"]).to_pylist():
        age = max((a for a in (-1, 0, 15, 30, 45, 60, 75) if a <= row["age"]), default=-1)
        key = (row["condition"], row["origin"], row["sex"], age)
        counted[key] = counted.get(key, 0) + 1
    assert {tuple(row.values())[:4]: row["patients"] for row in found.to_pylist()} == counted


def test_no_rows_give_no_rows(engine, patients) -> None:
    assert engine.apply(patients.slice(0, 0), CommonFeatures(SPACE)).num_rows == 0


def test_an_error_of_the_transformation_is_not_lost(engine, patients) -> None:
    class Failing(CommonFeatures):
        def __call__(self, rows: pa.Table) -> pa.Table:
            raise ValueError("unknown evidence E_0")

    with pytest.raises(Exception, match="unknown evidence E_0"):
        engine.apply(patients, Failing(SPACE))


def test_the_setting_chooses(tmp_path) -> None:
    assert engine_of(Settings(home=tmp_path, _env_file=None)).name == "local"


def test_a_missing_engine_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyspark.sql", None)
    with pytest.raises(EngineError, match="pip install"):
        spark.SparkEngine()
