"""FHIR R4 resources as rows: what is kept of an Encounter, a Condition, an Observation and a document.

What belongs here: from one valid resource to rows with the columns of ``clinical/ehr_*``. What does not:
validity (``fhir_models``), consent, and whose resource it is (``fhir``). Specification:
https://hl7.org/fhir/R4/resourcelist.html. Words that people typed (``text``, ``display`` of references) are
not taken over, but for notes and values in words, which are cleaned.
"""

from __future__ import annotations

import base64
import binascii
import html
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from medassets.ingest.fhir_files import Located, Reject
from medassets.ingest.fhir_values import age_at, code_of, coded, codings, maps, moment, piped
from medassets.ingest.redaction import Redactor, displays_of

Row = dict[str, Any]
_TEXT_TYPES = ("text/plain", "text/html")
_TAGS = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.DOTALL | re.IGNORECASE)
#: Fields with which a resource says when it happened, the most exact first.
_TIMES: Mapping[str, tuple[str, ...]] = {
    "Encounter": ("period.start",),
    "Condition": ("onsetDateTime", "onsetPeriod.start", "recordedDate"),
    "Observation": ("effectiveDateTime", "effectivePeriod.start", "effectiveInstant", "issued"),
    "DocumentReference": ("date", "context.period.start"),
}


@dataclass(frozen=True)
class Subject:
    """The patient of a resource, as far as the delivery tells.

    Attributes:
        patient_id: pseudonym.
        birth: date of birth.
        redactor: removes the patient's identifiers; None where the delivery holds no Patient resource.
    """

    patient_id: str
    birth: datetime | None = None
    redactor: Redactor | None = None


@dataclass(frozen=True)
class Context:
    """What a row needs beside its resource.

    Attributes:
        subject: whose it is.
        own_id: pseudonym of the resource.
        encounter_id: pseudonym of its encounter.
        binary: gives the content type and base64 data of a Binary of the delivery by its reference.
        reject: told of what cannot be used.
    """

    subject: Subject
    own_id: str
    encounter_id: str | None
    binary: Callable[[str], Mapping[str, Any] | None]
    reject: Reject


def happened(kind: str, resource: Mapping[str, Any]) -> datetime | None:
    """Say when a resource happened."""
    for path in _TIMES.get(kind, ()):
        value: Any = resource
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if (found := moment(value)) is not None:
            return found
    return None


def rows_of(located: Located, at: Context) -> Iterator[Row]:
    """Yield the rows of a valid Encounter, Condition, Observation or DocumentReference."""
    time = happened(located.kind, located.resource)
    common = {"patient_id": at.subject.patient_id, "age": age_at(at.subject.birth, time)}
    for row in _ROWS[located.kind](located, at):
        yield common | row


def _encounter(located: Located, at: Context) -> Iterator[Row]:
    found = located.resource
    period = next(maps(found.get("period")), {})
    yield {
        "encounter_id": at.own_id,
        "status": found["status"],
        "class_code": str(found["class"].get("code", "unknown")),
        **coded(next(maps(found.get("type")), None)),
        "reasons": [piped(coding) for coding in codings(found.get("reasonCode"))],
        "start": moment(period.get("start")),
        "end": moment(period.get("end")),
    }


def _condition(located: Located, at: Context) -> Iterator[Row]:
    found = located.resource
    if not codings(found.get("code")):
        at.reject(located.rejected("code", None, "the condition is not coded", "a coding"))
        return
    yield {
        "condition_id": at.own_id,
        "encounter_id": at.encounter_id,
        **coded(found["code"]),
        "codings": [piped(coding) for coding in codings(found["code"])],
        "clinical_status": code_of(found.get("clinicalStatus")),
        "verification_status": code_of(found.get("verificationStatus")),
        "onset": moment(found.get("onsetDateTime") or next(maps(found.get("onsetPeriod")), {}).get("start")),
        "abatement": moment(found.get("abatementDateTime")),
        "recorded": moment(found.get("recordedDate")),
    }


def _observation(located: Located, at: Context) -> Iterator[Row]:
    found = located.resource
    for number, part in enumerate([found, *maps(found.get("component"))]):
        field = f"component[{number - 1}]." if number else ""
        if not codings(part.get("code")):
            at.reject(located.rejected(f"{field}code", None, "the observation is not coded", "a coding"))
            continue
        yield {
            "observation_id": at.own_id,
            "component": number,
            "encounter_id": at.encounter_id,
            "status": found["status"],
            "category": code_of(found.get("category")),
            **coded(part["code"]),
            "codings": [piped(coding) for coding in codings(part["code"])],
            "effective": happened("Observation", found),
            "interpretation": code_of(part.get("interpretation")),
            **_value(part, field, located, at),
        }


