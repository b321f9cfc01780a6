"""CDS Hooks 2.0: the differential as cards in the hospital's own record system.

What belongs here: discovery, the cards, feedback to them. What does not: reading FHIR (``fhir``) and
answering. Specification: https://cds-hooks.hl7.org/2.0/. One service answers two hooks under the same id,
which tells a client that the later hook's cards take the place of the earlier one's.

A card's uuid is the prediction's own with its last digits changed by a number of the part, so that feedback
finds the prediction without a table of cards. No suggestions are made: a suggestion would write a disease
into a record.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from medassets.serving.requests import RequestError

SERVICE = "medassets-differential"
HOOKS = ("patient-view", "encounter-start")
MAX_SUMMARY = 139
_SHOWN = 5
#: Most urgent severity of DDXPlus's scale; such a candidate makes the card a warning.
_SEVERE, _LIKELY = 2, 0.1
_PARTS = {"rare": 1, "common": 2}
TOPICS = "urn:medassets:cds-topics"
OVERRIDES = "urn:medassets:override-reasons"
OVERRIDE_REASONS = [
    {"system": OVERRIDES, "code": code, "display": display}
    for code, display in (
        ("diagnosis-known", "The diagnosis is already known"),
        ("not-plausible", "Does not fit the clinical picture"),
        ("findings-wrong", "The recorded findings are wrong or outdated"),
        ("not-relevant", "Not relevant to this visit"),
    )
]
PREFETCH = {
    "patient": "Patient/{{context.patientId}}",
    "conditions": "Condition?patient={{context.patientId}}",
    "observations": "Observation?patient={{context.patientId}}&_sort=-date&_count=200",
}
SERVICES = [
    {
        "hook": hook,
        "title": "Differential of common and rare diseases",
        "description": "Ranks diseases that fit the recorded findings, with reasons. Decision support only.",
        "id": SERVICE,
        "prefetch": PREFETCH,
        "usageRequirements": "Needs the prefetch: this service does not fetch from the record system.",
    }
    for hook in HOOKS
]


class PreconditionError(RequestError):
    """What is needed was not prefetched (status 412 of the specification)."""


class HookContext(BaseModel):
    """Where the record system stands."""

    model_config = ConfigDict(extra="allow")

    user_id: str = Field(alias="userId", min_length=1, max_length=200, description="e.g. Practitioner/1")
    patient_id: str = Field(alias="patientId", min_length=1, max_length=200)
    encounter_id: str | None = Field(default=None, alias="encounterId", max_length=200)


class HookRequest(BaseModel):
    """What the record system sends."""

    # The specification lets systems send more (fhirServer, fhirAuthorization, extension); none of it is used.
    model_config = ConfigDict(extra="ignore")

    hook: Literal["patient-view", "encounter-start"]
    hook_instance: uuid.UUID = Field(alias="hookInstance", description="a UUID of this call")
    context: HookContext
    prefetch: dict[str, Any] = Field(default={}, description="FHIR resources by the keys of discovery")

    @field_validator("hook_instance", mode="before")
    @classmethod
    def _uuid(cls, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("must be a UUID")
        return value


class Coding(BaseModel):
    """A code of a code system."""

    model_config = ConfigDict(extra="ignore")

    code: str = Field(min_length=1, max_length=100)
    system: str = Field(default="", max_length=200)
    display: str = Field(default="", max_length=200)


class OverrideReason(BaseModel):
    """Why a card was overridden."""

    model_config = ConfigDict(extra="ignore")

    reason: Coding | None = None
    user_comment: str = Field(default="", alias="userComment", max_length=1500)


class AcceptedSuggestion(BaseModel):
    """A suggestion that was accepted; this service makes none, other cards of a client may."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(min_length=1, max_length=100)


class CardFeedback(BaseModel):
    """What became of a card."""

    model_config = ConfigDict(extra="ignore")

    card: str = Field(min_length=1, max_length=100, description="its uuid")
    outcome: Literal["accepted", "overridden"]
    accepted_suggestions: list[AcceptedSuggestion] = Field(
        default=[], alias="acceptedSuggestions", max_length=100
    )
    override_reason: OverrideReason | None = Field(default=None, alias="overrideReason")
    outcome_timestamp: str = Field(alias="outcomeTimestamp", min_length=1, max_length=40)

    @property
    def comment(self) -> str:
        """The reason for an override and what the user wrote, as it is kept."""
        given = self.override_reason
        if given is None:
            return ""
        code = f"{given.reason.system}|{given.reason.code}" if given.reason else ""
        return " ".join(part for part in (code, given.user_comment) if part)


class CardFeedbacks(BaseModel):
    """The body of the feedback endpoint."""

    model_config = ConfigDict(extra="ignore")

    feedback: list[CardFeedback] = Field(min_length=1, max_length=100)


