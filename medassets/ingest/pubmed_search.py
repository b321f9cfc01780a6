"""NCBI's E-utilities: which articles a query finds, and their XML, politely and only what is new.

What belongs here: ``esearch`` and ``efetch`` with NCBI's limits. What does not: reading the XML (``pubmed``).
Specification: https://www.ncbi.nlm.nih.gov/books/NBK25499/ ; three requests a second, ten with a key. A query
finds at most 9,999 articles, so a query that finds more is split by date of publication.

``fetched.json`` beside the files names the ids that have come. An article that has been retracted since is
fetched again, so that its newest state is in the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from medassets.ingest.retrying import RetryingClient, ServerError, plain
from medassets.settings import Settings

STATE = "fetched.json"
#: Requests a second without and with a key.
SLOW, FAST = 3.0, 10.0
#: Most ids of one search, and ids of one fetch.
MOST_IDS, BATCH = 9_999, 200
_FIRST_YEAR = 1800
_ONLY_CASES = "case reports[Publication Type]"
_ONLY_RETRACTED = "retracted publication[Publication Type]"


@dataclass
class Eutils:
    """E-utilities of one server.

    Attributes:
        client: asks, waits, tries again.
        common: parameters of every request: tool, e-mail, key.
    """

    client: RetryingClient
    common: Mapping[str, str] = field(default_factory=dict)

    def ids(self, query: str, first: int = _FIRST_YEAR, last: int | None = None) -> list[str]:
        """Give the PMIDs that a query finds, published in a span of years, sorted as numbers.

        Raises:
            ServerError: the server refuses, or one year alone finds more than can be listed.
        """
        until = last if last is not None else date.today().year + 1
        found = self._search(query, first, until)
        if int(found["count"]) <= MOST_IDS:
            return sorted(set(found["idlist"]), key=int)
        if first == until:
            raise ServerError(f"the query finds more than {MOST_IDS} articles of {first}: make it narrower")
        middle = (first + until) // 2
        halves = self.ids(query, first, middle), self.ids(query, middle + 1, until)
        return sorted({pmid for half in halves for pmid in half}, key=int)

    def fetch(self, ids: Sequence[str]) -> bytes:
        """Give the XML of articles.

        Raises:
            ServerError: the server refuses or answers with something else.
        """
        url = f"{self.client.base_url.rstrip('/')}/efetch.fcgi"
        asked = {"db": "pubmed", "retmode": "xml", "id": ",".join(ids)}
        content = self.client.request(url, method="POST", data={**self.common, **asked}).content
        if b"<PubmedArticleSet" not in content or b"</PubmedArticleSet>" not in content:
            raise ServerError(f"{plain(url)}: the answer is no whole PubmedArticleSet")
        return content

    def _search(self, query: str, first: int, last: int) -> Mapping[str, Any]:
        url = f"{self.client.base_url.rstrip('/')}/esearch.fcgi"
        asked = {
            "db": "pubmed",
            "retmode": "json",
            "retmax": str(MOST_IDS),
            "datetype": "pdat",
            "mindate": str(first),
            "maxdate": str(last),
            "term": query,
        }
        response = self.client.request(url, method="POST", data={**self.common, **asked})
        try:
            found: Mapping[str, Any] = response.json()["esearchresult"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ServerError(f"{plain(url)}: the answer is no search result") from error
        if "idlist" not in found or "count" not in found:
            raise ServerError(f"{plain(url)}: {found.get('ERROR', 'the answer names no articles')}")
        return found


def fetch_new(eutils: Eutils, queries: Sequence[str], folder: Path) -> list[Path]:
    """Fetch the case reports that queries find and that have not come yet; give the new files.

    Args:
        eutils: the server.
        queries: PubMed queries; each is narrowed to case reports.
        folder: where the files lie, a batch a file.

    Raises:
        ServerError: see ``Eutils``; what has come stays, and the same call goes on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / STATE
    held = json.loads(state.read_text(encoding="utf-8")) if state.is_file() else {}
    fetched, withdrawn = set(held.get("fetched", ())), set(held.get("retracted", ()))
    found, retracted = set[str](), set[str]()
    for query in queries:
        found.update(eutils.ids(f"({query}) AND {_ONLY_CASES}"))
        retracted.update(eutils.ids(f"({query}) AND {_ONLY_CASES} AND {_ONLY_RETRACTED}"))
    wanted = sorted((found - fetched) | (retracted - withdrawn), key=int)
    new = []
    for start in range(0, len(wanted), BATCH):
        ids = wanted[start : start + BATCH]
        path = folder / f"articles-{held.get('files', 0):06}.xml"
        scratch = path.with_suffix(".partial")
        scratch.write_bytes(eutils.fetch(ids))
        new.append(scratch.replace(path))
        fetched.update(ids)
        withdrawn.update(retracted.intersection(ids))
        held = {
            "files": held.get("files", 0) + 1,
            "fetched": sorted(fetched, key=int),
            "retracted": sorted(withdrawn, key=int),
        }
        state.write_text(json.dumps(held), encoding="utf-8")
    return new


def eutils_of(settings: Settings, client: RetryingClient | None = None) -> Eutils:
    """Give the E-utilities as the settings name them."""
    rate = FAST if settings.ncbi_api_key else SLOW
    common = {"tool": "medassets", "email": settings.ncbi_email, "api_key": settings.ncbi_api_key}
    made = client or RetryingClient(settings.eutils_url, per_second=rate)
    return Eutils(made, {name: value for name, value in common.items() if value})
