"""How much one caller may ask: a token bucket for each key, and for each address without one.

What belongs here: counting requests and refusing what is too many. What does not: who may ask what
(``access``) and the size of a body (``http_parts``).

A bucket holds ten seconds' worth of requests and refills evenly, so that a short burst passes and a loop does
not. Addresses count where no valid key is given: guessing keys is limited as well. Behind a proxy all callers
without a key have the proxy's address.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from medassets.serving.access import Gate

_BURST_SECONDS = 10
#: Callers remembered at once; full buckets are forgotten first, for they say nothing.
_MOST_CALLERS = 10_000
#: What a site's own watching asks for.
_FREE = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})


class Limiter:
    """Token buckets of all callers of one process.

    Args:
        per_minute: requests that a caller may make.
        clock: seconds, never going back.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._size = max(1.0, self._rate * _BURST_SECONDS)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: str) -> float:
        """Count a request.

        Returns:
            0 if it may pass, else the seconds until the next one may.
        """
        at = self._clock()
        if len(self._buckets) >= _MOST_CALLERS:
            self._forget(at)
        left = self._left(caller, at)
        if left < 1:
            return (1 - left) / self._rate
        self._buckets[caller] = (left - 1, at)
        return 0.0

    def _left(self, caller: str, at: float) -> float:
        left, since = self._buckets.get(caller, (self._size, at))
        return min(self._size, left + (at - since) * self._rate)

    def _forget(self, at: float) -> None:
        full = [caller for caller in self._buckets if self._left(caller, at) >= self._size]
        for caller in full or list(self._buckets)[: _MOST_CALLERS // 10]:
            del self._buckets[caller]


class LimitMiddleware:
    """Refuses with 429 and ``Retry-After`` what is too many.

    Args:
        app: what is behind.
        limiter: the buckets.
        ring: the keys that callers are told apart by; ``None`` where none are needed.
        refuse: makes the answer from the seconds to wait.
    """

    def __init__(
        self, app: ASGIApp, limiter: Limiter, ring: Gate | None, refuse: Callable[[int], Response]
    ) -> None:
        self._app, self._limiter, self._ring, self._refuse = app, limiter, ring, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and scope["path"] not in _FREE:
            wait = self._limiter.take(self._caller(Request(scope)))
            if wait:
                await self._refuse(math.ceil(wait))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _caller(self, request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        holder = self._ring.holder(token) if self._ring and scheme.lower() == "bearer" else None
        return holder or f"address {request.client.host if request.client else 'unknown'}"
