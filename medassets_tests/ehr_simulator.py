"""A record system that asks for decision support: a CDS Hooks 2.0 client and the FHIR server beside it.

What belongs here: what the specification asks of a client (https://cds-hooks.hl7.org/2.0/): discovery,
prefetch templates filled from the hook's context and fetched from the record system's own FHIR server, the
call, the check of each card's fields, feedback. What does not: anything that only this project's service
does.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

_TOKEN = re.compile(r"\{\{\s*([^}]+?)\s*\}\}")
_INDICATORS = ("info", "warning", "critical")
#: Context fields that each hook must have (CDS Hooks Library).
_CONTEXT = {
    "patient-view": ("userId", "patientId"),
    "encounter-start": ("userId", "patientId", "encounterId"),
}


class SpecificationError(AssertionError):
    """The service does something that the specification does not allow."""


def demand(condition: object, what: str) -> None:
    """Raise where the service breaks a rule."""
    if not condition:
        raise SpecificationError(what)


@dataclass
class FhirServer:
    """The record system's FHIR server, in memory: reads by id, searches by patient.

    Attributes:
        resources: by type.
        asked: relative URLs that were asked for.
    """

    resources: Mapping[str, Sequence[Mapping[str, Any]]]
    asked: list[str] = field(default_factory=list)

    def get(self, relative: str) -> Mapping[str, Any] | None:
        """A resource, ``None`` where there is none, or a searchset Bundle."""
        self.asked.append(relative)
        parts = urlsplit(relative)
        kind, _, name = parts.path.partition("/")
        if name:
            return next((r for r in self.resources.get(kind, ()) if r.get("id") == name), None)
        query = parse_qs(parts.query)
        demand(set(query) <= {"patient", "_count", "_sort", "date", "code"}, f"a rare search: {relative}")
        patient = f"Patient/{query['patient'][0]}"
        found = [r for r in self.resources.get(kind, ()) if r.get("subject", {}).get("reference") == patient]
        count = int(query.get("_count", [str(len(found))])[0])
        entries = [{"resource": resource} for resource in found[:count]]
        return {"resourceType": "Bundle", "type": "searchset", "total": len(found), "entry": entries}


@dataclass
class RecordSystem:
    """The client.

    Attributes:
        http: with the service's address, and with the key where one is needed.
        fhir: the record system's own server.
    """

    http: httpx.Client
    fhir: FhirServer

    def discover(self) -> list[dict[str, Any]]:
        """The services that are offered, each checked."""
        response = self.http.get("/cds-services")
        demand(response.status_code == 200, f"discovery: {response.status_code}")
        services: list[dict[str, Any]] = response.json()["services"]
        for service in services:
            for name in ("hook", "description", "id"):
                demand(isinstance(service.get(name), str) and service[name], f"service.{name}")
            _no_empty(service, "service")
            demand(re.fullmatch(r"[A-Za-z0-9._~-]+", service["id"]), "service.id is a path segment")
            for key, template in service.get("prefetch", {}).items():
                demand(isinstance(key, str) and isinstance(template, str), "prefetch: keys and queries")
        pairs = [(service["id"], service["hook"]) for service in services]
        demand(len(pairs) == len(set(pairs)), "one entry an id and hook")
        return services

    def call(self, service: Mapping[str, Any], context: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Trigger a hook: fetch what the service wants, call it, and check its cards."""
        for name in _CONTEXT[service["hook"]]:
            demand(name in context, f"context.{name}")
        body = {
            "hook": service["hook"],
            "hookInstance": str(uuid.uuid4()),
            "fhirServer": "https://ehr.example.org/fhir",
            "context": dict(context),
            "prefetch": {
                key: self.fhir.get(filled(template, context))
                for key, template in service.get("prefetch", {}).items()
            },
        }
        response = self.http.post(f"/cds-services/{service['id']}", json=body)
        demand(response.status_code == 200, f"{service['id']}: {response.status_code} {response.text[:300]}")
        content = response.json()
        demand(isinstance(content.get("cards"), list), "cards: an array, also where empty")
        for card in content["cards"]:
            check_card(card)
        return list(content["cards"])

    def accept(self, service: Mapping[str, Any], card: Mapping[str, Any]) -> None:
        """Tell that a card's suggestions were accepted."""
        suggestions = [{"id": s["uuid"]} for s in card.get("suggestions", []) if "uuid" in s]
        self._tell(service, card, {"outcome": "accepted", "acceptedSuggestions": suggestions})

    def override(self, service: Mapping[str, Any], card: Mapping[str, Any], comment: str) -> None:
        """Tell that a card was dismissed, with the first of its reasons and a comment."""
        reasons = card.get("overrideReasons", [])
        reason = {"reason": {n: reasons[0][n] for n in ("code", "system")}} if reasons else {}
        self._tell(
            service, card, {"outcome": "overridden", "overrideReason": reason | {"userComment": comment}}
        )

    def _tell(self, service: Mapping[str, Any], card: Mapping[str, Any], outcome: dict[str, Any]) -> None:
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        feedback = {"card": card["uuid"], "outcomeTimestamp": at} | outcome
        response = self.http.post(f"/cds-services/{service['id']}/feedback", json={"feedback": [feedback]})
        demand(response.status_code == 200, f"feedback: {response.status_code} {response.text[:300]}")


