"""The graph's state as Prometheus reads it."""

from datetime import timedelta

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from medassets.monitoring import drift
from medassets.orchestration.exporter import exposition
from medassets.orchestration.io_managers import DeltaIOManager


@pytest.fixture
def exported(tmp_path, instance):
    lake = DeltaIOManager(lake_dir=str(tmp_path / "lake"))

    @dg.asset(
        key=["clinical", "made"],
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=72)),
    )
    def made() -> None: ...

    @dg.asset(key=["clinical", "never"])
    def never() -> None: ...

    @dg.asset(key=["clinical", "broken"])
    def broken() -> None:
        raise RuntimeError("told to fail")

    @dg.asset_check(asset=made)
    def sound() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    defs = dg.Definitions(assets=[made, never, broken], asset_checks=[sound])
    job = defs.resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, asset_selection=[made.key], raise_on_error=False)
    job.execute_in_process(instance=instance, asset_selection=[broken.key], raise_on_error=False)
    moved = drift.Comparison("input", "all", "E_1", "cough", 0.1, 0.6, 1e-9, 900, 90, True, 1e-7)
    table = drift.report("2026-03-02", "b", {"common": [moved]})
    lake.table("monitoring/drift_report").write(table)
    text = exposition(instance, defs.resolve_asset_graph(), lake).decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_ages_checks_runs_and_drift_are_exported(exported):
    age = exported["medassets_asset_age_seconds", "clinical", "clinical/made"]
    assert 0 <= age < 60
    assert exported["medassets_asset_age_limit_seconds", "clinical", "clinical/made"] == 72 * 3600
    assert ("medassets_asset_age_seconds", "clinical", "clinical/never") not in exported
    assert exported["medassets_check_passed", "clinical/made", "sound"] == 0
    assert exported["medassets_drifted_features", "common"] == 1
    failed = [value for key, value in exported.items() if key[0] == "medassets_runs" and "FAILURE" in key]
    assert failed == [1]