def _value(part: Mapping[str, Any], field: str, located: Located, at: Context) -> Row:
    """Give the value columns of an observation or component; a value of another type is reported."""
    quantity = next(maps(part.get("valueQuantity")), None)
    if quantity is not None and quantity.get("value") is not None:
        value = float(quantity["value"])
        if not math.isfinite(value):
            at.reject(located.rejected(f"{field}valueQuantity.value", None, "too large", "a number"))
            return {}
        return {"value": value, "unit": quantity.get("code") or quantity.get("unit")}
    for name in ("valueInteger", "valueBoolean"):
        if part.get(name) is not None:
            return {"value": float(part[name]), "unit": "boolean" if name == "valueBoolean" else None}
    if concept := codings(part.get("valueCodeableConcept")):
        return {"value_code": piped(concept[0])}
    if isinstance(text := part.get("valueString"), str):
        if at.subject.redactor is None:
            at.reject(located.rejected(f"{field}valueString", None, *_UNKNOWN_PERSON))
            return {}
        return {"value_text": at.subject.redactor.clean(text)[0]}
    other = next((name for name in part if name.startswith("value")), None)
    if other is not None:
        at.reject(
            located.rejected(
                f"{field}{other}",
                None,
                "values of this type are not read",
                "Quantity, integer, boolean, string, coding",
            )
        )
    return {}


_UNKNOWN_PERSON = (
    "the delivery has no Patient resource, so names in the text could not be removed",
    "a text delivered together with its Patient",
)


def _document(located: Located, at: Context) -> Iterator[Row]:
    found = located.resource
    redactor = at.subject.redactor
    if redactor is None:
        at.reject(located.rejected("content", None, *_UNKNOWN_PERSON))
        return
    for number, content in enumerate(maps(found.get("content"))):
        attachment = next(maps(content.get("attachment")), {})
        field = f"content[{number}].attachment"
        language = str(attachment.get("language") or found.get("language") or "en").lower()[:2]
        if language not in ("en", "es"):
            shown = located.rejected(f"{field}.language", language, "the language is not read", "en, es")
            at.reject(shown)
            continue
        text = _text(attachment, field, located, at)
        if text is None:
            continue
        cleaned, removed = redactor.clean(text)
        if named := list(displays_of(found)):
            cleaned, others = Redactor(named).clean(cleaned)
            removed += others
        yield {
            "note_id": at.own_id,
            "part": number,
            "encounter_id": at.encounter_id,
            "status": found["status"],
            **coded(found.get("type")),
            "date": happened("DocumentReference", found),
            "language": language,
            "text": cleaned,
            "removed": removed,
        }


def _text(attachment: Mapping[str, Any], field: str, located: Located, at: Context) -> str | None:
    """Give an attachment's text, from itself or the delivery's Binary; None, reported, where it has none."""
    data, kind = attachment.get("data"), str(attachment.get("contentType", "text/plain"))
    if data is None:
        held = at.binary(str(attachment.get("url", "")))
        if held is None:
            reason = "the attachment has no data and no Binary of the delivery"
            at.reject(located.rejected(f"{field}.url", None, reason, "data, or a Binary delivered with it"))
            return None
        data, kind = held.get("data", ""), str(held.get("contentType", kind))
    mime, _, parameters = kind.partition(";")
    if mime.strip().lower() not in _TEXT_TYPES:
        shown = located.rejected(
            f"{field}.contentType", mime[:60], "not a type that is read", ", ".join(_TEXT_TYPES)
        )
        at.reject(shown)
        return None
    charset = parameters.partition("charset=")[2].strip(" \"'") or "utf-8"
    try:
        text = base64.b64decode(data, validate=True).decode(charset)
    except (binascii.Error, UnicodeDecodeError, LookupError, ValueError) as error:
        reason = f"cannot be decoded: {type(error).__name__}"
        at.reject(located.rejected(f"{field}.data", None, reason, f"base64 of text in {charset}"))
        return None
    return html.unescape(_TAGS.sub(" ", text)) if mime.strip().lower() == "text/html" else text


_ROWS: Mapping[str, Callable[[Located, Context], Iterator[Row]]] = {
    "Encounter": _encounter,
    "Condition": _condition,
    "Observation": _observation,
    "DocumentReference": _document,
}
