"""A day of hospital records, from the inbox to declared tables.

What belongs here: the three steps of a day (consents, records, acknowledgement) as functions from settings,
day and tables to tables. What does not: the reading (``ingest.fhir``) and when it happens (the graph).

Files are acknowledged in a step of their own, after the tables are committed: a run that dies before leaves
them waiting, and a day that is read again gives the same tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from medassets.cohorts.acknowledging import acknowledge
from medassets.cohorts.tables import TABLES
from medassets.cohorts.tables_live import table_of
from medassets.ingest.consent import Consent, ConsentRegister
from medassets.ingest.fhir import Policy, Records, read_consents, read_records
from medassets.ingest.fhir_files import ENDINGS
from medassets.ingest.fhir_pull import pull
from medassets.ingest.inbox import Delivery, Inbox
from medassets.ingest.notes import phenotypes_in
from medassets.ingest.pseudonyms import Pseudonymizer
from medassets.ingest.text import TextMatcher
from medassets.settings import Settings

#: Outputs of ``day_tables``: name to table.
DAY_TABLES = {
    **{n: f"clinical/ehr_{n}" for n in ("patients", "encounters", "conditions", "observations", "notes")},
    "quarantine": "clinical/ehr_quarantine",
    "counts": "clinical/ehr_counts",
}
#: Value of ``file`` in ``clinical/ehr_counts`` where a count is of the whole day.
ALL_FILES = "all"
#: Value of ``what`` for the valid resources of a file.
RESOURCES = "resources"


def inbox_of(settings: Settings) -> Inbox:
    """Give the drop folder of FHIR files."""
    return Inbox(settings.fhir_inbox, ENDINGS)


def day_pull(settings: Settings, day: str) -> pa.Table:
    """Bring what the FHIR server updated on a day into the inbox; an empty table where none is configured.

    Raises:
        ServerError: the server refuses or does not answer.
    """
    spec = TABLES["sources/fhir_server"]
    if settings.fhir_url is None:
        return spec.empty()
    pulled = pull(settings, date.fromisoformat(day))
    common = {"day": day, "server": settings.fhir_url}
    files = [
        common | {"file": Delivery.of(path).label, "bytes": path.stat().st_size} for path in pulled.files
    ]
    return table_of(spec, [*files, *(common | {"problem": row.reason} for row in pulled.problems)])


def day_consents(settings: Settings, day: str) -> pa.Table:
    """Read the Consent resources of a day's deliveries: ``clinical/ehr_consents``.

    Raises:
        KeyFileError: there are deliveries, and no key to make pseudonyms with.
    """
    spec = TABLES["clinical/ehr_consents"]
    deliveries = inbox_of(settings).deliveries(day)
    if not deliveries:
        return spec.empty()
    policy = Policy.from_settings(settings)
    # What is wrong with a Consent is reported with the other resources of its file.
    found = read_consents(deliveries, Pseudonymizer.from_settings(settings), policy, lambda row: None)
    rows = {
        consent.consent_id: {
            "day": day,
            **asdict(consent),
            "origin": policy.origin,
            "source_file": located.file,
        }
        for consent, located in found
    }
    return table_of(spec, rows.values())


def day_tables(settings: Settings, day: str, consents: pa.Table) -> dict[str, pa.Table]:
    """Read a day's deliveries: the tables of ``DAY_TABLES`` by name.

    Args:
        settings: the installation.
        day: ISO day.
        consents: ``clinical/ehr_consents`` of all days.

    Raises:
        KeyFileError: there are deliveries, and no key to make pseudonyms with.
    """
    deliveries = inbox_of(settings).deliveries(day)
    if not deliveries:
        return {name: TABLES[key].empty() for name, key in DAY_TABLES.items()}
    known = [Consent.of_row(row) for row in consents.sort_by("day").to_pylist()]
    policy = Policy.from_settings(settings)
    pseudonyms = Pseudonymizer.from_settings(settings)
    records = read_records(deliveries, known, pseudonyms, policy, datetime.now(UTC))
    rows: dict[str, Sequence[Mapping[str, Any]]] = {
        **records.rows,
        "quarantine": [row.as_dict() for row in records.rejected],
        "counts": [count | {"origin": policy.origin} for count in _counts(records)],
    }
    return {
        name: table_of(TABLES[key], ({"day": day, **row} for row in rows[name]))
        for name, key in DAY_TABLES.items()
    }


def acknowledge_files(settings: Settings, day: str, counts: pa.Table, quarantine: pa.Table) -> pa.Table:
    """Move a day's files to done or failed, with a report beside each: ``clinical/ehr_deliveries``.

    Args:
        settings: the installation.
        day: ISO day.
        counts: the day's ``clinical/ehr_counts``; files that it does not name stay, they came later.
        quarantine: the day's ``clinical/ehr_quarantine``.
    """
    good = {row["file"]: row["n"] for row in counts.to_pylist() if row["what"] == RESOURCES}
    return acknowledge(
        inbox_of(settings), day, good, quarantine, settings.fhir_origin, "clinical/ehr_deliveries"
    )


def days_to_read_again(
    settings: Settings, consents: pa.Table, people: Iterable[pa.Table], now: datetime
) -> dict[str, list[str]]:
    """Find the days that hold patients who may no longer be used: withdrawn, denied, or run out since.

    Args:
        settings: whether consent is required.
        consents: ``clinical/ehr_consents`` of all days.
        people: tables with ``day`` and ``patient_id``.
        now: time at which consents must be in force.

    Returns:
        Day to the pseudonyms of those patients, sorted.
    """
    known = [Consent.of_row(row) for row in consents.sort_by("day").to_pylist()]
    register, required = ConsentRegister(known, now), Policy.from_settings(settings).consent_required
    days: dict[str, set[str]] = {}
    for table in people:
        for row in table.group_by(["day", "patient_id"]).aggregate([]).to_pylist():
            consent = register.of(row["patient_id"])
            if required if consent is None else consent.decision != "permit":
                days.setdefault(row["day"], set()).add(row["patient_id"])
    return {day: sorted(patients) for day, patients in sorted(days.items())}


def note_phenotypes(notes: pa.Table, matcher: TextMatcher) -> pa.Table:
    """Find the phenotypes that notes name: ``clinical/note_phenotypes``."""
    kept = ("day", "note_id", "part", "patient_id", "language", "origin", "source_file")
    rows = (
        {**{name: note[name] for name in kept}, **found}
        for note in notes.to_pylist()
        for found in phenotypes_in(matcher, note["text"], note["language"])
    )
    return table_of(TABLES["clinical/note_phenotypes"], rows)


def _counts(records: Records) -> list[dict[str, Any]]:
    """Give the counts of a day and of its files as rows."""
    rows = [{"file": ALL_FILES, "what": what, "n": n} for what, n in sorted(records.counts.items())]
    for label, (resources, rejected) in sorted(records.files.items()):
        rows.append({"file": label, "what": RESOURCES, "n": resources})
        rows.append({"file": label, "what": "rejected", "n": rejected})
    return rows
