"""Consent of patients: what their FHIR R4 Consent resources decide, and whose data may be used.

What belongs here: reading one Consent, and the decision over all of a patient's. What does not: leaving rows
out (``fhir``). Specification: https://hl7.org/fhir/R4/consent.html

How a Consent is read, always to the patient's side:

- Only ``active`` ones count, within ``provision.period``.
- ``provision.type`` decides; without it a ``policyRule`` of OPTIN permits and anything else denies.
- A permission with an exception (a nested denial) or with limits that this platform cannot tell apart
  (actors, actions, labels, classes, codes, single records) is *restricted*: it permits nothing here.
- A permission for purposes permits if one of them is accepted by setting.
- Of several the newest decides; one without a date is the oldest if it permits and the newest if not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from medassets.ingest.fhir_values import code_of, maps, moment

Decision = Literal["permit", "deny", "restricted"]
#: Limits of a provision that cannot be honoured row by row.
_LIMITS = ("actor", "action", "securityLabel", "class", "code", "data", "provision")
_NEVER, _ALWAYS = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Consent:
    """One Consent as it is kept; the columns of ``clinical/ehr_consents`` of the same names."""

    consent_id: str
    patient_id: str
    status: str
    decision: Decision
    recorded: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    data_start: datetime | None = None
    data_end: datetime | None = None

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Consent:
        """Take a consent back from its table."""
        return cls(**{field.name: row[field.name] for field in fields(cls)})

    def in_force(self, now: datetime) -> bool:
        """Say whether it counts at a time."""
        return self.status == "active" and (self.start or _NEVER) <= now <= (self.end or _ALWAYS)

    def covers(self, at: datetime | None) -> bool:
        """Say whether data of a time are permitted; data without a time only if the consent names no span."""
        if self.data_start is None and self.data_end is None:
            return True
        return at is not None and (self.data_start or _NEVER) <= at <= (self.data_end or _ALWAYS)


def read_consent(
    resource: Mapping[str, Any], consent_id: str, patient_id: str, purposes: Collection[str]
) -> Consent:
    """Read a valid Consent resource.

    Args:
        resource: the resource.
        consent_id: pseudonym of the resource.
        patient_id: pseudonym of the patient.
        purposes: codes of the purposes that this installation uses data for.
    """
    provision = next(maps(resource.get("provision")), {})
    period, span = (next(maps(provision.get(name)), {}) for name in ("period", "dataPeriod"))
    return Consent(
        consent_id,
        patient_id,
        str(resource["status"]),
        _decision(resource, provision, purposes),
        moment(resource.get("dateTime")),
        moment(period.get("start")),
        _end(period.get("end")),
        moment(span.get("start")),
        _end(span.get("end")),
    )


def _decision(
    resource: Mapping[str, Any], provision: Mapping[str, Any], purposes: Collection[str]
) -> Decision:
    kind = provision.get("type")
    if kind is None:
        kind = "permit" if code_of(resource.get("policyRule")) == "OPTIN" else "deny"
    if kind != "permit":
        return "deny"
    named = {str(purpose.get("code")) for purpose in maps(provision.get("purpose"))}
    if any(provision.get(limit) for limit in _LIMITS) or (named and named.isdisjoint(purposes)):
        return "restricted"
    return "permit"


def _end(value: Any) -> datetime | None:
    """A period that ends on a date ends with that day, month or year."""
    found = moment(value)
    if found is None or not isinstance(value, str) or "T" in value:
        return found
    if len(value) == 4:
        return found.replace(month=12, day=31, hour=23, minute=59, second=59)
    if len(value) == 7:
        following = found.replace(year=found.year + found.month // 12, month=found.month % 12 + 1)
        return datetime.fromtimestamp(following.timestamp() - 1, UTC)
    return found.replace(hour=23, minute=59, second=59)


class ConsentRegister:
    """The newest state of every consent, and the decision for each patient.

    Args:
        consents: consents in order of arrival; one that came again replaces its earlier state.
        now: time at which they must be in force.
    """

    def __init__(self, consents: Iterable[Consent], now: datetime) -> None:
        newest = {(consent.patient_id, consent.consent_id): consent for consent in consents}
        self._deciding: dict[str, Consent] = {}
        for consent in sorted(newest.values(), key=lambda c: (_rank(c), c.consent_id)):
            if consent.in_force(now):
                self._deciding[consent.patient_id] = consent

    def of(self, patient_id: str) -> Consent | None:
        """Give the consent that decides for a patient, None where none is in force."""
        return self._deciding.get(patient_id)


def _rank(consent: Consent) -> tuple[datetime, bool]:
    """Order consents by date; at the same date a denial comes after a permission and so wins."""
    permits = consent.decision == "permit"
    return consent.recorded or (_NEVER if permits else _ALWAYS), not permits
