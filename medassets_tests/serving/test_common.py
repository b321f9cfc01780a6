"""The exported ensemble answers people: honest when little is known, precise when the input is wrong."""

import subprocess
import sys

import numpy as np
import pytest

from medassets.features.common import EvidenceError
from medassets.serving.common import CommonPredictor
from medassets_tests.learners.common import small


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("common")
    small.ensemble().export_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def predictor(directory):
    return CommonPredictor.load(directory)


def test_an_answer_has_reasons_and_a_set(predictor):
    made = predictor.answer(["E_91", "E_144", "E_201"], [], None, 30, "F", 3)
    assert made["candidates"][0]["condition"] == "Influenza"
    assert made["candidates"][0]["icd10"] == "J11" or made["candidates"][0]["icd10"].startswith("J")
    assert len(made["candidates"]) == 3
    assert made["candidates"][0]["condition"] in made["conformal_set"]
    reasons = {reason["evidence"]: reason for reason in made["candidates"][0]["explanation"]}
    assert reasons["E_144"]["direction"] == "for" and reasons["E_144"]["state"] == "present"
    assert made["coverage"] == 0.95 and not made["abstain"]


def test_all_unknown_is_an_honest_wide_answer(predictor):
    made = predictor.answer([], [], [], None, None, 6)
    assert made["abstain"] and made["confidence"] == "low" and "no finding" in made["reason"]
    assert max(c["probability"] for c in made["candidates"]) < 0.9
    assert "age is not known" in made["notes"]


def test_an_age_outside_training_is_said(predictor):
    low, high = predictor.metadata["training"]["age_range"]
    made = predictor.answer(["E_91"], [], None, high + 1, "M", 1)
    assert any("outside the training range" in note for note in made["notes"])
    assert not predictor.answer(["E_91"], [], None, low, "M", 1)["notes"]


@pytest.mark.parametrize(
    ("evidence", "unknown", "absent", "age", "word"),
    [
        (["E_9999"], [], None, 30, "unknown evidence"),
        (["E_54_@_V_99999"], [], None, 30, "no value"),
        (["E_91"], [], ["E_91"], 30, "both present and absent"),
        (["E_91"], ["E_91"], None, 30, "both unknown and present"),
        (["E_91"], [], None, 200, "impossible age"),
    ],
)
def test_wrong_input_is_named(predictor, evidence, unknown, absent, age, word):
    with pytest.raises(EvidenceError, match=word):
        predictor.answer(evidence, unknown, absent, age, "F", 3)


def test_tables_and_matrices_agree(predictor):
    table = small.records(5, seed=21)
    made = predictor.predict(table)
    matrix = predictor.predict_matrix(predictor.space.encode_table(table))
    assert np.array_equal(made["probabilities"], matrix.probabilities)
    assert np.array_equal(made["sets"], matrix.sets)
    assert np.array_equal(made["shown_sets"], matrix.shown)


def test_long_batches_are_cut(predictor, monkeypatch):
    rows = small.rows(25)
    whole = predictor.predict_matrix(rows)
    monkeypatch.setattr("medassets.serving.common._BATCH", 10)
    cut = predictor.predict_matrix(rows)
    assert np.allclose(whole.probabilities, cut.probabilities)
    assert np.allclose(whole.models["network"], cut.models["network"], atol=1e-6)


def test_a_matrix_of_another_space_is_refused(predictor):
    with pytest.raises(ValueError, match="columns"):
        predictor.predict_matrix(np.zeros((1, 3), dtype=np.int8))


def test_a_missing_file_is_named(directory, tmp_path):
    (tmp_path / "common.json").write_bytes((directory / "common.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"space\.json"):
        CommonPredictor.load(tmp_path)


def test_serving_loads_no_training_library(directory):
    script = (
        "import sys; from pathlib import Path; from medassets.serving.common import CommonPredictor;"
        f"CommonPredictor.load(Path({str(directory)!r})).answer(['E_91'], [], None, 30, 'F', 3);"
        "heavy = {'torch', 'sklearn', 'xgboost', 'mlflow', 'pandas', 'dagster'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
