"""One symptom or device event: its declared form, and reading a message as one.

What belongs here: the event's schema, parsing and the reasons for setting a message aside. What does not:
where messages come from (``kafka``, ``spool``) and where they go (``pipeline``). A message is a JSON object
with the fields of ``FIELDS``; unknown fields are ignored, so that a device may say more.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from medassets.ingest.quarantine import QuarantineRow, excerpt

#: What a finding may be said to be.
STATES = ("present", "absent", "unknown")
#: Where an event may come from; only a simulation may say that it is one, and it must.
ORIGINS = ("device", "patient_reported", "simulated")
_PSEUDONYM = re.compile(r"ps_[0-9a-f]{8,64}")
_CODE = re.compile(r"HP:\d{7}|E_\d{1,4}|LOINC:\d{1,7}-\d")
#: A site is a partition of the graph, so its name is a plain one.
_SITE = re.compile(r"(?=.{1,64}\Z)\w+(?:[ .-]\w+)*")
_SITE_RULE = "1 to 64 letters and digits, with single blanks, points or hyphens between them"
_LONGEST = 128
_LARGEST = 1e15
#: Lone surrogates, which JSON can spell, are no text in UTF-8.
_UTF8 = re.compile(r"[^\ud800-\udfff]*").fullmatch


def _column(name: str, kind: pa.DataType, description: str, required: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=not required, metadata={"description": description})


_TIME = pa.timestamp("us", tz="UTC")
#: Columns of ``clinical/symptom_events``.
EVENT_SCHEMA = pa.schema(
    [
        _column("event_id", pa.string(), "id that the sender gave the event, unique over all senders"),
        _column("patient", pa.string(), "pseudonym of the patient, ps_ and hexadecimal digits"),
        _column("code", pa.string(), "HPO term, evidence (E_91) or measurement (LOINC:8867-4)"),
        _column("state", pa.string(), "present, absent or unknown"),
        _column("value", pa.float64(), "measured value", required=False),
        _column("unit", pa.string(), "unit of the value", required=False),
        _column("event_time", _TIME, "when it was observed"),
        _column("received_at", _TIME, "when the broker took it (Kafka) or the spool did (MQTT)"),
        _column("late", pa.bool_(), "whether it arrived after its own day"),
        _column("device", pa.string(), "device or form that observed it", required=False),
        _column("site", pa.string(), "site that sent it"),
        _column("origin", pa.string(), "device, patient_reported or simulated"),
        _column("log", pa.string(), "Kafka partition or spool that it was read from"),
        _column("log_offset", pa.int64(), "its number in that log"),
        _column("event_day", pa.date32(), "UTC day of event_time; the table's partition"),
    ]
)
_NAMES = tuple(EVENT_SCHEMA.names)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as a log holds it.

    Attributes:
        log: name of the log.
        offset: its number there.
        payload: bytes as sent.
        received_us: when it was taken in, microseconds since 1970 in UTC.
    """

    log: str
    offset: int
    payload: bytes
    received_us: int


@dataclass(frozen=True)
class Rules:
    """What an event must hold to.

    Attributes:
        oldest: an event older than this on arrival is set aside.
        ahead: how far a clock may run ahead.
        pseudonym: makes a pseudonym of a patient's identifier; without it only pseudonyms are taken.
    """

    oldest: timedelta = timedelta(days=366)
    ahead: timedelta = timedelta(minutes=5)
    pseudonym: Callable[[str], str] | None = None


class EventError(ValueError):
    """A message is no event.

    Attributes:
        field: the field that is wrong; ``message`` where there is no field yet.
        value: what stood there; ``None`` where it may name a patient.
        reason: why it is wrong.
        allowed: what would be right.
    """

    def __init__(self, field: str, value: object, reason: str, allowed: str) -> None:
        super().__init__(f"{field}: {reason} (allowed: {allowed})")
        self.field, self.reason, self.allowed = field, reason, allowed
        # A lone surrogate is no text that a table can hold.
        shown = None if value is None else excerpt(value)[:200].encode(errors="replace").decode()
        self.value = shown


