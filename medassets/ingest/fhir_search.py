"""FHIR search, page by page, for servers without bulk export; taken up at the page where it ended.

What belongs here: following ``link.next`` and keeping the resources as ndjson. What does not: reading them
(``fhir``). Specification: https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin

from medassets.ingest.fhir_values import maps
from medassets.ingest.retrying import RetryingClient, ServerError, plain

_ACCEPT = {"Accept": "application/fhir+json"}
#: Resources a page that a server is asked for; it may send fewer.
PAGE = 200


def search(client: RetryingClient, kind: str, params: Sequence[tuple[str, str]], target: Path) -> Path:
    """Write every resource that a search finds as one line of an ndjson file.

    After an interruption the same call goes on at the page that was not yet complete.

    Args:
        client: the server.
        kind: resource type.
        params: search parameters, for example ``("_lastUpdated", "ge2026-01-01")``.
        target: the file; it appears when the last page has arrived.

    Raises:
        ServerError: the server refuses, sends something else than a Bundle, or pages in a circle.
    """
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    part, state = target.with_name(target.name + ".part"), target.with_name(target.name + ".page.json")
    first = f"{client.base_url.rstrip('/')}/{kind}?{urlencode([('_count', str(PAGE)), *params])}"
    held = json.loads(state.read_text(encoding="utf-8")) if state.is_file() else {}
    url: str | None = held.get("next", first)
    seen: set[str] = set()
    with part.open("r+b" if held else "wb") as stream:
        # What was written after the last complete page belongs to a page that comes again.
        stream.truncate(held.get("bytes", 0))
        stream.seek(0, 2)
        while url is not None:
            if url in seen:
                raise ServerError(f"{plain(url)}: the pages go in a circle")
            seen.add(url)
            bundle = _page(client, url)
            for resource in _found(bundle):
                stream.write(json.dumps(resource, separators=(",", ":"), ensure_ascii=False).encode() + b"\n")
            stream.flush()
            url = _next(bundle, url)
            if url is not None:
                state.write_text(json.dumps({"next": url, "bytes": stream.tell()}), encoding="utf-8")
    part.replace(target)
    state.unlink(missing_ok=True)
    return target


def _page(client: RetryingClient, url: str) -> dict[str, Any]:
    try:
        bundle = client.request(url, headers=_ACCEPT).json()
    except json.JSONDecodeError as error:
        raise ServerError(f"{plain(url)}: the answer is not JSON: {error}") from error
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise ServerError(f"{plain(url)}: the answer is no Bundle")
    return bundle


def _found(bundle: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the resources of a page; what the server remarks (``outcome``) is none of them."""
    entries = maps(bundle.get("entry", []))
    return [
        entry["resource"]
        for entry in entries
        if isinstance(entry.get("resource"), dict)
        and next(maps(entry.get("search")), {}).get("mode") != "outcome"
    ]


def _next(bundle: Mapping[str, Any], url: str) -> str | None:
    for link in maps(bundle.get("link", [])):
        if link.get("relation") == "next" and isinstance(link.get("url"), str):
            return urljoin(url, link["url"])
    return None
