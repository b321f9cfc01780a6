"""A day's FHIR deliveries as rows: validated, consented, pseudonymized.

What belongs here: the order of things at the door. What does not: each of them (``fhir_files``,
``fhir_models``, ``fhir_rows``, ``consent``, ``redaction``, ``pseudonyms``) and where files lie (``inbox``).

Two passes: the first learns who the patients are and what refers to whom, the second makes rows, of patients
who may be used only. Identifiers leave this module as keyed pseudonyms. Everything else is reported with
file, row and field, or counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from medassets.ingest.consent import Consent, ConsentRegister, read_consent
from medassets.ingest.fhir_files import Located, Reject, resources
from medassets.ingest.fhir_models import READ, valid
from medassets.ingest.fhir_rows import Context, Row, Subject, happened, rows_of
from medassets.ingest.fhir_values import code_of, maps, moment, reference, referred_id
from medassets.ingest.inbox import Delivery
from medassets.ingest.pseudonyms import Pseudonymizer
from medassets.ingest.quarantine import IngestError, QuarantineRow
from medassets.ingest.redaction import Redactor, identifiers_of
from medassets.settings import Settings

_SEXES = {"male": "M", "female": "F"}
#: Resource type to the table that it fills and the columns that name its rows.
TABLES_OF: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Patient": ("patients", ("patient_id",)),
    "Encounter": ("encounters", ("encounter_id",)),
    "Condition": ("conditions", ("condition_id",)),
    "Observation": ("observations", ("observation_id", "component")),
    "DocumentReference": ("notes", ("note_id", "part")),
}
#: Types that other resources refer to.
_REFERRED = frozenset({"Patient", "Encounter", "Binary"})
_ERROR = "entered-in-error"


@dataclass(frozen=True)
class Policy:
    """What an installation has decided about its records.

    Attributes:
        origin: ``ehr``, or ``simulated`` where a simulator such as Synthea made the records.
        consent_required: whether a patient without a consent in force is left out.
        purposes: purposes of use (HL7 v3 PurposeOfUse) that a consent must allow if it names any.
    """

    origin: Literal["ehr", "simulated"] = "ehr"
    consent_required: bool = True
    purposes: frozenset[str] = frozenset({"HRESCH"})

    @classmethod
    def from_settings(cls, settings: Settings) -> Policy:
        """Take the installation's; records of people need consent unless a setting says otherwise."""
        wanted = settings.fhir_consent or ("required" if settings.fhir_origin == "ehr" else "not_required")
        return cls(settings.fhir_origin, wanted == "required", frozenset(settings.fhir_purposes))


