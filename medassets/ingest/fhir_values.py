"""Values inside FHIR R4 resources: times, codings, references, ages.

What belongs here: data types of the specification (https://hl7.org/fhir/R4/datatypes.html) as Python values.
What does not: which resource holds which (``fhir_rows``, ``consent``). A partial date means its first moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

_DAYS_A_YEAR = 365.2425


def moment(value: Any) -> datetime | None:
    """Read a date, partial date, dateTime or instant as UTC; None where it is none.

    A time without a zone, which the specification does not allow, counts as UTC.
    """
    if not isinstance(value, str):
        return None
    text = value + {4: "-01-01", 7: "-01"}.get(len(value), "")
    try:
        found = datetime.fromisoformat(text)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def age_at(birth: datetime | None, at: datetime | None) -> float | None:
    """Age in years to a tenth; None where one is not known or the time lies before birth."""
    if birth is None or at is None or at < birth:
        return None
    return round((at - birth).days / _DAYS_A_YEAR, 1)


def maps(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a value that is an object, a list of them, or missing."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, Mapping):
            yield item


def texts(value: Any) -> Iterator[str]:
    """Yield the strings of a value that is a string, a list of them, or missing."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and item.strip():
            yield item.strip()


def codings(concepts: Any) -> list[Mapping[str, Any]]:
    """Give the codings of a CodeableConcept or of a list of them."""
    return [coding for concept in maps(concepts) for coding in maps(concept.get("coding"))]


def code_of(concepts: Any) -> str | None:
    """Give the first code of a CodeableConcept or of a list of them."""
    return next((str(c["code"]) for c in codings(concepts) if c.get("code")), None)


def piped(coding: Mapping[str, Any]) -> str:
    """Write a coding as ``system|code``."""
    return f"{coding.get('system', '')}|{coding.get('code', '')}"


def coded(concept: Any) -> dict[str, Any]:
    """Give the first coding of a concept as the columns ``code_system``, ``code`` and ``display``.

    A concept in words only has no code; its words may name people and are not taken over.
    """
    first: Mapping[str, Any] = next(iter(codings(concept)), {})
    return {
        "code_system": first.get("system"),
        "code": first.get("code"),
        "display": first.get("display"),
    }


def reference(value: Any) -> str:
    """Give the literal reference of a Reference, empty where it has none."""
    found = value.get("reference") if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""


def referred_id(value: str, kind: str) -> str | None:
    """Give the logical id that a literal reference to ``kind`` names.

    ``Patient/1``, ``https://server/fhir/Patient/1``, ``Patient/1/_history/2`` and ``urn:uuid:1`` name ``1``.
    """
    if value.startswith("urn:uuid:"):
        return value.removeprefix("urn:uuid:")
    parts = value.partition("/_history/")[0].split("/")
    return parts[-1] if len(parts) > 1 and parts[-2] == kind and parts[-1] else None
