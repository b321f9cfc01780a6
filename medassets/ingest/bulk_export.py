"""HL7 FHIR Bulk Data Access: ask for an export, wait for it, fetch its files; taken up where it ended.

What belongs here: the client's side of the protocol. What does not: reading the files (``fhir``) and where
they go next (``fhir_pull``). Specification: https://hl7.org/fhir/uv/bulkdata/export.html

Everything that is needed to go on stands in ``export.json`` beside the files: the status address, the
manifest, and what has arrived. The token is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from medassets.ingest.fhir_values import maps
from medassets.ingest.quarantine import QuarantineRow
from medassets.ingest.retrying import RetryingClient, ServerError, plain, retry_after

STATE = "export.json"
_ACCEPT = "application/fhir+json"
_NDJSON = "application/fhir+ndjson"
#: Seconds between two looks at the status where the server names none; and how often it is looked at.
POLL, MOST_POLLS = 10.0, 2000


@dataclass
class Exported:
    """What an export brought.

    Attributes:
        files: the ndjson files, in the manifest's order.
        problems: what the server itself reports in its error files.
        deleted: files of deletions that the server names; they are not carried out.
        polls: how often the status was asked for.
    """

    files: list[Path]
    problems: list[QuarantineRow] = field(default_factory=list)
    deleted: int = 0
    polls: int = 0


def export(
    client: RetryingClient,
    folder: Path,
    types: Sequence[str],
    *,
    since: datetime | None = None,
    group: str | None = None,
) -> Exported:
    """Export from a server into a folder; after an interruption the same call goes on.

    Args:
        client: the server.
        folder: where files and state are kept.
        types: resource types.
        since: only what was updated later.
        group: id of a Group whose patients are wanted; without it all patients.

    Raises:
        ServerError: the server refuses, gives up, or sends another number of resources than it announced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _State(folder / STATE)
    if state.manifest is None:
        if state.status_url is None:
            state.keep(status_url=_kick_off(client, types, since, group))
        try:
            state.keep(manifest=_wait(client, state))
        except ServerError as error:
            if error.status in (httpx.codes.NOT_FOUND, httpx.codes.GONE) and state.resumed:
                # The export that was interrupted has expired at the server: ask for a new one.
                state.forget()
                return export(client, folder, types, since=since, group=group)
            raise
    return _fetch_all(client, folder, state)


def _kick_off(client: RetryingClient, types: Sequence[str], since: datetime | None, group: str | None) -> str:
    place = f"Group/{group}/$export" if group else "Patient/$export"
    params = {"_outputFormat": _NDJSON, "_type": ",".join(types)}
    if since is not None:
        params["_since"] = since.isoformat(timespec="seconds")
    url = f"{client.base_url.rstrip('/')}/{place}"
    response = client.request(url, params=params, headers={"Accept": _ACCEPT, "Prefer": "respond-async"})
    status = response.headers.get("Content-Location")
    if response.status_code != httpx.codes.ACCEPTED or not status:
        raise ServerError(f"{url}: 202 with a Content-Location is expected, not {response.status_code}")
    return urljoin(url, status)


def _wait(client: RetryingClient, state: _State) -> dict[str, Any]:
    """Ask for the status until the export is complete."""
    assert state.status_url is not None
    for _ in range(MOST_POLLS):
        response = client.request(state.status_url, headers={"Accept": "application/json"})
        state.polls += 1
        if response.status_code == httpx.codes.OK:
            try:
                manifest = response.json()
            except json.JSONDecodeError as error:
                raise ServerError(f"{plain(state.status_url)}: the manifest is not JSON: {error}") from error
            if not isinstance(manifest, dict) or not isinstance(manifest.get("output"), list):
                raise ServerError(f"{plain(state.status_url)}: the manifest names no output")
            return manifest
        asked = retry_after(response.headers.get("Retry-After"))
        client.sleep(min(POLL if asked is None else asked, client.longest_wait))
    raise ServerError(f"{plain(state.status_url)}: still not complete after {MOST_POLLS} looks")


def _fetch_all(client: RetryingClient, folder: Path, state: _State) -> Exported:
    assert state.manifest is not None
    found = Exported([], polls=state.polls, deleted=len(state.manifest.get("deleted") or ()))
    for number, item in enumerate(maps(state.manifest["output"])):
        path = folder / f"{_word(item.get('type'))}.{number:03}.ndjson"
        if path.name not in state.done:
            client.fetch(str(item.get("url")), path, headers={"Accept": _NDJSON})
            _check_count(path, item)
            state.keep(done=[*state.done, path.name])
        found.files.append(path)
    for number, item in enumerate(maps(state.manifest.get("error"))):
        path = client.fetch(
            str(item.get("url")), folder / f"error.{number:03}.txt", headers={"Accept": _NDJSON}
        )
        found.problems += _problems(path)
        path.unlink()
    if state.status_url is not None:
        _release(client, state.status_url)
    state.forget()
    return found


def _check_count(path: Path, item: Any) -> None:
    """Compare the number of lines with what the manifest announced."""
    announced = item.get("count")
    with path.open("rb") as stream:
        lines = sum(1 for line in stream if line.strip())
    if announced is not None and lines != announced:
        path.unlink()
        raise ServerError(f"{plain(str(item.get('url')))}: {announced} resources announced, {lines} came")


def _problems(path: Path) -> list[QuarantineRow]:
    """Read a file of OperationOutcomes: what the server could not export."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            outcome = json.loads(line) if line.strip() else {}
        except json.JSONDecodeError:
            outcome = {"issue": [{"code": "the line is not JSON"}]}
        for issue in maps(outcome.get("issue") if isinstance(outcome, dict) else None):
            reason = f"the server reports: {issue.get('severity', 'error')} {issue.get('code', 'unknown')}"
            rows.append(QuarantineRow("fhir", "server", number, None, "$export", None, reason, "no issue"))
    return rows


def _release(client: RetryingClient, status_url: str) -> None:
    """Tell the server that it may delete the export; servers need not offer that."""
    try:
        client.request(status_url, method="DELETE")
    except ServerError as error:
        if error.status not in (404, 405, 410, 501):
            raise


def _word(value: Any) -> str:
    """Give a resource type as part of a file's name; a server's manifest names no path."""
    text = str(value)
    return text if text.isalnum() else "Resource"


class _State:
    """What is known of an export under way, on disk after every step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        self.resumed = bool(held)
        self.status_url: str | None = held.get("status_url")
        self.manifest: dict[str, Any] | None = held.get("manifest")
        self.done: list[str] = held.get("done", [])
        self.polls = 0

    def keep(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        content = {"status_url": self.status_url, "manifest": self.manifest, "done": self.done}
        scratch = self._path.with_suffix(".partial")
        scratch.write_text(json.dumps(content), encoding="utf-8")
        scratch.replace(self._path)

    def forget(self) -> None:
        self._path.unlink(missing_ok=True)