def filled(template: str, context: Mapping[str, Any]) -> str:
    """A prefetch template with its tokens replaced from the hook's context."""

    def value(match: re.Match[str]) -> str:
        scope, _, name = match.group(1).partition(".")
        demand(scope == "context" and isinstance(context.get(name), str), f"prefetch token {match.group(1)}")
        return str(context[name])

    return _TOKEN.sub(value, template)


def check_card(card: Mapping[str, Any]) -> None:
    """Check the fields of a card.

    Raises:
        SpecificationError: naming the field.
    """
    _no_empty(card, "card")
    uuid.UUID(card["uuid"])
    demand(isinstance(card.get("summary"), str) and 0 < len(card["summary"]) < 140, "card.summary")
    demand(card.get("indicator") in _INDICATORS, "card.indicator")
    demand(isinstance(card.get("detail", ""), str), "card.detail")
    source = card.get("source", {})
    demand(isinstance(source.get("label"), str), "card.source.label")
    for name in ("url", "icon"):
        demand(name not in source or _absolute(source[name]), f"card.source.{name} is absolute")
    if "topic" in source:
        _check_coding(source["topic"], "card.source.topic")
    for link in card.get("links", []):
        demand(
            isinstance(link.get("label"), str) and _absolute(link.get("url", "")), "card.links: label, url"
        )
        demand(link.get("type") in ("absolute", "smart"), "card.links.type")
        demand("appContext" not in link or link["type"] == "smart", "card.links.appContext is for SMART apps")
    for reason in card.get("overrideReasons", []):
        _check_coding(reason, "card.overrideReasons")
        demand(reason.get("display"), "card.overrideReasons.display")
    if "suggestions" in card:
        demand(card.get("selectionBehavior") in ("at-most-one", "any"), "card.selectionBehavior")
        for suggestion in card["suggestions"]:
            demand(suggestion.get("label"), "card.suggestions.label")
            for action in suggestion.get("actions", []):
                demand(action.get("type") in ("create", "update", "delete"), "card.suggestions.actions.type")
                demand(action.get("description"), "card.suggestions.actions.description")


def _check_coding(coding: Mapping[str, Any], place: str) -> None:
    demand(
        isinstance(coding.get("code"), str) and isinstance(coding.get("system"), str), f"{place}: a Coding"
    )


def _absolute(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _no_empty(value: Any, place: str) -> None:
    """JSON elements are neither null nor empty, unless the specification says otherwise."""
    demand(value not in (None, "", [], {}), f"{place} is empty")
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        _no_empty(item, f"{place}.{name}")
