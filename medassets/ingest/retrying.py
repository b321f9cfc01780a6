"""HTTP requests that wait and try again: backoff, the server's own Retry-After, and a limit of the rate.

What belongs here: one polite client for servers that we do not own (FHIR, E-utilities). What does not: what
is asked for (``bulk_export``, ``fhir_search``, ``pubmed_search``) and pinned releases (``download``).
Retry-After: RFC 9110, 10.2.3.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from medassets.ingest.quarantine import IngestError

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_Result = TypeVar("_Result")
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


class ServerError(IngestError):
    """A server refused, or did not answer in all attempts; the message names the address without its query.

    Attributes:
        status: the last HTTP status, None where no answer came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _BrokenError(Exception):
    """One attempt failed in a way that another may not; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, reason: str, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(reason)
        self.status, self.wait = status, wait


@dataclass
class RetryingClient:
    """An HTTP client for one server.

    Attributes:
        base_url: the server's base; only its own origin is sent the token.
        token: bearer token.
        attempts: attempts of one request.
        backoff: seconds before the second attempt, doubled before each further one.
        longest_wait: most seconds between two attempts, whatever the server asks for.
        per_second: most requests a second; 0: any number.
        sleep: waits; replaced in tests.
        clock: seconds that only grow; replaced in tests.
    """

    base_url: str
    token: str | None = field(default=None, repr=False)
    attempts: int = 6
    backoff: float = 1.0
    longest_wait: float = 120.0
    per_second: float = 0.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ServerError(f"{self.base_url!r} is no http or https address")
        self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=True)
        self._next = 0.0

    def __enter__(self) -> RetryingClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def request(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request until it is answered with a status below 400.

        Raises:
            ServerError: refused, or no good answer in all attempts.
        """

        def attempt() -> httpx.Response:
            response = self._client.request(
                method, url, params=params, data=data, headers=self._headers(url, headers)
            )
            self._judge(response, url)
            return response

        return self._persist(attempt, url)

    def fetch(self, url: str, target: Path, *, headers: Mapping[str, str] | None = None) -> Path:
        """Fetch a file, taking up a partial one where the server can; ``target`` appears when it is whole.

        Raises:
            ServerError: see ``request``.
        """
        part = target.with_name(target.name + ".part")

        def attempt() -> Path:
            start = part.stat().st_size if part.is_file() else 0
            asked = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
            sent = self._headers(url, {**(headers or {}), **asked})
            with self._client.stream("GET", url, headers=sent) as response:
                if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    part.unlink()
                    raise _BrokenError("the partial file does not fit: starting again", wait=0.0)
                self._judge(response, url)
                goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT and response.headers.get(
                    "Content-Range", ""
                ).startswith(f"bytes {start}-")
                if response.status_code == httpx.codes.PARTIAL_CONTENT and not goes_on:
                    part.unlink(missing_ok=True)
                    raise _BrokenError("the server went on at the wrong place: starting again")
                with part.open("ab" if goes_on else "wb") as stream:
                    for chunk in response.iter_bytes():
                        stream.write(chunk)
            return part.replace(target)

        target.parent.mkdir(parents=True, exist_ok=True)
        return self._persist(attempt, url)

    def _headers(self, url: str, headers: Mapping[str, str] | None) -> dict[str, str]:
        own = urlsplit(url)[:2] == urlsplit(self.base_url)[:2]
        return {
            **(headers or {}),
            **({"Authorization": f"Bearer {self.token}"} if self.token and own else {}),
        }

    def _judge(self, response: httpx.Response, url: str) -> None:
        status = response.status_code
        if status in RETRIED:
            raise _BrokenError(f"status {status}", status, retry_after(response.headers.get("Retry-After")))
        if status >= httpx.codes.MULTIPLE_CHOICES:
            raise ServerError(f"{plain(url)} answered {status} {response.reason_phrase}", status)

    def _persist(self, attempt: Callable[[], _Result], url: str) -> _Result:
        wait, reason, status = 0.0, "", None
        for number in range(self.attempts):
            self._pace(wait)
            try:
                return attempt()
            except (_BrokenError, httpx.TransportError) as error:
                asked = error.wait if isinstance(error, _BrokenError) else None
                status = error.status if isinstance(error, _BrokenError) else None
                reason = str(error) or type(error).__name__
                wait = min(self.backoff * 2**number if asked is None else asked, self.longest_wait)
        raise ServerError(f"{plain(url)} did not answer in {self.attempts} attempts; last: {reason}", status)

    def _pace(self, wait: float) -> None:
        """Wait before an attempt: as long as a failure asks for, and as the rate allows."""
        now = self.clock()
        pause = max(wait, self._next - now)
        if pause > 0:
            self.sleep(pause)
        if self.per_second:
            self._next = max(self.clock(), now + max(pause, 0.0)) + 1 / self.per_second


def retry_after(value: str | None) -> float | None:
    """Read a Retry-After header: seconds or a date; None where there is none that can be read."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def plain(url: str) -> str:
    """Give an address for messages: queries may name patients, and hold keys."""
    return url.partition("?")[0]
