"""HL7 FHIR R4 in and out: a Bundle as a request, an answer as a RiskAssessment.

What belongs here: which resources say what of a patient's findings, and how an answer is written. What does
not: the meaning of codes (``crosswalk``) and transport (``http``).

Conditions count as observed, refuted ones as excluded; Observations count where their value says yes or no.
What could not be mapped is listed with its code, never dropped in silence. Free text and names are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from medassets.serving.crosswalk import CodeMap
from medassets.serving.requests import DiagnosisRequest, RequestError, parse_request

_SEXES = {"female": "F", "male": "M"}
_ICD10, _OMIM = "http://hl7.org/fhir/sid/icd-10", "https://omim.org"


@dataclass
class Read:
    """A Bundle as read: the request, and what could not be mapped."""

    request: DiagnosisRequest
    unmapped: list[dict[str, str]]


@dataclass
class _Findings:
    observed: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    unmapped: list[dict[str, str]] = field(default_factory=list)


def read_bundle(bundle: Mapping[str, Any], codes: CodeMap, **more: Any) -> Read:
    """Read a FHIR Bundle of one patient.

    Args:
        bundle: a Bundle resource.
        codes: from codes to HPO terms.
        more: further fields of the request, for example ``top``.

    Raises:
        RequestError: not a Bundle, more than one patient, or a field has the wrong form.
    """
    if bundle.get("resourceType") != "Bundle" or not isinstance(bundle.get("entry", []), list):
        raise RequestError([("resourceType", "must be Bundle, with a list of entries")])
    resources = [
        (f"entry[{i}].resource", entry["resource"])
        for i, entry in enumerate(bundle.get("entry", []))
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict)
    ]
    patients = [
        (place, resource) for place, resource in resources if resource.get("resourceType") == "Patient"
    ]
    if len(patients) > 1:
        raise RequestError([(patients[1][0], "a second patient: a request is about one")])
    found = _Findings()
    for place, resource in resources:
        if resource.get("resourceType") == "Condition":
            _finding(place, resource, not _has_code(resource, "verificationStatus", "refuted"), codes, found)
        elif resource.get("resourceType") == "Observation":
            _finding(place, resource, _said(resource), codes, found)
        elif resource.get("resourceType") == "QuestionnaireResponse":
            for number, item in enumerate(_items(resource)):
                _answer(f"{place}.item[{number}]", item, codes, found)
    patient = patients[0][1] if patients else {}
    # What is recorded as both stays with the doctor: neither is taken.
    both = set(found.observed) & set(found.excluded)
    found.unmapped += [
        {"field": "entry", "code": term, "reason": "both stated and refuted"} for term in sorted(both)
    ]
    body = {
        "sex": _SEXES.get(str(patient.get("gender")), "unknown"),
        "age": _age(patient, bundle),
        "observed": [term for term in dict.fromkeys(found.observed) if term not in both],
        "excluded": [term for term in dict.fromkeys(found.excluded) if term not in both],
    }
    return Read(parse_request(body | more), found.unmapped)


def risk_assessment(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer as a FHIR RiskAssessment: one prediction a candidate, with its basis and its versions."""
    predictions = []
    for part in ("rare", "common"):
        for candidate in (answer[part] or {}).get("candidates", []):
            rare = part == "rare"
            name = candidate["name"] if rare else candidate["condition"]
            code = candidate["disease_id"] if rare else candidate["icd10"]
            coding = {"system": _OMIM if rare else _ICD10, "code": code, "display": name}
            if rare and not code.startswith("OMIM:"):
                coding["system"] = (
                    "https://www.orpha.net" if code.startswith("ORPHA:") else "urn:medassets:disease"
                )
            predictions.append(
                {
                    "outcome": {"coding": [coding], "text": name},
                    "probabilityDecimal": candidate["probability"],
                }
            )
    return {
        "resourceType": "RiskAssessment",
        "id": answer["prediction_id"],
        "status": "preliminary",
        "method": {"text": f"medassets bundle {answer['versions']['bundle']}"},
        "subject": {"display": "the patient of the request"},
        "occurrenceDateTime": answer["at"],
        "prediction": predictions,
        "note": [{"text": answer["notice"]}],
    }