@dataclass
class Records:
    """What a day's deliveries gave.

    Attributes:
        rows: table (``patients``, ``encounters``, ...) to its rows, sorted by key.
        rejected: what was set aside.
        counts: patients and resources by what became of them.
        files: label to the valid resources and the rejected values of a file.
    """

    rows: dict[str, list[Row]]
    rejected: list[QuarantineRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    files: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def failed(self) -> set[str]:
        """Labels of the files of which nothing could be used."""
        return {label for label, (used, rejected) in self.files.items() if rejected and not used}


def read_consents(
    deliveries: Sequence[Delivery], pseudonyms: Pseudonymizer, policy: Policy, reject: Reject
) -> list[tuple[Consent, Located]]:
    """Read the Consent resources of a day, in order; a consent that comes twice stands twice."""
    people = _People(deliveries, pseudonyms)
    found = []
    for delivery in deliveries:
        for located in _readable(delivery, reject, frozenset({"Consent"})):
            if not valid(located, reject):
                continue
            patient = people.owner(located.resource, "patient")
            if patient is None:
                reject(located.rejected("patient", None, "names no patient", "a reference to a Patient"))
                continue
            own = pseudonyms.pseudonym(f"Consent/{located.id}")
            consent = read_consent(located.resource, own, people.subject(patient).patient_id, policy.purposes)
            found.append((consent, located))
    return found


def read_records(
    deliveries: Sequence[Delivery],
    consents: Iterable[Consent],
    pseudonyms: Pseudonymizer,
    policy: Policy,
    now: datetime,
) -> Records:
    """Read a day's deliveries.

    Args:
        deliveries: the day's files.
        consents: every consent known, those of the deliveries included, in order of arrival.
        pseudonyms: gives the pseudonyms.
        policy: origin and consent.
        now: time at which consents must be in force.
    """
    return _Reader(deliveries, ConsentRegister(consents, now), pseudonyms, policy).read()


class _People:
    """Patients of a day's deliveries and what refers to them."""

    def __init__(self, deliveries: Sequence[Delivery], pseudonyms: Pseudonymizer) -> None:
        self._pseudonyms = pseudonyms
        self._subjects: dict[str, Subject] = {}
        self._ids: dict[str, str] = {}
        self._binaries: dict[str, Mapping[str, Any]] = {}
        for delivery in deliveries:
            for located in _readable(
                delivery, lambda row: None, frozenset({"Patient", "Encounter", "Binary"})
            ):
                self._learn(located)

    def _learn(self, located: Located) -> None:
        if located.url:
            self._ids[located.url] = located.id
        if located.kind == "Binary":
            self._binaries[located.id] = located.resource
        elif located.kind == "Patient":
            for identifier in maps(located.resource.get("identifier")):
                named = f"{identifier.get('system', '')}|{identifier.get('value', '')}"
                self._ids[f"Patient?identifier={named}"] = located.id
            redactor = Redactor(identifiers_of(located.resource))
            birth = moment(located.resource.get("birthDate"))
            self._subjects[located.id] = Subject(self._pseudonym(located.id), birth, redactor)

    def _pseudonym(self, patient: str) -> str:
        # The bare id, as the API hashes ``patient_id``: answers and records of a patient meet.
        return self._pseudonyms.pseudonym(patient)

    def owner(self, resource: Mapping[str, Any], name: str = "subject") -> str | None:
        """Give the logical id of the patient whose resource it is."""
        return self.referred(resource.get(name), "Patient")

    def referred(self, value: Any, kind: str) -> str | None:
        """Give the logical id behind a Reference."""
        literal = reference(value)
        return self._ids.get(literal) or referred_id(literal, kind)

    def subject(self, patient: str) -> Subject:
        """Give what is known of a patient."""
        return self._subjects.get(patient) or Subject(self._pseudonym(patient))

    def binary(self, url: str) -> Mapping[str, Any] | None:
        """Give a Binary of the deliveries by its reference."""
        return self._binaries.get(self._ids.get(url) or referred_id(url, "Binary") or "")


class _Reader:
    """The second pass."""

    def __init__(
        self,
        deliveries: Sequence[Delivery],
        register: ConsentRegister,
        pseudonyms: Pseudonymizer,
        policy: Policy,
    ) -> None:
        self._deliveries, self._register, self._pseudonyms, self._policy = (
            deliveries, register, pseudonyms, policy,
        )  # fmt: skip
        self._people = _People(deliveries, pseudonyms)
        self._kept: dict[str, dict[tuple[Any, ...], tuple[str, Row]]] = {n: {} for n, _ in TABLES_OF.values()}
        self._patients: dict[str, set[str]] = {}
        self._records = Records({})

    def read(self) -> Records:
        for delivery in self._deliveries:
            self._file(delivery)
        found = self._records
        for why, patients in self._patients.items():
            found.counts[f"patients: {why}"] = len(patients)
        for name, rows in self._kept.items():
            found.rows[name] = [row for _, (_, row) in sorted(rows.items(), key=lambda item: item[0])]
        return found

    def _file(self, delivery: Delivery) -> None:
        rejected: list[QuarantineRow] = []
        used = 0
        for located in _readable(delivery, rejected.append, None):
            if located.kind not in READ:
                self._records.counts[f"not read: {located.kind or 'no resource type'}"] += 1
                used += 1
            elif valid(located, rejected.append):
                used += 1
                self._resource(located, rejected.append)
        self._records.rejected += rejected
        self._records.files[delivery.label] = (used, len(rejected))

    def _resource(self, located: Located, reject: Reject) -> None:
        """Make the rows of a valid resource, if its patient may be used."""
        kind, resource = located.kind, located.resource
        if kind not in TABLES_OF:
            return
        if _ERROR in (resource.get("status"), code_of(resource.get("verificationStatus"))):
            self._records.counts[f"left out, entered in error: {kind}"] += 1
            return
        patient = located.id if kind == "Patient" else self._people.owner(resource)
        if patient is None:
            reject(located.rejected("subject", None, "names no patient", "a reference to a Patient"))
            return
        subject = self._people.subject(patient)
        consent, why = self._standing(subject.patient_id)
        self._patients.setdefault(why, set()).add(subject.patient_id)
        outside = consent is not None and kind != "Patient" and not consent.covers(happened(kind, resource))
        if why not in ("permit", "not_required") or outside:
            reason = "outside the permitted time" if outside else why
            self._records.counts[f"left out, {reason}: {kind}"] += 1
            return
        if kind == "Patient":
            self._keep(located, [_patient(resource, subject, why)])
        else:
            self._keep(located, rows_of(located, self._context(located, subject, reject)))

    def _standing(self, patient_id: str) -> tuple[Consent | None, str]:
        """Give the deciding consent of a patient, and in a word what it means here."""
        consent = self._register.of(patient_id)
        if consent is None:
            return None, "no consent" if self._policy.consent_required else "not_required"
        return consent, consent.decision

    def _context(self, located: Located, subject: Subject, reject: Reject) -> Context:
        held = located.resource.get("encounter")
        if held is None:
            held = next(maps(next(maps(located.resource.get("context")), {}).get("encounter")), None)
        encounter = self._people.referred(held, "Encounter")
        name = self._pseudonyms.pseudonym
        return Context(
            subject,
            name(f"{located.kind}/{located.id}"),
            name(f"Encounter/{encounter}") if encounter else None,
            self._people.binary,
            reject,
        )

    def _keep(self, located: Located, rows: Iterable[Row]) -> None:
        """Keep rows; of a resource that comes again the one updated last, or else the later one."""
        table, key = TABLES_OF[located.kind]
        updated = str(next(maps(located.resource.get("meta")), {}).get("lastUpdated", ""))
        for row in rows:
            place = tuple(row[name] for name in key)
            held = self._kept[table].get(place)
            if held is not None:
                self._records.counts[f"came again: {located.kind}"] += 1
            if held is None or updated >= held[0]:
                marked = {"origin": self._policy.origin, "source_file": located.file}
                self._kept[table][place] = (updated, row | marked)


def _patient(resource: Mapping[str, Any], subject: Subject, consent: str) -> Row:
    deceased = bool(resource.get("deceasedBoolean") or resource.get("deceasedDateTime"))
    return {
        "patient_id": subject.patient_id,
        "sex": _SEXES.get(str(resource.get("gender")), "unknown"),
        "birth_year": subject.birth.year if subject.birth else None,
        "deceased": deceased,
        "consent": consent,
    }


def _readable(delivery: Delivery, reject: Reject, kinds: frozenset[str] | None) -> Iterable[Located]:
    """Yield a file's resources; a file that cannot be read to its end is reported and ends there."""
    try:
        yield from resources(delivery, reject, kinds)
    except IngestError as error:
        # The message of an archive names its path, and that may name a person: the label is enough.
        reason = str(error).replace(str(delivery.path), delivery.label)
        reject(QuarantineRow("fhir", delivery.label, None, None, "file", None, reason, "a readable file"))
