"""Pipelines that travel with a model, and the comparison of SMOTE and ADASYN with class weights."""

import numpy as np

from medassets.features.common import UNKNOWN
from medassets.learners.common.preprocessing import (
    RelevanceSelector,
    UnknownImputer,
    _resample,
    compare_imbalance,
    evidence_pipeline,
)
from medassets_tests.learners.common import small


def test_every_question_is_kept_and_rare_values_are_not():
    space = small.data().space
    inputs = RelevanceSelector(space, min_support=5).fit(small.data().train.matrix).inputs_
    assert set(range(space.base.stop)) <= set(inputs.columns.tolist())
    values = [c for c in inputs.columns if space.values.start <= c < space.values.stop]
    counts = (small.data().train.matrix[:, values] == 1).sum(axis=0)
    assert 0 < len(values) < space.values.stop - space.values.start
    assert counts.min() >= 5


def test_imputation_keeps_unknown_apart_from_absent():
    X = np.array([[1, 0], [0, 1], [UNKNOWN, 1]], dtype=np.float32)
    made = UnknownImputer().fit_transform(X)
    assert made.shape == (3, 3)
    assert made[2].tolist() == [0.5, 1.0, 1.0]
    assert made[1].tolist() == [0.0, 1.0, 0.0]


def test_a_pipeline_goes_from_tables_to_inputs():
    from sklearn.base import clone

    pipeline = evidence_pipeline(small.data().space, unknown="impute")
    table = small.records(10)
    made = clone(pipeline).fit_transform(table)
    assert made.dtype == np.float32 and len(made) == table.num_rows and np.isfinite(made).all()


def test_imbalance_methods_are_compared_on_the_same_rows():
    rows = compare_imbalance(small.data(), small.CONFIG).to_pylist()
    assert [row["method"] for row in rows] == ["none", "class_weights", "smote", "adasyn"]
    assert len({row["n_validation"] for row in rows}) == 1
    for row in rows:
        assert row["note"] or 0.5 < row["top1"] <= 1
        assert row["origin"] == "ddxplus"


def test_adasyn_leaves_conditions_without_foreign_neighbours_alone():
    """Three clusters far apart: nobody has a neighbour of another condition."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [20, 10, 8])
    X = rng.normal(size=(len(y), 4)) + 100 * y[:, None]
    (grown, labels), note = _resample("adasyn", X, y, seed=0)
    assert len(grown) == len(labels) == len(y)
    assert note.startswith("2 conditions")
    near = rng.normal(size=(len(y), 4))
    (grown, labels), note = _resample("adasyn", near, y, seed=0)
    assert (np.bincount(labels)[1:] > [10, 8]).all() and not note
