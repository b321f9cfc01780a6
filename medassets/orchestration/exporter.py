"""What Prometheus reads of the graph: how old assets are, which checks fail, how runs end, what drifted.

What belongs here: the state of the Dagster instance and of monitoring's tables as metrics. What does not: the
service's own metrics (``serving.measures``) and the alerts on both (``deployment/prometheus``).

Everything is read at the moment of the scrape, so the exporter keeps no state and may run beside any daemon.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from prometheus_client.core import GaugeMetricFamily

from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.monitoring import newest_day, table_or_empty

#: Runs of so many hours are counted.
HOURS = 24


class DagsterCollector:
    """A Prometheus collector over one instance.

    Args:
        instance: runs and events.
        graph: assets, with their freshness policies.
        lake: tables of monitoring.
    """

    def __init__(self, instance: dg.DagsterInstance, graph: AssetGraph, lake: DeltaIOManager) -> None:
        self._instance, self._graph, self._lake = instance, graph, lake

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read everything."""
        yield from self._ages()
        yield self._checks()
        yield self._runs()
        yield from self._monitoring()

    def _ages(self) -> Iterator[GaugeMetricFamily]:
        age = GaugeMetricFamily(
            "medassets_asset_age_seconds", "Time since an asset was made", labels=["asset", "layer"]
        )
        limit = GaugeMetricFamily(
            "medassets_asset_age_limit_seconds", "Age at which an asset is too old", labels=["asset", "layer"]
        )
        keys = sorted(self._graph.executable_asset_keys)
        for record in self._instance.get_asset_records(keys):
            last = record.asset_entry.last_materialization_record
            if last is None:
                continue
            key = record.asset_entry.asset_key
            labels = [key.to_user_string(), key.path[0]]
            age.add_metric(labels, max(0.0, time.time() - last.timestamp))
            window = getattr(self._graph.get(key).freshness_policy, "fail_window", None)
            if window is not None:
                limit.add_metric(labels, window.to_timedelta().total_seconds())
        yield age
        yield limit

    def _checks(self) -> GaugeMetricFamily:
        found = GaugeMetricFamily(
            "medassets_check_passed", "1 where a check passed when it ran last", labels=["asset", "check"]
        )
        keys = sorted(self._graph.asset_check_keys)
        latest = self._instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)
        for key, record in sorted(latest.items()):
            event = record.event.dagster_event if record.event else None
            if event is not None and event.event_specific_data is not None:
                passed = event.asset_check_evaluation_data.passed
                found.add_metric([key.asset_key.to_user_string(), key.name], float(passed))
        return found

    def _runs(self) -> GaugeMetricFamily:
        found = GaugeMetricFamily(
            "medassets_runs", f"Runs of the last {HOURS} hours by job and status", labels=["job", "status"]
        )
        since = datetime.now(UTC) - timedelta(hours=HOURS)
        records = self._instance.get_run_records(dg.RunsFilter(created_after=since))
        counted = Counter((r.dagster_run.job_name, r.dagster_run.status.value) for r in records)
        for labels, number in sorted(counted.items()):
            found.add_metric(list(labels), number)
        return found

    def _monitoring(self) -> Iterator[GaugeMetricFamily]:
        drifted = GaugeMetricFamily(
            "medassets_drifted_features", "Comparisons that drifted in the newest report", labels=["part"]
        )
        rows: list[dict[str, Any]] = newest_day(self._lake, "monitoring/drift_report").to_pylist()
        for part in sorted({row["part"] for row in rows}):
            drifted.add_metric([part], sum(row["drifted"] for row in rows if row["part"] == part))
        yield drifted
        accuracy = GaugeMetricFamily(
            "medassets_accuracy", "Share of right first candidates by verdicts", labels=["part", "bound"]
        )
        for row in table_or_empty(self._lake, "monitoring/performance_report").to_pylist():
            whole = (row["week"], row["group"], row["metric"]) == ("all", "all", "accuracy")
            if whole and row["value"] is not None:
                for bound in ("value", "low", "high"):
                    accuracy.add_metric([row["part"], bound], row[bound])
        yield accuracy


def exposition(instance: dg.DagsterInstance, graph: AssetGraph, lake: DeltaIOManager) -> bytes:
    """The metrics as text, for a file that node_exporter's textfile collector reads."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(DagsterCollector(instance, graph, lake))
    return generate_latest(registry)
