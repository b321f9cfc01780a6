"""Drift: what moved is named, noise is not, and hundreds of tests do not make alarms."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.monitoring import drift
from medassets.monitoring.samples import Sample, most_frequent

FEATURES = 120


def sample(n: int, seed: int, *, shares=0.2, unknown=0.05, site="a", probability=0.6, first="AB") -> Sample:
    rng = np.random.default_rng(seed)
    values = (rng.random((n, FEATURES)) < shares).astype(np.float32)
    values[rng.random(values.shape) < unknown] = np.nan
    names = tuple(f"E_{i}" for i in range(FEATURES))
    groups = {
        "sex": rng.choice(np.array(["F", "M"], object), n),
        "age": rng.choice(np.array(["0-4", "15-29"], object), n),
        "site": np.full(n, site, object),
    }
    spread = np.clip(rng.normal(probability, 0.1, n), 0, 1)
    return Sample(
        names, tuple(f"label {n}" for n in names), values, rng.uniform(1, 80, n), groups,
        rng.choice(np.array(list(first), object), n), spread,
    )  # fmt: skip


def shifted(feature: int, share: float) -> np.ndarray:
    shares = np.full(FEATURES, 0.2)
    shares[feature] = share
    return shares


def drifted(found) -> list[drift.Comparison]:
    return [item for item in found if item.drifted(drift.DriftLimits())]


def test_two_windows_of_the_same_patients_raise_no_alarm():
    for seed in range(8):
        assert not drifted(drift.compare(sample(2000, 100 + seed), sample(200, seed)))


def test_a_symptom_that_moved_is_named_with_its_words():
    found = drift.compare(sample(2000, 1), sample(300, 2, shares=shifted(7, 0.6)))
    table = drift.report("2026-03-02", "b", {"common": found})
    alert = drift.alert(table)
    assert not alert.passed and "input E_7 (label E_7) 0." in alert.message
    assert {row["feature"] for row in table.to_pylist() if row["drifted"]} == {"E_7"}
    assert drift.drifted_names(table) == ["common input E_7 (label E_7)"]


def test_a_group_that_moved_is_named_although_the_whole_hardly_did():
    rng = np.random.default_rng(0)
    current = sample(1200, 3)
    women = current.groups["sex"] == "F"
    young = women & (current.groups["age"] == "0-4")
    current.values[young, 5] = rng.random(young.sum()) < 0.55
    groups = {item.group for item in drifted(drift.compare(sample(2000, 1), current))}
    assert "sex=F" in groups and "sex=M" not in groups


def test_missing_answers_outliers_predictions_and_confidence_are_seen():
    reference = sample(2000, 1)
    current = sample(300, 2, unknown=0.4, probability=0.3, first="ABBB")
    current.age[:60] = 130.0
    kinds = {item.kind for item in drifted(drift.compare(reference, current))}
    assert {"missing", "outlier", "prediction", "confidence"} <= kinds


def test_answers_are_compared_with_earlier_ones_where_the_reference_has_none():
    silent = sample(2000, 1)
    silent.first[:] = None
    current = sample(300, 2, probability=0.2)
    assert "confidence" not in {c.kind for c in drift.compare(silent, current)}
    found = drifted(drift.compare(silent, current, baseline=sample(300, 4)))
    assert [item.feature for item in found] == ["probability"]


def test_a_window_that_is_too_small_says_so():
    assert drift.compare(sample(2000, 1), sample(49, 2)) == []
    alert = drift.alert(drift.report("2026-03-02", "b", {"common": []}))
    assert alert.passed and "too few" in alert.message


@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40))
def test_the_test_of_two_shares_is_symmetric_and_a_probability(a, n, b, m):
    a, b = min(a, n), min(b, m)
    p = drift.two_shares(a, n, b, m)
    assert 0 <= p <= 1 and p == pytest.approx(drift.two_shares(b, m, a, n), abs=1e-9)
    assert drift.two_shares(a, n, a, n) > 0.5


def test_evidently_writes_the_latest_page_and_the_result_of_every_day(tmp_path):
    from medassets.monitoring.drift_pages import write_pages

    reference, current = sample(400, 1), sample(150, 2, shares=shifted(7, 0.7))
    chosen = most_frequent(reference, current, 6)
    reference, current = reference.columns(chosen), current.columns(chosen)
    for day in ("2026-03-02", "2026-03-03"):
        made = write_pages(reference, current, "common", day, tmp_path)
    assert [p.name for p in sorted((tmp_path / "common").iterdir())] == ["2026-03-02.json", "2026-03-03.json"]
    assert [p.name for p in tmp_path.glob("*.html")] == ["common.html"]
    assert any("E_7" in name for name in made.summary["drifted"])
    kinds = {m["metric_name"].split("(")[0] for m in json.loads(made.json.read_text())["metrics"]}
    assert {"ValueDrift", "MissingValueCount", "OutRangeValueCount"} <= kinds
