"""Rows, folds and corruption."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.cohorts.simulate_common import simulate
from medassets.features.common import ABSENT, PRESENT, UNKNOWN
from medassets.learners.common.base import fit_model
from medassets.learners.common.patients import CommonPatients, corrupt, unknown_share
from medassets.learners.common.training import (
    FEWEST,
    as_they_come,
    fitting_rows,
    prepare,
    stratified_folds,
    subsample,
)
from medassets_tests.learners.common import small


@settings(max_examples=15)
@given(unknown=st.floats(0, 0.9), wrong=st.floats(0, 0.4), seed=st.integers(0, 2**16))
def test_corrupted_details_agree_with_their_questions(unknown, wrong, seed):
    space = small.data().space
    matrix = small.data().train.matrix[:40]
    made = corrupt(space, matrix, np.random.default_rng(seed), unknown=unknown, wrong=wrong)
    for column, parent in enumerate(space.parents):
        if parent >= 0:
            closed = made[:, parent] != PRESENT
            assert np.array_equal(made[closed, column], made[closed, parent])
        detail = space.details[column]
        if detail.stop > detail.start:
            for state in (ABSENT, UNKNOWN):
                assert (made[made[:, column] == state, detail] == state).all()
    assert np.array_equal(made[:, space.age], matrix[:, space.age])


def test_nothing_to_corrupt_changes_nothing():
    matrix = small.data().train.matrix
    assert np.array_equal(corrupt(small.data().space, matrix, np.random.default_rng(0)), matrix)


def test_the_share_of_hidden_answers_is_as_asked():
    space = small.data().space
    made = corrupt(space, np.zeros((400, space.n_features), np.int8), np.random.default_rng(0), unknown=0.3)
    assert unknown_share(space, made).mean() == pytest.approx(0.3, abs=0.02)


def test_folds_spread_every_condition():
    labels = np.repeat([0, 1, 2], [50, 7, 1])
    folds = stratified_folds(labels, 5, seed=1)
    assert np.ptp(np.bincount(folds[labels == 0], minlength=5)) == 0
    assert np.ptp(np.bincount(folds[labels == 1], minlength=5)) <= 1
    assert np.array_equal(folds, stratified_folds(labels, 5, seed=1))


def test_simulated_extras_join_training_only():
    data = small.data()
    assert set(data.train.origin) == {"ddxplus"}
    assert set(data.validation.origin) | set(data.test.origin) == {"ddxplus"}
    rows = fitting_rows(data, np.arange(20), small.CONFIG)
    assert set(rows.origin) == {"ddxplus", "simulated"}
    assert data.origins == ["ddxplus", "simulated"]


@pytest.mark.parametrize(("mix", "origins"), [("records", {"ddxplus"}), ("simulated", {"simulated"})])
def test_the_mix_is_a_setting(mix, origins):
    config = small.CONFIG.model_copy(update={"mix": mix})
    table = small.records()
    extra = pa.table(
        table.set_column(
            table.column_names.index("origin"), "origin", pa.array(["simulated"] * table.num_rows)
        )
    )
    data = prepare(table, small.split_of(table), small.knowledge(), config, extra)
    assert set(fitting_rows(data, np.arange(len(data.train)), config).origin) == origins


def test_simulated_mix_without_simulated_patients_is_refused():
    table = small.records()
    config = small.CONFIG.model_copy(update={"mix": "simulated"})
    with pytest.raises(ValueError, match="no simulated patients"):
        prepare(table, small.split_of(table), small.knowledge(), config)


def test_a_patient_without_a_part_is_named():
    table = small.records()
    split = small.split_of(table).slice(1)
    with pytest.raises(ValueError, match=table.column("patient_id")[0].as_py()):
        prepare(table, split, small.knowledge(), small.CONFIG)


def test_an_unknown_condition_is_named():
    table = small.records().slice(0, 1)
    strange = table.set_column(table.column_names.index("condition"), "condition", pa.array(["Scurvy"]))
    with pytest.raises(ValueError, match="Scurvy"):
        CommonPatients.from_table(strange, small.data().space, small.knowledge())


def test_subsample_keeps_folds_with_rows():
    less = subsample(small.data(), 5, seed=2)
    assert np.bincount(less.train.labels).max() == 5
    where = {patient: fold for patient, fold in zip(small.data().train.ids, small.data().folds, strict=True)}
    assert [where[patient] for patient in less.train.ids] == less.folds.tolist()


def test_simulated_patients_are_thinned_to_how_often_they_come():
    knowledge = small.knowledge()
    table = simulate(knowledge, seed=2, per_condition=300)
    patients = CommonPatients.from_table(table, small.data().space, knowledge)
    rows = as_they_come(patients, np.arange(len(patients)), knowledge, None, seed=1)
    counts = np.bincount(patients.labels[rows], minlength=6)
    assert counts.max() == 300
    frequent = counts > FEWEST
    share = knowledge.prior / knowledge.prior.max() * 300
    assert np.abs(counts - share)[frequent].max() <= 1
    assert counts.min() >= FEWEST


def test_without_records_simulated_patients_take_their_place():
    knowledge = small.knowledge()
    table = simulate(knowledge, seed=2, per_condition=100)
    data = prepare(table, small.split_of(table), knowledge, small.CONFIG)
    assert data.origins == ["simulated"] and data.extra is None
    assert np.bincount(data.train.labels).min() >= FEWEST
    assert len(data.test) == 60


def test_models_of_simulated_patients_read_no_values():
    """Simulated patients are named bare: a model must not meet columns that its training never filled."""
    config = small.CONFIG.model_copy(update={"mix": "simulated"})
    rows = np.arange(len(small.data().train))
    bare = fit_model("forest", small.data(), rows, config).inputs.columns
    full = fit_model("forest", small.data(), rows, small.CONFIG).inputs.columns
    values = small.data().space.values
    assert not ((bare >= values.start) & (bare < values.stop)).any()
    assert ((full >= values.start) & (full < values.stop)).any()
