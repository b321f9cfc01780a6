"""Small FHIR R4 resources and files, as the tests of the door need them."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path

from medassets.ingest.inbox import Delivery
from medassets.ingest.pseudonyms import Pseudonymizer

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PSEUDONYMS = Pseudonymizer(b"k" * 32)


def patient(number: str = "p1", **more) -> dict:
    return {
        "resourceType": "Patient",
        "id": number,
        "name": [{"family": "Quillfeather", "given": ["Ottoline", "B"]}],
        "telecom": [{"system": "phone", "value": "555-010-7788"}],
        "address": [{"line": ["12 Larkspur Mews"], "city": "Brindleton", "postalCode": "99881"}],
        "identifier": [{"system": "http://hospital.example/mrn", "value": "MRN-4471"}],
        "gender": "female",
        "birthDate": "1990-05-04",
    } | more


def consent(number: str = "c1", patient: str = "p1", kind: str | None = "permit", **more) -> dict:
    provision = {"provision": {"type": kind}} if kind else {}
    return (
        {
            "resourceType": "Consent",
            "id": number,
            "status": "active",
            "scope": {"coding": [{"code": "patient-privacy"}]},
            "category": [{"coding": [{"code": "59284-0"}]}],
            "patient": {"reference": f"Patient/{patient}"},
            "dateTime": "2026-01-01",
            "policyRule": {"coding": [{"code": "OPTOUT"}]},
        }
        | provision
        | more
    )


def encounter(number: str = "e1", patient: str = "p1", **more) -> dict:
    return {
        "resourceType": "Encounter",
        "id": number,
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": f"Patient/{patient}", "display": "Mrs. Ottoline Quillfeather"},
        "period": {"start": "2026-02-01T08:00:00+01:00", "end": "2026-02-01T09:00:00+01:00"},
    } | more


def condition(number: str = "d1", patient: str = "p1", **more) -> dict:
    return {
        "resourceType": "Condition",
        "id": number,
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "91302008", "display": "Sepsis"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "encounter": {"reference": "Encounter/e1"},
        "onsetDateTime": "2026-02",
    } | more


def observation(number: str = "o1", patient: str = "p1", **more) -> dict:
    return {
        "resourceType": "Observation",
        "id": number,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2", "display": "Body Height"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": "2026-02-01T08:05:00Z",
        "valueQuantity": {"value": 175.5, "unit": "cm", "code": "cm"},
    } | more


def note(text: str, number: str = "n1", patient: str = "p1", **more) -> dict:
    data = base64.b64encode(text.encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "id": number,
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "34117-2"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "date": "2026-02-01T09:00:00Z",
        "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": data}}],
    } | more


def bundle(*resources: dict, urls: bool = False) -> bytes:
    entries = [{"resource": r, **({"fullUrl": f"urn:uuid:{r['id']}"} if urls else {})} for r in resources]
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entries}).encode()


def ndjson(*resources: dict) -> bytes:
    return b"".join(json.dumps(resource).encode() + b"\n" for resource in resources)


def delivered(folder: Path, content: bytes, name: str = "delivery.json") -> Delivery:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return Delivery.of(path)
