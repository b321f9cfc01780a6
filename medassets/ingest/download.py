"""Fetching the pinned official releases, for ``origin=download``.

What belongs here: the lock file (``releases.lock.json``: address, size, SHA-256, licence of each file) and a
fetch that resumes, retries, shows progress and accepts nothing but the pinned bytes. What does not: reading
the files, and the layout of the folder they go to, which is that of ``folder`` (so a download is read like a
site's own folder).

A file without a pinned sum is fetched but refused: the error has the sum to pin once somebody has compared it
with the publisher's. Partial files end in ``.part`` and are renamed when their sum is right.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from medassets.ingest.quarantine import IngestError

LOCK_NAME = "releases.lock.json"
ATTEMPTS = 6
#: Seconds before the second attempt; doubled before each further one, up to the longest.
BACKOFF, LONGEST_WAIT = 1.0, 60.0
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})

Report = Callable[[int], None]


class DownloadError(IngestError):
    """A release cannot be fetched; the message names file and address."""


class ChecksumError(DownloadError):
    """What arrived is not what was pinned; the message has both sums."""


class UnpinnedError(DownloadError):
    """The lock file has no sum for this file; the message has the sum of what arrived."""


class _InterruptedError(Exception):
    """The transfer broke off and can be taken up again."""


@dataclass(frozen=True)
class Release:
    """One pinned file.

    Attributes:
        source: source as in ``folder.SOURCES``.
        path: where it goes below the download folder.
        url: the publisher's address.
        release: version or date of the release.
        size: bytes, None where not known.
        sha256: hexadecimal, None where not known (then the file is refused).
        licence: licence of the content.
    """

    source: str
    path: str
    url: str
    release: str
    size: int | None
    sha256: str | None
    licence: str


def read_lock(path: Path | None = None) -> list[Release]:
    """Read the lock file; default: the one that the package carries.

    Raises:
        DownloadError: the file is not a lock file, or an entry would be written outside the download folder.
    """
    name = str(path or LOCK_NAME)
    resource = path if path else files("medassets.knowledge") / "data" / LOCK_NAME
    try:
        entries: list[dict[str, Any]] = json.loads(resource.read_text(encoding="utf-8"))["files"]
        releases = [Release(**{key: entry[key] for key in Release.__dataclass_fields__}) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DownloadError(f"{name}: not a lock file of releases: {error!r}") from error
    for release in releases:
        place = PurePosixPath(release.path)
        if place.is_absolute() or ".." in place.parts:
            raise DownloadError(f"{name}: {release.path!r} lies outside the download folder")
    return releases


def fetch_all(
    directory: Path,
    *,
    base_url: str | None = None,
    sources: Iterable[str] | None = None,
    lock: Path | None = None,
    show_progress: bool = True,
    attempts: int = ATTEMPTS,
    backoff: float = BACKOFF,
) -> list[Path]:
    """Fetch the pinned files that are not there yet, and return the paths of all.

    Args:
        directory: download folder.
        base_url: mirror with the lock file's paths below it, instead of the publishers' addresses.
        sources: only these sources.
        lock: another lock file.
        show_progress: draw a bar a file.
        attempts: attempts a file.
        backoff: seconds before the second attempt.

    Raises:
        DownloadError: a file cannot be fetched (after all attempts), or an unknown source was asked for.
        ChecksumError: a file has another sum than pinned.
        UnpinnedError: a file has no pinned sum.
    """
    releases = read_lock(lock)
    wanted = set(sources) if sources is not None else {release.source for release in releases}
    unknown = wanted - {release.source for release in releases}
    if unknown:
        raise DownloadError(f"no release of {', '.join(sorted(unknown))} is pinned")
    chosen = [release for release in releases if release.source in wanted]
    paths = []
    with _bars(show_progress) as bars, httpx.Client(follow_redirects=True, timeout=30.0) as client:
        for release in chosen:
            report = _bar(bars, release)
            paths.append(
                fetch(
                    release,
                    directory,
                    client,
                    base_url=base_url,
                    attempts=attempts,
                    backoff=backoff,
                    report=report,
                )
            )
    return paths


def fetch(
    release: Release,
    directory: Path,
    client: httpx.Client,
    *,
    base_url: str | None = None,
    attempts: int = ATTEMPTS,
    backoff: float = BACKOFF,
    report: Report = lambda done: None,
) -> Path:
    """Fetch one file unless the pinned bytes are there already; return its path.

    Raises:
        DownloadError, ChecksumError, UnpinnedError: see ``fetch_all``.
    """
    target = directory / release.path
    part = target.with_name(target.name + ".part")
    for there in (target, part):
        if release.sha256 and there.is_file() and sha256_of(there) == release.sha256:
            there.replace(target)
            report(target.stat().st_size)
            return target
    target.parent.mkdir(parents=True, exist_ok=True)
    url = f"{base_url.rstrip('/')}/{release.path}" if base_url else release.url
    resumed = part.is_file()
    _transfer(release, url, part, client, attempts, backoff, report)
    found = sha256_of(part)
    if release.sha256 and found != release.sha256 and resumed:
        # The bytes kept from an earlier run may be of another file: only a fetch from the start tells.
        part.unlink()
        _transfer(release, url, part, client, attempts, backoff, report)
        found = sha256_of(part)
    if release.sha256 is None:
        raise UnpinnedError(
            f"{release.path}: no SHA-256 is pinned, so nothing says that {url} sent the right file. It has\n"
            f"  {found}\nCompare that with the publisher's sum, put it into {LOCK_NAME} and run again."
        )
    if found != release.sha256:
        part.unlink()
        raise ChecksumError(
            f"{release.path}: {url} sent another file than the one pinned\n"
            f"  SHA-256 expected {release.sha256}\n  SHA-256 received {found}"
        )
    part.replace(target)
    return target


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _transfer(
    release: Release,
    url: str,
    part: Path,
    client: httpx.Client,
    attempts: int,
    backoff: float,
    report: Report,
) -> None:
    """Fill the partial file, taking up where it ends; wait longer after each broken attempt."""
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(min(backoff * 2 ** (attempt - 1), LONGEST_WAIT))
        try:
            _attempt(release, url, part, client, report)
            return
        except (_InterruptedError, httpx.TransportError) as error:
            reason = (
                f"{type(error).__name__}: {error}" if isinstance(error, httpx.TransportError) else str(error)
            )
    raise DownloadError(f"{release.path}: {url} could not be fetched in {attempts} attempts; last: {reason}")


def _attempt(release: Release, url: str, part: Path, client: httpx.Client, report: Report) -> None:
    start = part.stat().st_size if part.is_file() else 0
    # Bytes as they lie on the server: a compressed transfer could not be taken up in the middle.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if release.size == start or response.headers.get("Content-Range") == f"bytes */{start}":
                return  # all there
            part.unlink()
            raise _InterruptedError("the partial file was longer than the file; starting again")
        if response.status_code in _RETRIED:
            raise _InterruptedError(f"status {response.status_code}")
        if response.is_error:
            raise DownloadError(
                f"{release.path}: {url} answered {response.status_code} {response.reason_phrase}"
            )
        continued = response.status_code == httpx.codes.PARTIAL_CONTENT
        if continued and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _InterruptedError("the server continued at the wrong place; starting again")
        done = start if continued else 0
        with part.open("ab" if continued else "wb") as stream:
            report(done)
            for chunk in response.iter_bytes():
                stream.write(chunk)
                done += len(chunk)
                report(done)
    if release.size is not None and done < release.size:
        raise _InterruptedError(f"{done} of {release.size} bytes arrived")


def _bars(show: bool) -> Any:
    if not show:
        return nullcontext(None)
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )


def _bar(bars: Any, release: Release) -> Report:
    if bars is None:
        return lambda done: None
    task = bars.add_task(release.path, total=release.size)
    return lambda done: bars.update(task, completed=done)
