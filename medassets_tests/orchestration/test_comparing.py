"""Comparisons of the graph: rows of figures with n and origin, on an ensemble that trains in seconds."""

import pyarrow as pa
import pytest

from medassets.learners.common.onnx_export import TOLERANCE
from medassets.orchestration.comparing import export_rows, imbalance_rows, mix_table
from medassets.orchestration.training import CommonData, thinned
from medassets.settings import Settings
from medassets_tests.learners.common import small


@pytest.fixture(scope="module")
def data() -> CommonData:
    patients = small.records()
    test = small.records(8, seed=31)
    return CommonData(small.data(), patients, test, small.knowledge(), "ddxplus")


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), threads=1, profile="quick")


def test_the_export_is_near_its_model_and_timed_beside_it(data, settings):
    rows = {(row["model"], row["metric"]): row for row in export_rows(small.ensemble(), data, settings)}
    assert 0 <= rows["ensemble", "largest_difference"]["value"] <= TOLERANCE
    onnx, python = (rows[name, "median_ms"]["value"] for name in ("onnx", "python"))
    assert rows["onnx", "times_faster"]["value"] == pytest.approx(python / onnx)
    assert {row["origin"] for row in rows.values()} == {"ddxplus"}


def test_every_treatment_of_imbalance_has_its_figures(data, settings):
    rows, notes = imbalance_rows(data, settings)
    assert {row["model"] for row in rows} == {"none", "class_weights", "smote", "adasyn"}
    assert all(row["n"] == len(data.training.validation) for row in rows)
    without = {row["model"] for row in rows if row["value"] is None}
    assert all(any(note.startswith(name) for note in notes) for name in without)


def test_without_records_there_is_but_one_mix(data, settings):
    from medassets.cohorts.simulate_common import simulate

    simulated = simulate(small.knowledge(), seed=9, per_condition=30, missing_rate=0.05)
    inputs = {
        "common_patients": simulated.slice(0, 0),
        "simulated_common_patients": simulated,
        "common_split": small.split_of(simulated),
    }
    alone = CommonData(small.data(), simulated, data.test, small.knowledge(), "ddxplus")
    table = mix_table(inputs, alone, settings)
    assert {name.partition("/")[0] for name in table.column("model").to_pylist()} == {"mix=simulated"}


def test_a_thinned_table_spans_the_whole():
    table = pa.table({"row": range(10)})
    assert thinned(table, 3).column("row").to_pylist() == [0, 3, 6]
    assert thinned(table, 10) is table