def read_event(message: Message, rules: Rules) -> tuple[Any, ...]:
    """Read a message as one row of ``EVENT_SCHEMA``.

    Raises:
        EventError: the first field that is wrong.
    """
    try:
        found = json.loads(message.payload)
    except (ValueError, RecursionError) as error:
        raise EventError("message", None, "is not JSON", "one JSON object in UTF-8") from error
    if not isinstance(found, dict):
        raise EventError("message", None, f"is a {type(found).__name__}", "one JSON object")
    code, state, origin = found.get("code"), found.get("state", "present"), found.get("origin")
    site = found.get("site")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise EventError("code", code, "is no known kind of code", "HP:0001250, E_91 or LOINC:8867-4")
    if state not in STATES:
        raise EventError("state", state, "is not a state", ", ".join(STATES))
    if origin not in ORIGINS:
        raise EventError("origin", origin, "is not an origin", ", ".join(ORIGINS))
    if not isinstance(site, str) or not _SITE.fullmatch(site):
        raise EventError("site", site, "is no name of a site", _SITE_RULE)
    observed, late = _observed(found.get("event_time"), message.received_us, rules)
    return (
        _text(found, "event_id"),
        _patient(found.get("patient"), rules),
        code,
        state,
        _number(found.get("value")),
        _text(found, "unit", required=False),
        observed,
        message.received_us,
        late,
        _text(found, "device", required=False),
        site,
        origin,
        message.log,
        message.offset,
        observed // _DAY_US,
    )


def set_aside(message: Message, error: EventError, source: str) -> QuarantineRow:
    """Describe a message that is no event; what may name a patient is not copied, only its digest."""
    digest = hashlib.sha256(message.payload).hexdigest()
    return QuarantineRow(
        source=source,
        source_file=message.log,
        row=message.offset,
        record_id=f"sha256:{digest}",
        field=error.field,
        value=error.value,
        reason=error.reason,
        allowed=error.allowed,
        raw=f"{len(message.payload)} bytes",
    )


def event_table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Put rows of ``read_event`` into columns."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in _NAMES)
    arrays = [
        pa.array(values, type=_STORED.get(field.type, field.type)).cast(field.type)
        for field, values in zip(EVENT_SCHEMA, columns, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Times and days are carried as whole numbers until they are columns.
_STORED = {_TIME: pa.int64(), pa.date32(): pa.int32()}
_MICROSECOND = timedelta(microseconds=1)


def _observed(value: object, received_us: int, rules: Rules) -> tuple[int, bool]:
    """Give the time of an event in microseconds, and whether it arrived after its own day."""
    if not isinstance(value, str):
        raise EventError("event_time", value, "is not a text", "ISO 8601 with an offset")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise EventError("event_time", value, "is no time", "ISO 8601 with an offset") from error
    if moment.tzinfo is None:
        raise EventError("event_time", value, "has no offset from UTC", "2026-03-01T08:15:00+01:00")
    found = (moment - _EPOCH) // _MICROSECOND
    if found > received_us + rules.ahead // _MICROSECOND:
        raise EventError("event_time", value, "lies in the future", f"at most {rules.ahead} ahead")
    if found < received_us - rules.oldest // _MICROSECOND:
        raise EventError("event_time", value, "lies too far back", f"at most {rules.oldest.days} days")
    return found, found // _DAY_US < received_us // _DAY_US


def _patient(value: object, rules: Rules) -> str:
    """Give the pseudonym; an identifier is never repeated in an error."""
    if isinstance(value, str) and _PSEUDONYM.fullmatch(value):
        return value
    if isinstance(value, str) and value.strip() and rules.pseudonym is not None:
        return rules.pseudonym(value)
    raise EventError("patient", None, "is no pseudonym", "ps_ and hexadecimal digits")


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        raise EventError("value", value, "is not a number", f"a number up to {_LARGEST:g}")
    return float(value)


def _text(found: dict[str, Any], name: str, *, required: bool = True) -> str | None:
    value = found.get(name)
    if value is None and not required:
        return None
    if not isinstance(value, str) or not value or len(value) > _LONGEST or not _UTF8(value):
        raise EventError(name, value, "is not a short text", f"1 to {_LONGEST} characters")
    return value
