"""Spark on this machine, in Parquet for want of Delta's jars: equal to a plain call (`make test-spark`)."""

import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.cohorts.schema import conform
from medassets.cohorts.simulate_common import simulate
from medassets.engines.local import LocalEngine
from medassets.engines.spark import SparkEngine
from medassets.features.common import EvidenceSpace
from medassets.features.common_features import features
from medassets.features.scaled import COHORT_PROFILE, COHORT_PROFILE_SQL, CommonFeatures
from medassets.knowledge.common_conditions import CommonKnowledge

pytestmark = pytest.mark.spark

KNOWLEDGE = CommonKnowledge.bundled()
SPACE = EvidenceSpace.from_knowledge(KNOWLEDGE)


@pytest.fixture(scope="module")
def patients() -> pa.Table:
    return simulate(KNOWLEDGE, seed=5, per_condition=4, missing_rate=0.2, draw_values=True)


@pytest.fixture(scope="module")
def engine():
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable  # workers with the packages that the driver has
    session = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    yield SparkEngine(session, layout="parquet")
    session.stop()


def ordered(table: pa.Table) -> pa.Table:
    return table.sort_by("patient_id").combine_chunks()


def test_the_lake_is_read_and_the_features_written(engine, patients, tmp_path) -> None:
    source, target = tmp_path / "common_patients", tmp_path / "common_features"
    source.mkdir()
    pq.write_table(patients, source / "part.parquet")
    assert engine.write(str(source), CommonFeatures(SPACE), str(target)) == patients.num_rows
    found = pq.read_table(target).cast(CommonFeatures(SPACE).schema)
    assert ordered(found).equals(ordered(features(patients, SPACE)))


def test_the_query_gives_what_polars_gives(engine, patients) -> None:
    rows = {"features": features(patients, SPACE)}
    keys = [(name, "ascending") for name in COHORT_PROFILE.primary_key]
    ours, spark = (
        conform(one.query(COHORT_PROFILE_SQL, rows), COHORT_PROFILE).sort_by(keys)
        for one in (LocalEngine(), engine)
    )
    assert spark.equals(ours)
