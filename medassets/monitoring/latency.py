"""Latency and errors of the running service, read from its Prometheus metrics.

What belongs here: quantiles from histogram buckets, from the service's own text or from a Prometheus
server. What does not: collecting them (``serving.measures``) and alerting (``deployment/prometheus``).

Quantiles are interpolated within a bucket as Prometheus's ``histogram_quantile`` does it. The service's own
text counts since its start; a Prometheus server is asked for the last week. Formats: Prometheus text
exposition 0.0.4 and its HTTP API v1.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

METRIC = "medassets_request_seconds"
#: Routes that answer; the others (metrics, health) would hide them.
ANSWERS = ("/diagnose", "/v1/diagnose", "/v1/diagnose/phenopacket", "/v1/diagnose/fhir", "/v1/next-questions")
QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
WINDOW = "7d"
SECONDS = 5.0


class LatencyError(Exception):
    """The metrics cannot be read; the message names the address and why."""


@dataclass(frozen=True)
class Latency:
    """How fast the service answered.

    Attributes:
        at: instant of the reading.
        buckets: upper bound in seconds to cumulated requests.
        errors: answers with a status of 500 or above.
        requests: all answers.
    """

    at: datetime
    buckets: Mapping[float, float]
    errors: float
    requests: float

    def figures(self) -> list[dict[str, Any]]:
        """Rows of figures: quantiles in seconds and the share of errors; none without requests."""
        n = int(self.requests)
        if not n:
            return []
        rows = [{"metric": name, "value": quantile(self.buckets, q), "n": n} for name, q in QUANTILES.items()]
        return [*rows, {"metric": "error_rate", "value": self.errors / self.requests, "n": n}]


def quantile(buckets: Mapping[float, float], q: float) -> float | None:
    """The quantile of a histogram, or None where it holds nothing.

    Args:
        buckets: upper bound (``inf`` the last) to cumulated count.
        q: 0 to 1.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0
    if not total:
        return None
    wanted, below, low = q * total, 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted:
            # Above the last bound nothing is known but that it is above.
            return low if math.isinf(bound) else low + (bound - low) * (wanted - below) / (count - below or 1)
        below, low = count, bound
    return low


def from_text(text: str, at: datetime | None = None) -> Latency:
    """Read the service's ``/metrics``."""
    from prometheus_client.parser import text_string_to_metric_families

    samples = (
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        if family.name == METRIC
        for sample in family.samples
    )
    return _gathered(samples, at or datetime.now(UTC))


def read_latency(service: str | None, prometheus: str | None) -> Latency | None:
    """Read from the Prometheus server where one is set, else from the service; None where neither is.

    Args:
        service: address of the service, whose ``/metrics`` is read.
        prometheus: address of a Prometheus server.

    Raises:
        LatencyError: the address does not answer, or not with metrics.
    """
    import httpx

    address = prometheus or service
    if address is None:
        return None
    try:
        if prometheus:
            return _from_api(prometheus)
        answer = httpx.get(f"{address.rstrip('/')}/metrics", timeout=SECONDS)
        answer.raise_for_status()
        return from_text(answer.text)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise LatencyError(f"{address}: {error}") from error


def _from_api(prometheus: str) -> Latency:
    import httpx

    samples: list[tuple[str, Mapping[str, str], float]] = []
    for suffix in ("_bucket", "_count"):
        query = f"sum by (le, route, status) (increase({METRIC}{suffix}[{WINDOW}]))"
        answer = httpx.get(f"{prometheus.rstrip('/')}/api/v1/query", params={"query": query}, timeout=SECONDS)
        answer.raise_for_status()
        for row in answer.json()["data"]["result"]:
            samples.append((f"{METRIC}{suffix}", row["metric"], float(row["value"][1])))
    return _gathered(samples, datetime.now(UTC))


def _gathered(samples: Iterable[tuple[str, Mapping[str, str], float]], at: datetime) -> Latency:
    buckets: dict[float, float] = defaultdict(float)
    errors = requests = 0.0
    for name, labels, value in samples:
        if labels.get("route") not in ANSWERS:
            continue
        if name == f"{METRIC}_bucket":
            buckets[float(labels["le"])] += value
        elif name == f"{METRIC}_count":
            requests += value
            errors += value if labels["status"].startswith("5") else 0
    return Latency(at, dict(buckets), errors, requests)
