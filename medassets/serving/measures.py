"""What Prometheus reads: latency, errors, confidence, abstentions, the bundle; never what was asked.

What belongs here: metrics with labels from closed sets (routes, statuses, confidence words). What does not:
the audit log. A path is never a label: it may hold an id, and each new one would stay in memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5, 1, 5)


class Measures:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "medassets_request_seconds", "Duration of requests", ["route", "status"],
            registry=self._registry, buckets=_SECONDS,
        )  # fmt: skip
        self._answers = Counter(
            "medassets_answers_total",
            "Differentials by confidence",
            ["part", "confidence"],
            registry=self._registry,
        )
        self._abstentions = Counter(
            "medassets_abstentions_total", "Differentials that abstained", ["part"], registry=self._registry
        )
        self._mapped = Counter(
            "medassets_mapped_findings_total", "Findings read as others", registry=self._registry
        )
        self._unmapped = Counter(
            "medassets_unmapped_statements_total",
            "Statements of records that were not used",
            registry=self._registry,
        )
        self._bundle = Gauge(
            "medassets_bundle_info",
            "1 for the bundle that answered last, challengers aside",
            ["bundle"],
            registry=self._registry,
        )
        self._last_bundle: str | None = None
        self._arms = Counter(
            "medassets_assignments_total",
            "Answers by the bundle that they were assigned to",
            ["arm"],
            registry=self._registry,
        )
        self._shadow = Counter(
            "medassets_shadow_total", "Requests to a challenger in the shadow", ["outcome"],
            registry=self._registry,
        )  # fmt: skip
        self._cache = Counter(
            "medassets_cache_total", "Look-ups of answers kept", ["outcome"], registry=self._registry
        )

    def cached(self, outcome: str) -> None:
        """Count a look-up: hit, miss, or the cache was unavailable."""
        self._cache.labels(outcome).inc()

    def shadowed(self, outcome: str) -> None:
        """Count what became of a request in the shadow."""
        self._shadow.labels(outcome).inc()

    def seen(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._seconds.labels(route, str(status)).observe(seconds)

    def left_out(self, unmapped: Iterable[Mapping[str, Any]]) -> None:
        """Count what of a record was not used."""
        self._unmapped.inc(sum(entry["count"] for entry in unmapped))

    def answered(self, answer: Mapping[str, Any]) -> None:
        """Count an answer."""
        for part in ("rare", "common"):
            if answer[part] is not None:
                self._answers.labels(part, answer[part]["confidence"]).inc()
                if answer[part]["abstain"]:
                    self._abstentions.labels(part).inc()
        self._mapped.inc(len(answer["mapped"]))
        arm, bundle = answer["versions"].get("arm", "champion"), answer["versions"]["bundle"]
        self._arms.labels(arm).inc()
        if arm == "champion" and bundle != self._last_bundle:
            if self._last_bundle is not None:
                self._bundle.labels(self._last_bundle).set(0)
            self._bundle.labels(bundle).set(1)
            self._last_bundle = bundle

    def text(self) -> bytes:
        """The exposition that Prometheus scrapes."""
        return generate_latest(self._registry)


class MeasuredMiddleware:
    """Times each request and files it under its route."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", None) or "none"
            self._measures.seen(route, status, time.perf_counter() - started)