class Services(BaseModel):
    """Discovery."""

    services: list[dict[str, Any]]


class Source(BaseModel):
    """What a card's guidance comes from."""

    label: str
    url: str
    topic: Coding


class Link(BaseModel):
    """Where a card leads."""

    label: str
    url: str
    type: Literal["absolute", "smart"]


class Card(BaseModel):
    """A card."""

    uuid: str
    summary: str = Field(max_length=MAX_SUMMARY)
    detail: str
    indicator: Literal["info", "warning", "critical"]
    source: Source
    override_reasons: list[Coding] = Field(alias="overrideReasons")
    links: list[Link]


class Cards(BaseModel):
    """The answer to a hook."""

    cards: list[Card]


class Nothing(BaseModel):
    """An empty object."""

    model_config = ConfigDict(extra="forbid")


def prefetched_bundle(request: HookRequest) -> dict[str, Any]:
    """The prefetched resources as one FHIR Bundle.

    Raises:
        PreconditionError: neither conditions nor observations were prefetched, or only errors.
    """
    asked = {key: request.prefetch.get(key) for key in PREFETCH}
    if not any(isinstance(asked[key], dict) and _kind(asked[key]) == "Bundle" for key in list(asked)[1:]):
        needed = " or ".join(list(asked)[1:])
        raise PreconditionError(
            [(f"prefetch.{needed}", "is needed as a Bundle: this service does not fetch")]
        )
    entries: list[dict[str, Any]] = []
    for value in asked.values():
        if isinstance(value, dict) and _kind(value) == "Bundle":
            found = value.get("entry")
            entries += [
                entry for entry in (found if isinstance(found, list) else []) if isinstance(entry, dict)
            ]
        elif isinstance(value, dict) and _kind(value) != "OperationOutcome":
            entries.append({"resource": value})
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def cards(answer: Mapping[str, Any], page: str, about: str) -> list[dict[str, Any]]:
    """The cards of an answer: one for each differential, with its candidates and reasons.

    Args:
        answer: as ``answers.Answer``.
        page: absolute address of the full answer.
        about: absolute address that says what this service is.
    """
    made = []
    for part in _PARTS:
        section = answer[part]
        if section is None or not section["candidates"]:
            continue
        best = section["candidates"][0]
        lead = f"{part.capitalize()} diseases to consider: {_name(part, best)}, {best['probability']:.0%}"
        if section["abstain"]:
            lead = f"No known {part} disease fits well; closest: {_name(part, best)}"
        severe = any(
            (c.get("severity") or 9) <= _SEVERE and c["probability"] >= _LIKELY for c in section["candidates"]
        )
        made.append(
            {
                "uuid": card_uuid(answer["prediction_id"], part),
                "summary": lead if len(lead) <= MAX_SUMMARY else lead[: MAX_SUMMARY - 1] + "…",
                "detail": _detail(part, section, answer),
                "indicator": "warning" if severe and not section["abstain"] else "info",
                "source": {
                    "label": "medassets decision support",
                    "url": about,
                    "topic": {"system": TOPICS, "code": part, "display": f"Differential of {part} diseases"},
                },
                "overrideReasons": OVERRIDE_REASONS,
                "links": [{"label": "Full answer", "url": page, "type": "absolute"}],
            }
        )
    return made


def card_uuid(prediction_id: str, part: str) -> str:
    """The uuid of the card of a part."""
    return str(uuid.UUID(int=uuid.UUID(prediction_id).int ^ _PARTS[part]))


def predictions_of(card: str) -> list[str]:
    """The predictions that a card may be of; of all but one of them there is none."""
    try:
        number = uuid.UUID(card).int
    except ValueError:
        return []
    return [uuid.UUID(int=number ^ part).hex for part in _PARTS.values()]


def _kind(resource: Any) -> str:
    return str(resource.get("resourceType"))


def _name(part: str, candidate: Mapping[str, Any]) -> str:
    return str(candidate["name"] if part == "rare" else candidate["condition"])


def _detail(part: str, section: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """GitHub-flavoured Markdown: candidates with their reasons, what was not used, the origin."""
    lines = []
    for candidate in section["candidates"][:_SHOWN]:
        reasons = ", ".join(
            r["label"] for r in candidate.get("explanation", []) if r.get("direction") == "for"
        )
        shown = f"- **{_name(part, candidate)}** {candidate['probability']:.1%}"
        lines.append(shown + (f": {reasons}" if reasons else ""))
    if section["abstain"]:
        lines.append(f"\nConfidence is too low to rank: {section['reason']}.")
    unused = sum(entry["count"] for entry in answer["unmapped"])
    if unused:
        lines.append(f"\n{unused} recorded statements could not be used.")
    origin = ", ".join(answer["training_origin"].get(part, [])) or "unknown"
    return "\n".join([*lines, f"\nLearned from: {origin}. {answer['notice']}"])
