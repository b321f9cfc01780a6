"""CDS Hooks 2.0: the differential as cards in the hospital's own record system.

What belongs here: discovery, the cards, feedback to them. What does not: reading FHIR (``fhir``) and
answering. Specification: https://cds-hooks.hl7.org/2.0/ (summary under 140 characters, indicator, source,
links, feedback).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from medassets.serving.fhir import Read
from medassets.serving.requests import RequestError

SERVICE = "medassets-differential"
ENCOUNTER_SERVICE = "medassets-differential-encounter"
MAX_SUMMARY = 139
_SHOWN = 5
#: Most urgent severity of DDXPlus's scale; such a candidate makes the card a warning.
_SEVERE = 2
PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "conditions": "Condition?patient={{context.patientId}}",
    "observations": "Observation?patient={{context.patientId}}",
}
SERVICES = [
    {
        "id": name,
        "hook": hook,
        "title": "Differential of common and rare diseases",
        "description": "Ranks diseases that fit the recorded findings, with reasons. Decision support only.",
        "prefetch": PREFETCH,
    }
    for name, hook in ((SERVICE, "patient-view"), (ENCOUNTER_SERVICE, "encounter-start"))
]


class HookRequest(BaseModel):
    """What the record system sends."""

    # The specification lets systems send more (fhirServer, fhirAuthorization, extension); none of it is used.
    model_config = ConfigDict(extra="ignore")

    hook: str = Field(min_length=1, max_length=100)
    hook_instance: str = Field(alias="hookInstance", min_length=1, max_length=100)
    context: dict[str, Any]
    prefetch: dict[str, Any] = {}


class CardFeedback(BaseModel):
    """What became of a card."""

    model_config = ConfigDict(extra="ignore")

    card: str = Field(min_length=1, max_length=100)
    outcome: Literal["accepted", "overridden"]
    outcome_timestamp: str = Field(alias="outcomeTimestamp", max_length=40)


class CardFeedbacks(BaseModel):
    """The body of the feedback endpoint."""

    model_config = ConfigDict(extra="ignore")

    feedback: list[CardFeedback] = Field(min_length=1, max_length=100)


def prefetched_bundle(request: HookRequest) -> dict[str, Any]:
    """The prefetched resources as one FHIR Bundle.

    Raises:
        RequestError: no prefetch: this service does not call back into the record system.
    """
    if not request.prefetch:
        raise RequestError([("prefetch", "is needed: this service does not fetch from the record system")])
    entries: list[dict[str, Any]] = []
    for value in request.prefetch.values():
        if not isinstance(value, dict):
            continue
        if value.get("resourceType") == "Bundle":
            entries += [entry for entry in value.get("entry") or [] if isinstance(entry, dict)]
        else:
            entries.append({"resource": value})
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def cards(answer: Mapping[str, Any], read: Read, page: str) -> list[dict[str, Any]]:
    """The cards of an answer: one for each differential, with its candidates and reasons.

    Args:
        answer: as ``answers.Answer``.
        read: what was read, for the findings that could not be mapped.
        page: address of the full answer.
    """
    made = []
    for part in ("rare", "common"):
        section = answer[part]
        if section is None or not section["candidates"]:
            continue
        best = section["candidates"][0]
        name = best["name"] if part == "rare" else best["condition"]
        lead = f"{part.capitalize()} diseases to consider: {name}, {best['probability']:.0%}"
        if section["abstain"]:
            lead = f"No known {part} disease fits well; closest: {name}"
        severe = any(
            (c.get("severity") or 9) <= _SEVERE and c["probability"] >= 0.1 for c in section["candidates"]
        )
        made.append(
            {
                "uuid": f"{answer['prediction_id']}-{part}",
                "summary": lead if len(lead) <= MAX_SUMMARY else lead[: MAX_SUMMARY - 1] + "…",
                "indicator": "warning" if severe else "info",
                "detail": _detail(part, section, answer, read),
                "source": {"label": "medassets decision support", "url": page},
                "links": [{"label": "Full answer", "url": page, "type": "absolute"}],
            }
        )
    return made


def prediction_of(card: str) -> str:
    """The prediction that a card is of."""
    return card.rpartition("-")[0] or card


def _detail(part: str, section: Mapping[str, Any], answer: Mapping[str, Any], read: Read) -> str:
    lines = []
    for candidate in section["candidates"][:_SHOWN]:
        name = candidate["name"] if part == "rare" else candidate["condition"]
        reasons = ", ".join(
            r["label"] for r in candidate.get("explanation", []) if r.get("direction") == "for"
        )
        lines.append(f"- **{name}** {candidate['probability']:.1%}" + (f": {reasons}" if reasons else ""))
    if read.unmapped:
        lines.append(f"\n{len(read.unmapped)} recorded findings could not be used.")
    origin = ", ".join(answer["training_origin"].get(part, [])) or "unknown"
    return "\n".join([*lines, f"\nLearned from: {origin}. {answer['notice']}"])
