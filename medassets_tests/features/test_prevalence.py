"""The prior of prevalence: which statement counts, and what it does to a ranking."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.features.prevalence import load_prior, log_prior, prevalence_table, with_prior, write_prior
from medassets.features.rare_evidence import CandidateList
from medassets.features.rare_model import Ranking

CANDIDATES = ["OMIM:1", "OMIM:2", "OMIM:3"]
COLUMNS = {"ORPHA:1": 0, "OMIM:1": 0, "ORPHA:2": 1, "ORPHA:22": 1}


def statement(orpha_id="ORPHA:1", mean=None, low=10.0, high=1000.0, kind="Point prevalence",
              place="Worldwide", valid=True) -> dict:  # fmt: skip
    return {"orpha_id": orpha_id, "type": kind, "geography": place, "validated": valid,
            "per_million": mean, "low": low, "high": high}  # fmt: skip


def table(*statements: dict) -> pa.Table:
    return prevalence_table(pa.Table.from_pylist(list(statements)), COLUMNS, CANDIDATES)


@pytest.mark.parametrize(
    "statements, expected",
    [
        ([statement()], 100.0),
        ([statement(mean=40.0)], 40.0),
        ([statement(mean=4.0), statement(mean=16.0)], 8.0),
        ([statement(mean=4.0, valid=False), statement(mean=16.0, place="Japan")], 16.0),
        ([statement(mean=4.0, place="Japan"), statement(mean=16.0, place="Europe")], 16.0),
        ([statement(mean=4.0, kind="Prevalence at birth"), statement(mean=16.0, place="Japan")], 16.0),
        ([statement(mean=4.0), statement(mean=16.0, kind="Annual incidence")], 4.0),
        ([statement(mean=0.0)], 100.0),
    ],
)
def test_the_best_statements_count(statements, expected):
    (row,) = table(*statements).to_pylist()
    assert row["disease_id"] == "OMIM:1" and row["per_million"] == pytest.approx(expected)


def test_statements_that_say_nothing_or_of_no_candidate_are_left_out():
    nothing = statement(low=None, high=None)
    assert table(nothing, statement("ORPHA:9"), statement(kind="Cases/families")).num_rows == 0


def test_candidates_without_a_figure_stand_in_the_middle():
    prior = log_prior(table(statement(mean=1.0), statement("ORPHA:22", mean=100.0)), CANDIDATES, 0.5)
    assert prior == pytest.approx([-0.5 * np.log(10), 0.5 * np.log(10), 0.0])
    assert not log_prior(table(statement()), ["OMIM:7"], 1.0).any()


def test_the_prior_lies_beside_a_ranker(tmp_path):
    assert load_prior(tmp_path, CANDIDATES) is None
    write_prior(table(statement(mean=1.0), statement("ORPHA:2", mean=100.0)), 1.0, tmp_path)
    assert load_prior(tmp_path, CANDIDATES) == pytest.approx([-np.log(10), np.log(10), 0.0])


def ranking(probabilities: list[float]) -> Ranking:
    k = len(probabilities)
    order = np.arange(k)[::-1].copy()
    listed = CandidateList(order, np.arange(k, dtype=float)[:, None], np.zeros(k))
    found = np.array(probabilities)
    return Ranking(order, np.log(found), found, 1 - found.sum(), listed)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.floats(0.1, 0.9), st.data())
def test_odds_change_by_the_ratio_of_priors(weights, known, data):
    found = np.sort(np.array(weights))[::-1]
    found = found / found.sum() * known
    prior = np.array(data.draw(st.lists(st.floats(-3, 3), min_size=len(found), max_size=len(found))))
    before = ranking(list(found))
    after = with_prior(before, prior)
    assert after.unknown == before.unknown
    assert after.probabilities.sum() == pytest.approx(known)
    assert (np.diff(after.scores) <= 1e-12).all()
    was = dict(zip(before.candidates, before.probabilities, strict=True))
    now = dict(zip(after.candidates, after.probabilities, strict=True))
    for one, other in pairwise(before.candidates):
        ratio = (now[one] / now[other]) / (was[one] / was[other])
        assert ratio == pytest.approx(np.exp(prior[one] - prior[other]), rel=1e-6)
