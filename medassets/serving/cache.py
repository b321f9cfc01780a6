"""Answers kept to be given again: to the same request, from the same bundle, for a while.

What belongs here: keys and places of kept answers. What does not: what follows a hit (``answering``: each
answer has an id and an audit entry of its own, cached or not).

The key is a digest of the bundle, the serving code and the request without its patient; it is keyed where the
site has a key, so that nobody can guess findings from it. In Redis the answers are sealed with that key. A
Redis that does not answer within a moment is left alone for a few seconds, and answers are computed.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal, Protocol

from medassets.serving.requests import DiagnosisRequest
from medassets.serving.sealing import Sealer, SealError, keyed_digest
from medassets.serving.store import StoreError
from medassets.settings import Settings

Outcome = Literal["hit", "miss", "unavailable"]
#: Most bytes that a process keeps.
MOST_BYTES = 32 << 20
#: Seconds that Redis has to answer, and seconds that it is left alone after it did not.
REDIS_TIMEOUT, REDIS_PAUSE = 0.1, 5.0
_PREFIX = "medassets:answer:"


class UnavailableError(Exception):
    """The place of kept answers cannot be reached."""


class Place(Protocol):
    """Where answers are kept."""

    def get(self, key: str) -> bytes | None:
        """What was kept, if it is not too old; raises ``UnavailableError``."""

    def put(self, key: str, value: bytes) -> None:
        """Keep for a while; raises ``UnavailableError``."""


class Memory:
    """Within the process: the last used stay.

    Args:
        entries: most answers kept.
        seconds: how long one is kept.
        clock: seconds, never going back.
    """

    def __init__(self, entries: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._entries, self._seconds, self._clock = entries, seconds, clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> bytes | None:
        """What was kept, if it is not too old."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            if self._clock() >= found[0]:
                self._drop(key)
                return None
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key: str, value: bytes) -> None:
        """Keep for a while; those used longest ago make room."""
        with self._lock:
            if key in self._kept:
                self._drop(key)
            self._kept[key] = (self._clock() + self._seconds, value)
            self._bytes += len(value)
            while len(self._kept) > self._entries or self._bytes > MOST_BYTES:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: str) -> None:
        self._bytes -= len(self._kept.pop(key)[1])


class Shared:
    """In Redis, for all services that use the same one.

    Args:
        url: ``redis://...`` or ``rediss://...``.
        seconds: how long an answer is kept.
        sealer: seals what is kept; ``None`` keeps it as it is.
        clock: seconds, never going back.

    Raises:
        ValueError: the address is none of Redis.
    """

    def __init__(
        self, url: str, seconds: int, sealer: Sealer | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._error = redis.RedisError
        self._redis = redis.Redis.from_url(
            url, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
        self._seconds, self._sealer, self._clock = seconds, sealer, clock
        self._not_before = 0.0

    def get(self, key: str) -> bytes | None:
        """What was kept; what does not open with the site's keys counts as not kept."""
        sealed: bytes | None = self._ask(lambda: self._redis.get(_PREFIX + key))
        if sealed is None or self._sealer is None:
            return sealed
        try:
            # What is not sealed was not put here by a service with this key.
            return self._sealer.decrypt(sealed, key.encode()) if self._sealer.is_sealed(sealed) else None
        except SealError:
            return None

    def put(self, key: str, value: bytes) -> None:
        """Keep for a while."""
        sealed = self._sealer.encrypt(value, key.encode()) if self._sealer else value
        self._ask(lambda: self._redis.set(_PREFIX + key, sealed, ex=self._seconds))

    def _ask(self, question: Callable[[], Any]) -> Any:
        if self._clock() < self._not_before:
            raise UnavailableError
        try:
            return question()
        except self._error:
            self._not_before = self._clock() + REDIS_PAUSE
            raise UnavailableError from None


class AnswerCache:
    """Answers by bundle and request.

    Args:
        place: where they are kept.
        sealer: keys the digests.
        count: told of each look-up.
    """

    def __init__(
        self, place: Place, sealer: Sealer | None = None, count: Callable[[Outcome], None] = lambda _: None
    ) -> None:
        self._place, self._sealer, self._count = place, sealer, count

    def key(self, bundle: str, bento: str, request: DiagnosisRequest) -> str:
        """Digest of all that decides an answer."""
        asked = request.model_dump_json(exclude={"patient_id"})
        return keyed_digest(self._sealer, "cache", f"{bundle}\n{bento}\n{asked}".encode()).hex()

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept, without id and time."""
        try:
            found = self._place.get(key)
            answer = None if found is None else json.loads(found)
        except UnavailableError:
            self._count("unavailable")
            return None
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self._count("miss")
            return None
        self._count("hit")
        return answer

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer; its id and time stay out."""
        kept = answer | {"prediction_id": "", "at": ""}
        try:
            self._place.put(key, json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode())
        except UnavailableError:
            return  # counted when it was looked up


def open_cache(
    settings: Settings, sealer: Sealer | None, count: Callable[[Outcome], None] = lambda _: None
) -> AnswerCache | None:
    """The cache that the settings ask for.

    Raises:
        StoreError: the address is none of Redis.
    """
    own = settings.cache
    if own.url:
        try:
            place = Shared(own.url, own.seconds, sealer)
        except ValueError:
            # Without the address, which may hold a password.
            raise StoreError("MEDASSETS_CACHE__URL is no address of Redis: redis://host:port/0") from None
        return AnswerCache(place, sealer, count)
    return AnswerCache(Memory(own.entries, own.seconds), sealer, count) if own.entries else None