def _finding(
    place: str, resource: Mapping[str, Any], present: bool | None, codes: CodeMap, found: _Findings
) -> None:
    """File a coded statement; ``present`` is ``None`` where its value says neither yes nor no."""
    code = resource.get("code")
    codings = code.get("coding", []) if isinstance(code, dict) else []
    term = next((hpo for hpo in (codes.hpo(*pair) for pair in _pairs(codings)) if hpo), None)
    if term is not None and present is not None:
        (found.observed if present else found.excluded).append(term)
        return
    reason = "the code has no HPO term here" if term is None else "the value says neither yes nor no"
    shown = next((f"{system}|{value}" for system, value in _pairs(codings)), "no code")
    found.unmapped.append({"field": f"{place}.code", "code": shown, "reason": reason})


def _answer(place: str, item: Mapping[str, Any], codes: CodeMap, found: _Findings) -> None:
    for answer in item.get("answer", []) if isinstance(item.get("answer"), list) else []:
        if isinstance(answer, dict) and isinstance(answer.get("valueCoding"), dict):
            _finding(place, {"code": {"coding": [answer["valueCoding"]]}}, True, codes, found)
        elif isinstance(answer, dict) and isinstance(answer.get("valueBoolean"), bool):
            system, _, code = str(item.get("linkId", "")).rpartition("|")
            _finding(
                place,
                {"code": {"coding": [{"system": system, "code": code}]}},
                answer["valueBoolean"],
                codes,
                found,
            )
        else:
            found.unmapped.append({"field": place, "code": "no code", "reason": "the answer is not coded"})


def _items(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for item in resource.get("item", []) if isinstance(resource.get("item"), list) else []:
        if isinstance(item, dict):
            yield item
            yield from _items(item)


def _said(observation: Mapping[str, Any]) -> bool | None:
    """Whether an Observation states its code: a true or false, a coded yes or no, or no value."""
    value = observation.get("valueBoolean")
    if isinstance(value, bool):
        return value
    coded = {
        code for name in ("valueCodeableConcept", "interpretation") for code in _codes(observation.get(name))
    }
    if coded & {"373067005", "260385009", "NEG", "ND", "N", "no"}:
        return False
    if coded & {"373066001", "10828004", "52101004", "POS", "DET", "A", "yes"}:
        return True
    return None if any(name.startswith("value") for name in observation) or coded else True


def _has_code(resource: Mapping[str, Any], name: str, code: str) -> bool:
    return code in _codes(resource.get(name))


def _codes(concept: Any) -> set[str]:
    concepts = concept if isinstance(concept, list) else [concept]
    return {code for c in concepts if isinstance(c, dict) for _, code in _pairs(c.get("coding", []))}


def _pairs(codings: Any) -> list[tuple[str, str]]:
    return [
        (str(coding.get("system", "")), str(coding.get("code", "")))
        for coding in (codings if isinstance(codings, list) else [])
        if isinstance(coding, dict)
    ]


def _age(patient: Mapping[str, Any], bundle: Mapping[str, Any]) -> str | None:
    """Age at the Bundle's own time, or today, as an ISO 8601 duration."""
    born = patient.get("birthDate")
    if born is None:
        return None
    try:
        birth = date.fromisoformat(str(born))
        at = (
            datetime.fromisoformat(bundle["timestamp"]).date()
            if "timestamp" in bundle
            else datetime.now(UTC).date()
        )
    except (ValueError, TypeError):
        raise RequestError([("Patient.birthDate", "must be a full date, YYYY-MM-DD")]) from None
    if at < birth:
        raise RequestError([("Patient.birthDate", "lies after the Bundle's time")])
    return f"P{(at - birth).days}D"
