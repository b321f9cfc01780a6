"""Figures by week with late labels; latency from a service's metrics."""

from datetime import timedelta

import pyarrow as pa
import pytest

from medassets.monitoring.latency import LatencyError, from_text, quantile, read_latency
from medassets.monitoring.log import log_of_day
from medassets.monitoring.performance import judged, performance
from medassets.monitoring.plots import weekly_plots
from medassets.monitoring.tables import CLINICIAN_FEEDBACK
from medassets.serving.measures import Measures
from medassets_tests.monitoring.made import START, record, store_of, verdict

SEVERITY = {"Bronchitis": 4, "GERD": 4, "Anemia": 1}


@pytest.fixture
def log(tmp_path):
    store = store_of(
        tmp_path, [record(n, days) for n, days in ((1, 0), (2, 0.1), (3, 0.2), (4, 7.1), (5, 7.2))]
    )
    yield pa.concat_tables(log_of_day(store, START.date() + timedelta(days=d)) for d in (0, 7))
    store.close()


def figures(log, *rows):
    feedback = pa.Table.from_pylist(list(rows), schema=CLINICIAN_FEEDBACK.schema)
    table = performance(log, feedback, SEVERITY)
    return {(r["week"], r["part"], r["group"], r["metric"]): r for r in table.to_pylist()}, table


def test_without_labels_only_usage_is_known(log):
    found, table = figures(log)
    first = found["2026-03-02", "common", "all", "accuracy"]
    assert first["value"] is None and first["n"] == 0
    assert found["2026-03-02", "common", "all", "predictions"]["value"] == 3
    assert found["2026-03-09", "rare", "all", "predictions"]["value"] == 2
    assert "common_accuracy" not in weekly_plots(table) and "common_abstained" in weekly_plots(table)


def test_labels_fill_the_week_of_the_answer_however_late_they_come(log):
    rows = [
        verdict(1, "confirmed", "Bronchitis", days=20),
        verdict(2, "confirmed", "GERD", days=1),
        verdict(3, "rejected", "Bronchitis", days=2),
        verdict(4, "confirmed", "Anemia", days=9, predicted=7.1, rank=None),
        verdict(5, "rejected", "GERD", days=9, predicted=7.2),
    ]
    found, table = figures(log, *rows)
    week = found["2026-03-02", "common", "all", "accuracy"]
    assert (week["value"], week["n"]) == (pytest.approx(1 / 3), 3) and week["low"] < 1 / 3 < week["high"]
    assert (
        found["2026-03-09", "common", "all", "accuracy"]["n"] == 1
    )  # a rejected second candidate tells nothing
    assert found["2026-03-09", "common", "all", "critical_miss_rate"]["value"] == 1.0
    gap = found["all", "common", "all", "calibration_gap"]
    assert gap["value"] == pytest.approx(1 / 4 - 0.8) and gap["high"] < 0
    assert found["2026-03-02", "common", "all", "delay_days"]["value"] == 2
    assert found["all", "common", "site=clinic", "accuracy"]["n"] == 4
    assert weekly_plots(table)["common_accuracy"].startswith("![common: accuracy by week](data:image/png")


def test_a_verdict_says_right_wrong_or_nothing():
    assert judged(verdict(1, "confirmed", "Bronchitis")) is True
    assert judged(verdict(1, "confirmed", "GERD")) is False
    assert judged(verdict(1, "rejected", "Bronchitis")) is False
    assert judged(verdict(1, "rejected", "GERD")) is None
    assert judged(verdict(1, "card accepted", "Bronchitis")) is None


def test_latency_is_read_from_the_services_own_metrics():
    measures = Measures()
    for seconds in [0.003] * 90 + [0.03] * 9 + [0.3]:
        measures.seen("/v1/diagnose", 200, seconds)
    measures.seen("/v1/diagnose", 503, 0.3)
    measures.seen("/metrics", 500, 5.0)  # no answer
    found = {row["metric"]: row for row in from_text(measures.text().decode()).figures()}
    assert found["error_rate"]["value"] == pytest.approx(1 / 101) and found["error_rate"]["n"] == 101
    assert 0.002 < found["latency_p50"]["value"] <= 0.005
    assert 0.02 < found["latency_p95"]["value"] <= 0.04
    assert from_text(Measures().text().decode()).figures() == []


def test_quantiles_are_interpolated_within_a_bucket():
    buckets = {1.0: 50.0, 2.0: 100.0, float("inf"): 100.0}
    assert quantile(buckets, 0.25) == 0.5 and quantile(buckets, 0.75) == 1.5
    assert quantile({1.0: 0.0, float("inf"): 10.0}, 0.5) == 1.0
    assert quantile({}, 0.5) is None


def test_a_service_that_does_not_answer_is_named():
    assert read_latency(None, None) is None
    with pytest.raises(LatencyError, match=r"http://127\.0\.0\.1:9"):
        read_latency("http://127.0.0.1:9", None)
