"""A day's records from the hospital's FHIR server into the same inbox that files are dropped in.

What belongs here: which protocol, which window of time, and where the files go. What does not: the protocols
(``bulk_export``, ``fhir_search``) and reading (``fhir``): consent and pseudonyms have one door only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from medassets.ingest.bulk_export import export
from medassets.ingest.fhir_search import search
from medassets.ingest.inbox import ARRIVED
from medassets.ingest.quarantine import QuarantineRow
from medassets.ingest.retrying import RetryingClient
from medassets.settings import Settings

#: What is asked for, Consent among it.
TYPES = ("Patient", "Consent", "Encounter", "Condition", "Observation", "DocumentReference", "Binary")


@dataclass
class Pulled:
    """What came from a server: the files in the inbox and what the server could not give."""

    files: list[Path]
    problems: list[QuarantineRow] = field(default_factory=list)


def pull(settings: Settings, day: date, sleep: Callable[[float], None] = time.sleep) -> Pulled:
    """Bring what a server updated on a day into the inbox, under that day.

    Args:
        settings: address, token, protocol.
        day: the day, UTC.
        sleep: how to wait.

    Raises:
        ServerError: the server refuses or does not answer; the same call goes on where it ended.
        ValueError: no server is configured.
    """
    if settings.fhir_url is None:
        raise ValueError("MEDASSETS_FHIR_URL is not set")
    inbox = settings.fhir_inbox
    scratch = inbox / ".pull" / day.isoformat()
    scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    with RetryingClient(settings.fhir_url, settings.fhir_token, sleep=sleep) as client:
        if settings.fhir_protocol == "export":
            since = datetime.combine(day, datetime.min.time(), UTC)
            done = export(client, scratch, TYPES, since=since, group=settings.fhir_group)
            files, problems = done.files, done.problems
        else:
            # Two bounds of one parameter: the server must hold both.
            window = [("_lastUpdated", f"ge{day}"), ("_lastUpdated", f"lt{day + timedelta(days=1)}")]
            kinds = (kind for kind in TYPES if kind != "Binary")
            files = [search(client, kind, window, scratch / f"{kind}.ndjson") for kind in kinds]
            problems = []
    target = inbox / ARRIVED / day.isoformat()
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Pulled([path.replace(target / f"server-{path.name}") for path in files], problems)
