"""An answer as HL7 FHIR R4: RiskAssessment, DiagnosticReport with its Observations, and their Provenance.

What belongs here: how an answer is written in FHIR's resources. What does not: reading FHIR (``fhir``).

Everything is ``preliminary``: a clinician has not looked at it. Probabilities of a RiskAssessment are
percents, as the specification has it (invariant ras-2). The Provenance names software, bundle, models,
tables and the origin of the patients that the models learned from.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from medassets.serving.crosswalk import ICD10

Form = Literal["RiskAssessment", "DiagnosticReport", "Bundle"]
#: Prefix of a disease id to the system's name in FHIR.
_DISEASES = {
    "OMIM": "http://www.omim.org",
    "ORPHA": "http://www.orpha.net",
    "MONDO": "http://purl.obolibrary.org/obo/mondo.owl",
    "DECIPHER": "https://www.deciphergenomics.org",
}
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_ROLE = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_UNITS = "http://unitsofmeasure.org"
_REASONS = 3


def as_fhir(answer: Mapping[str, Any], form: Form, subject: str | None = None) -> dict[str, Any]:
    """An answer in the form asked for.

    Args:
        answer: as ``answers.Answer``.
        form: one resource, or all in a Bundle with their Provenance.
        subject: reference to the patient, such as ``Patient/1``; ``None`` where the request had none.
    """
    if form == "RiskAssessment":
        return risk_assessment(answer, subject)
    if form == "DiagnosticReport":
        return diagnostic_report(answer, subject)
    return bundle(answer, subject)


def risk_assessment(answer: Mapping[str, Any], subject: str | None = None) -> dict[str, Any]:
    """A RiskAssessment: one prediction a candidate, with its reasons and its versions."""
    predictions = [
        {
            "outcome": _outcome(part, candidate),
            "probabilityDecimal": round(100 * candidate["probability"], 4),
            **({"rationale": rationale} if (rationale := _rationale(candidate)) else {}),
        }
        for part, candidate in _candidates(answer)
    ]
    return {
        "resourceType": "RiskAssessment",
        "id": answer["prediction_id"],
        "status": "preliminary",
        "method": {"text": f"medassets bundle {answer['versions']['bundle']}"},
        "code": {"text": "Differential of common and rare diseases, decision support"},
        "subject": _subject(subject),
        "occurrenceDateTime": answer["at"],
        **({"prediction": predictions} if predictions else {}),
        "note": [{"text": text} for text in _notes(answer)],
    }


def diagnostic_report(answer: Mapping[str, Any], subject: str | None = None) -> dict[str, Any]:
    """A DiagnosticReport with one contained Observation a differential, one component a candidate."""
    observations = [
        _observation(part, answer, subject) for part in ("rare", "common") if answer[part] is not None
    ]
    return {
        "resourceType": "DiagnosticReport",
        "id": answer["prediction_id"],
        **({"contained": observations} if observations else {}),
        "status": "preliminary",
        "code": {"text": "Differential of common and rare diseases, decision support"},
        "subject": _subject(subject),
        "effectiveDateTime": answer["at"],
        "issued": answer["at"],
        **({"result": [{"reference": f"#{o['id']}"} for o in observations]} if observations else {}),
        "conclusion": " ".join(_notes(answer)),
    }


def provenance(answer: Mapping[str, Any], targets: Sequence[str]) -> dict[str, Any]:
    """Where an answer comes from: software, bundle, models, tables, origin of the patients learned from.

    Args:
        answer: as ``answers.Answer``.
        targets: references to the resources that state it.
    """
    versions = answer["versions"]
    sources = [("bundle", versions["bundle"], "serving bundle")]
    sources += [("model", f"{name}/{version}", "model") for name, version in versions["models"].items()]
    sources += [
        ("table", name if version is None else f"{name}@{version}", "table")
        for name, version in versions["data"].items()
    ]
    sources += [
        ("origin", origin, f"origin of the patients that the {part} part learned from")
        for part, origins in answer["training_origin"].items()
        for origin in origins
    ]
    return {
        "resourceType": "Provenance",
        "id": f"{answer['prediction_id']}-provenance",
        "target": [{"reference": target} for target in targets],
        "occurredDateTime": answer["at"],
        "recorded": answer["at"],
        "activity": {"text": "computed as decision support; not reviewed by a clinician"},
        "agent": [
            {
                "type": {"coding": [{"system": _ROLE, "code": "assembler", "display": "Assembler"}]},
                "who": {
                    "type": "Device",
                    "identifier": {"system": "urn:medassets:bento", "value": versions["bento"]},
                    "display": "medassets diagnosis service",
                },
            }
        ],
        "entity": [
            {
                "role": "source",
                "what": {
                    "identifier": {"system": f"urn:medassets:{kind}", "value": value},
                    "display": f"{label} {value}",
                },
            }
            for kind, value, label in sources
        ],
    }


def bundle(answer: Mapping[str, Any], subject: str | None = None) -> dict[str, Any]:
    """A collection Bundle: RiskAssessment, DiagnosticReport, and the Provenance of both."""
    resources = [risk_assessment(answer, subject), diagnostic_report(answer, subject)]
    urls = [_url(answer, resource["resourceType"]) for resource in resources]
    resources.append(provenance(answer, urls))
    urls.append(_url(answer, "Provenance"))
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": answer["at"],
        "entry": [
            {"fullUrl": url, "resource": resource} for url, resource in zip(urls, resources, strict=True)
        ],
    }


def _observation(part: str, answer: Mapping[str, Any], subject: str | None) -> dict[str, Any]:
    section = answer[part]
    components = [
        {
            "code": _outcome(part, candidate),
            "valueQuantity": {
                "value": round(100 * candidate["probability"], 4), "unit": "%", "system": _UNITS, "code": "%",
            },
        }
        for candidate in section["candidates"]
    ]  # fmt: skip
    observation = {
        "resourceType": "Observation",
        "id": part,
        "status": "preliminary",
        "code": {"text": f"Differential of {part} diseases: probability of each candidate"},
        "subject": _subject(subject),
        "effectiveDateTime": answer["at"],
        "interpretation": [{"text": f"confidence: {section['confidence']}"}],
    }
    if components:
        return observation | {"component": components}
    return observation | {"dataAbsentReason": {"coding": [{"system": _ABSENT, "code": "not-performed"}]}}


def _candidates(answer: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (part, candidate)
        for part in ("rare", "common")
        for candidate in (answer[part] or {}).get("candidates", [])
    ]


def _outcome(part: str, candidate: Mapping[str, Any]) -> dict[str, Any]:
    """The disease as a CodeableConcept."""
    if part == "common":
        code = candidate["icd10"]
        name = candidate["condition"]
        coding = {"system": ICD10, "code": code, "display": name} if code else None
    else:
        name = candidate["name"]
        prefix, _, code = candidate["disease_id"].partition(":")
        system = _DISEASES.get(prefix)
        coding = {
            "system": system or "urn:medassets:disease",
            "code": code if system else prefix,
            "display": name,
        }
        if prefix == "MONDO":
            coding["code"] = candidate["disease_id"]
    return {"text": name} | ({"coding": [coding]} if coding else {})


def _rationale(candidate: Mapping[str, Any]) -> str:
    """The strongest reasons for and against, in words."""
    said = []
    for direction in ("for", "against"):
        labels = [r["label"] for r in candidate.get("explanation", []) if r.get("direction") == direction]
        if labels:
            said.append(f"{direction}: {', '.join(labels[:_REASONS])}")
    return "; ".join(said)


def _notes(answer: Mapping[str, Any]) -> list[str]:
    """Notice, abstentions, what is missing, and the origin of what was learned."""
    notes = [answer["notice"]]
    for part in ("rare", "common"):
        section = answer[part]
        if section is not None and section["abstain"]:
            notes.append(f"No known {part} disease fits well: {section['reason']}.")
        origins = answer["training_origin"].get(part)
        if origins:
            notes.append(f"The {part} part learned from patients of origin {', '.join(origins)}.")
    notes += [f"No {part} differential: {reason}." for part, reason in answer["not_answered"].items()]
    # Answers kept by earlier versions do not say what was not used.
    if unused := sum(entry["count"] for entry in answer.get("unmapped", ())):
        notes.append(f"{unused} recorded statements were not used.")
    return notes


def _subject(subject: str | None) -> dict[str, str]:
    return {"reference": subject} if subject else {"display": "the patient of the request"}


def _url(answer: Mapping[str, Any], name: str) -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.UUID(answer['prediction_id']), name)}"
