"""The ensemble: stored without pickle, exported without loss, promises kept."""

import numpy as np
import pytest

from medassets.learners.common.base import BASE_NAMES, TrainedBase, train_base
from medassets.learners.common.ensemble import CommonEnsemble
from medassets.learners.common.onnx_export import ExportError, check_export, measure_latency
from medassets.serving.common import CommonPredictor
from medassets_tests.learners.common import small


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bundle")
    small.ensemble().export_bundle(directory)
    return CommonPredictor.load(directory)


def test_probabilities_and_differentials_sum_to_one():
    made = small.ensemble().predict(small.rows())
    assert np.allclose(made.probabilities.sum(axis=1), 1)
    assert np.allclose(made.differential.sum(axis=1), 1)
    assert (made.shown >= made.sets).all() and made.shown.any(axis=1).all()


def test_it_learns_the_conditions_and_their_differentials():
    test = small.data().test
    made = small.ensemble().predict(test.matrix)
    assert (made.probabilities.argmax(1) == test.labels).mean() > 0.8
    named = (made.differential > 0.01) == (test.differential > 0.01)
    assert named.mean() > 0.8


def test_the_export_says_the_same(predictor):
    differences = check_export(small.ensemble(), predictor, small.rows(300, unknown=0.4))
    assert set(differences) == {*BASE_NAMES, "ensemble", "differential"}
    assert max(differences.values()) <= 1e-5


def test_an_export_of_another_ensemble_is_found_out(predictor):
    ensemble = small.ensemble()
    other = CommonEnsemble(
        {**ensemble.models, "forest": _Constant()}, ensemble.decision, ensemble.head, ensemble.space,
        ensemble.knowledge, ensemble.metadata,
    )  # fmt: skip
    with pytest.raises(ExportError, match="forest"):
        check_export(other, predictor, small.rows(20))


class _Constant:
    name = "forest"

    def log_proba(self, matrix):
        return np.full((len(matrix), 6), np.log(1 / 6))


def test_the_export_is_fast(predictor):
    latency = measure_latency(small.ensemble(), predictor, small.rows(20), repeats=20)
    assert latency.ratio > 1


def test_saved_and_loaded_it_predicts_the_same(tmp_path):
    small.ensemble().save(tmp_path / "a")
    again = CommonEnsemble.load(tmp_path / "a")
    again.save(tmp_path / "b")
    before, after = small.ensemble().predict(small.rows()), again.predict(small.rows())
    assert np.allclose(before.probabilities, after.probabilities, atol=1e-4)
    assert np.allclose(before.differential, after.differential, atol=1e-4)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert not [file for file in files if file.suffix in (".pkl", ".pickle", ".joblib")]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_the_same_input_gives_the_same_base_model(tmp_path):
    for name in BASE_NAMES:
        first, second = (train_base(name, small.data(), small.CONFIG) for _ in range(2))
        first.save(tmp_path / name / "a")
        second.save(tmp_path / name / "b")
        for file in (tmp_path / name / "a").rglob("*"):
            if file.is_file():
                twin = tmp_path / name / "b" / file.relative_to(tmp_path / name / "a")
                assert file.read_bytes() == twin.read_bytes(), file
        again = TrainedBase.load(tmp_path / name / "a")
        assert np.allclose(again.log_proba(small.rows()), first.log_proba(small.rows()), atol=1e-4)
        assert again.metadata == first.metadata


def test_out_of_fold_predictions_are_not_those_of_the_final_model():
    base = train_base("forest", small.data(), small.CONFIG)
    labels = small.data().train.labels
    own = base.log_proba(small.data().train.matrix)[np.arange(len(labels)), labels].mean()
    assert base.clean[np.arange(len(labels)), labels].mean() < own


def test_without_references_the_differential_is_the_softened_posterior():
    data = small.data()
    bare = [p.with_matrix(p.matrix) for p in (data.train, data.validation)]
    for part in bare:
        object.__setattr__(part, "differential", np.full_like(part.differential, np.nan))
    from dataclasses import replace

    bases = {"naive_bayes": train_base("naive_bayes", data, small.CONFIG)}
    fitted = CommonEnsemble.fit(bases, replace(data, train=bare[0], validation=bare[1]), small.CONFIG)
    assert fitted.head is None
    assert fitted.metadata["training"]["differential"] == "softened posterior"
    made = fitted.predict(small.rows())
    assert np.array_equal(made.differential.argmax(1), made.probabilities.argmax(1))


def test_bases_of_other_rows_are_refused():
    base = train_base("naive_bayes", small.data(), small.CONFIG)
    short = TrainedBase(base.name, base.model, base.clean[:-1], base.probe[:-1], base.metadata)
    with pytest.raises(ValueError, match="trained on"):
        CommonEnsemble.fit({"naive_bayes": short}, small.data(), small.CONFIG)
    with pytest.raises(ValueError, match="naive_bayes"):
        CommonEnsemble.fit({}, small.data(), small.CONFIG)


def test_an_unknown_base_model_is_named():
    with pytest.raises(ValueError, match="oracle"):
        train_base("oracle", small.data(), small.CONFIG)


def test_validation_records_join_naive_bayes_in_the_end():
    base = train_base("naive_bayes", small.data(), small.CONFIG).model
    final = small.ensemble().models["naive_bayes"]
    extra = final.metadata["params"]["records"] - base.metadata["params"]["records"]
    assert extra == len(small.data().validation)
