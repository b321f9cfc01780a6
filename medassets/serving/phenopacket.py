"""A GA4GH phenopacket (v2, ISO 4454) as a request: observed and excluded terms, age, sex.

What belongs here: what of a phenopacket the service uses. What does not: reading cohorts of them
(``ingest``). The diagnosis that a phenopacket may hold is not used: it is what is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medassets.serving.requests import DiagnosisRequest, RequestError, parse_request

_SEXES = {"MALE": "M", "FEMALE": "F"}
PACKET_SCHEMA = {
    "type": "object",
    "description": "GA4GH phenopacket v2",
    "properties": {
        "id": {"type": "string"},
        "subject": {"type": "object", "properties": {"id": {"type": "string"}, "sex": {"type": "string"}}},
        "phenotypicFeatures": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {
                        "type": "object",
                        "required": ["id"],
                        "properties": {"id": {"type": "string"}, "label": {"type": "string"}},
                    },
                    "excluded": {"type": "boolean"},
                },
            },
        },
    },
}


def is_phenopacket(content: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a phenopacket rather than a request."""
    return "phenotypicFeatures" in content or "subject" in content or "metaData" in content


def request_of(packet: Mapping[str, Any], **more: Any) -> DiagnosisRequest:
    """The request that a phenopacket makes.

    Args:
        packet: a phenopacket's JSON object.
        more: further fields of the request, for example ``top``.

    Raises:
        RequestError: a field has the wrong form; the message names it as in the phenopacket.
    """
    problems: list[tuple[str, str]] = []
    found: dict[str, list[str]] = {"observed": [], "excluded": []}
    features = packet.get("phenotypicFeatures", [])
    if not isinstance(features, list):
        raise RequestError([("phenotypicFeatures", "must be a list")])
    for position, feature in enumerate(features):
        kind = feature.get("type") if isinstance(feature, dict) else None
        term = kind.get("id") if isinstance(kind, dict) else None
        if not isinstance(term, str):
            problems.append((f"phenotypicFeatures[{position}].type.id", "must be the id of a term"))
            continue
        excluded = feature.get("excluded", False)
        if not isinstance(excluded, bool):
            problems.append((f"phenotypicFeatures[{position}].excluded", "must be true or false"))
            continue
        # The same term may stand twice, with different onsets.
        kept = found["excluded" if excluded else "observed"]
        if term not in kept:
            kept.append(term)
    subject = packet.get("subject", {})
    if not isinstance(subject, dict):
        problems.append(("subject", "must be an object"))
        subject = {}
    if problems:
        raise RequestError(problems)
    body = {"sex": _SEXES.get(str(subject.get("sex")), "unknown"), "age": _age(subject), **found, **more}
    try:
        return parse_request(body)
    except RequestError as error:
        names = {"age": "subject.timeAtLastEncounter.age.iso8601duration"}
        renamed = ((names.get(field, _renamed(field)), message) for field, message in error.problems)
        raise RequestError(renamed) from error


def _age(subject: Mapping[str, Any]) -> Any:
    """The age at the last encounter, where one is stated."""
    time = subject.get("timeAtLastEncounter") or subject.get("ageAtCollection") or {}
    age = time.get("age", time) if isinstance(time, dict) else {}
    return age.get("iso8601duration") if isinstance(age, dict) else None


def _renamed(field: str) -> str:
    return "phenotypicFeatures" if field.startswith(("observed", "excluded", "body")) else field
