"""HL7 FHIR R4 in: a Bundle of one patient as a request.

What belongs here: which resources say what of a patient's findings. What does not: the meaning of codes
(``crosswalk``) and of values (``fhir_values``), answers as FHIR (``fhir_answer``), transport (``http``).

Conditions count as observed, refuted ones as excluded; Observations count where their value says yes or no,
or is judged low, normal or high; QuestionnaireResponses where an answer is coded or yes or no. Of several
values of one test the latest counts. What could not be mapped is listed with its code, never dropped in
silence. Free text and names are not read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology
from medassets.serving.crosswalk import EVIDENCE, CodeMap
from medassets.serving.fhir_values import (
    Pair,
    age_in_days,
    codes_of,
    components,
    judged,
    pairs,
    said,
    seen_at,
    time_of,
)
from medassets.serving.requests import DAYS_PER_YEAR, DiagnosisRequest, RequestError, parse_request

_SEXES = {"female": "F", "male": "M"}
#: A symptom recorded longer ago is no answer to "do you have …?".
_RECENT = timedelta(days=30)
_PAST = frozenset({"inactive", "remission", "resolved"})
_NOT_SAID = {
    "entered-in-error": "was entered in error",
    "cancelled": "was cancelled",
    "unconfirmed": "is not confirmed",
    "provisional": "is only suspected",
    "differential": "is only one of several suspicions",
}
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
BUNDLE_SCHEMA = {
    "type": "object",
    "description": "FHIR R4 Bundle of one patient: Patient, Condition, Observation, QuestionnaireResponse",
    "required": ["resourceType"],
    "properties": {
        "resourceType": {"type": "string", "enum": ["Bundle"]},
        "type": {"type": "string"},
        "timestamp": {"type": "string", "format": "date-time"},
        "entry": {
            "type": "array",
            "items": {"type": "object", "properties": {"resource": {"type": "object"}}},
        },
    },
}


@dataclass
class Read:
    """A Bundle as read.

    Attributes:
        request: what is asked.
        unmapped: statements that are not used, each with place, code, reason and count.
        mapped: codes that were read as others: ``field``, ``given``, ``used``, ``reason``.
        subject: reference to the Patient, where the Bundle holds one with an id.
    """

    request: DiagnosisRequest
    unmapped: list[dict[str, Any]]
    mapped: list[dict[str, str]] = field(default_factory=list)
    subject: str | None = None


def read_bundle(
    bundle: Mapping[str, Any], codes: CodeMap, ontology: Ontology | None = None, **more: Any
) -> Read:
    """Read a FHIR Bundle of one patient.

    Args:
        bundle: a Bundle resource.
        codes: from codes to HPO terms and evidences.
        ontology: that answers: terms that it does not have are listed, not refused.
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
    of_type: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for place, resource in resources:
        of_type.setdefault(str(resource.get("resourceType")), []).append((place, resource))
    patients = of_type.get("Patient", [])
    # The same Patient may stand twice: asked for, and included with what refers to it.
    for place, other in patients[1:]:
        if other.get("id") is None or other["id"] != patients[0][1].get("id"):
            raise RequestError([(place, "a second patient: a request is about one")])
    patient, at = patients[0][1] if patients else {}, time_of(bundle)
    days, sex = age_in_days(patient, at.date()), _SEXES.get(str(patient.get("gender")), "unknown")
    reader = _Reader(codes, ontology, at, None if days is None else days / DAYS_PER_YEAR, sex)
    for place, resource in of_type.get("Condition", []):
        reader.condition(place, resource)
    for place, resource in _latest(of_type.get("Observation", []), reader):
        reader.observation(place, resource)
    for place, resource in of_type.get("QuestionnaireResponse", []):
        for number, item in enumerate(_items(resource)):
            reader.answer(f"{place}.item[{number}]", item)
    body = {"sex": sex, "age": None if days is None else f"P{days}D", **reader.findings()}
    name = str(patient.get("id", ""))
    subject = f"Patient/{name}" if _ID.fullmatch(name) else None
    return Read(parse_request(body | more), reader.listed(), reader.mapped, subject)


class _Reader:
    """Files the statements of one patient's resources as observed, excluded or not used."""

    def __init__(
        self, codes: CodeMap, ontology: Ontology | None, at: datetime, years: float | None, sex: str
    ) -> None:
        self._codes, self._ontology, self._at, self._years, self._sex = codes, ontology, at, years, sex
        self._terms: dict[bool, list[str]] = {True: [], False: []}
        self._evidence: dict[bool, list[str]] = {True: [], False: []}
        self._unmapped: Counter[tuple[str, str]] = Counter()
        self._places: dict[tuple[str, str], str] = {}
        self.mapped: list[dict[str, str]] = []

    def condition(self, place: str, resource: Mapping[str, Any]) -> None:
        """File a Condition."""
        verified = codes_of(resource.get("verificationStatus"))
        against = next((reason for code, reason in _NOT_SAID.items() if code in verified), None)
        current = not codes_of(resource.get("clinicalStatus")) & _PAST
        self.file(place, pairs(resource.get("code")), "refuted" not in verified, current, against)

    def observation(self, place: str, resource: Mapping[str, Any]) -> None:
        """File an Observation and its components."""
        against, at = _NOT_SAID.get(str(resource.get("status"))), seen_at(resource)
        current = at is None or self._at - at <= _RECENT
        parts = list(components(resource))
        if parts and not any(name.startswith("value") for name in resource):
            for suffix, part in parts:
                self._value(place + suffix, part, current, against)
        else:
            self._value(place, resource, current, against)

    def answer(self, place: str, item: Mapping[str, Any]) -> None:
        """File the answers to a question of a QuestionnaireResponse."""
        answers = item.get("answer")
        link = str(item.get("linkId", ""))
        system, _, code = link.rpartition("|")
        asked = [(system or EVIDENCE, code)]
        # A group of questions has no answer of its own.
        for answer in answers if isinstance(answers, list) else []:
            if isinstance(answer, dict) and isinstance(answer.get("valueCoding"), dict):
                self.file(place, pairs({"coding": [answer["valueCoding"]]}), True)
            elif isinstance(answer, dict) and isinstance(answer.get("valueBoolean"), bool):
                self.file(place, asked, answer["valueBoolean"])
            else:
                self.leave(place, [], "the answer is not coded")

    def file(
        self, place: str, given: list[Pair], present: bool, current: bool = True, against: str | None = None
    ) -> None:
        """File a coded statement.

        Args:
            place: of the statement in the Bundle.
            given: its codings; the first that is known counts.
            present: whether it is stated or denied.
            current: whether it is so now; what was once does not answer a question about now.
            against: why it cannot be used, if so.
        """
        if against is not None:
            self.leave(place, given, against)
            return
        term = next((hpo for hpo in (self._codes.hpo(*pair) for pair in given) if hpo), None)
        known = self._phenotype(term)
        question = next((e for e in map(self._question, given) if e), None)
        if question is not None and (current or question in _antecedents()):
            self._evidence[present].append(question)
        if known is not None:
            self._terms[present].append(known)
        elif question is None:
            reason = "the code has no HPO term here" if term is None else "is no phenotype of the HPO in use"
            self.leave(place, given, reason)
            return
        for used in (known, question):
            shown = _shown(given)
            if used is not None and shown.rpartition("|")[2].replace("_", ":") != used.replace("_", ":"):
                self.mapped.append({"field": place, "given": shown, "used": used, "reason": "crosswalk"})

    def leave(self, place: str, given: list[Pair], reason: str, count: int = 1) -> None:
        """List a statement that is not used."""
        key = (_shown(given), reason)
        self._unmapped[key] += count
        self._places.setdefault(key, f"{place}.code")

    def findings(self) -> dict[str, Any]:
        """The fields of the request; what contradicts itself stays with the doctor and is listed."""
        observed, excluded = self._apart(self._terms)
        if self._ontology is not None:
            implied = self._ontology.implied(self._ontology.index[term] for term in observed)
            for term in [term for term in excluded if self._ontology.index[term] in implied]:
                excluded.remove(term)
                self.leave("entry", [("", term)], "is denied, but another finding implies it")
        present, absent = self._apart(self._evidence)
        # What a patient is prone to tells conditions apart only beside a complaint.
        complaint = any(code.partition("_@_")[0] not in _antecedents() for code in present)
        evidence = {"present": present, "absent": absent} if complaint else {}
        return {"observed": observed, "excluded": excluded, "evidence": evidence}

    def listed(self) -> list[dict[str, Any]]:
        """What is not used: one entry for each code and reason."""
        return [
            {"field": self._places[key], "code": key[0], "reason": key[1], "count": count}
            for key, count in self._unmapped.items()
        ]

    def _value(self, place: str, holder: Mapping[str, Any], current: bool, against: str | None) -> None:
        """File a value: of a test by its judgement, of a question by its answer, or the finding it names."""
        given = pairs(holder.get("code"))
        test = next((test for test in (self._codes.test(*pair) for pair in given) if test), None)
        if test is not None and against is None:
            judgement = judged(holder, test, self._years, self._sex)
            terms = {"low": test.low, "high": test.high}
            if judgement == "normal":
                for term in (term for term in terms.values() if term):
                    self._named(place, given, term, False, current)
            elif terms.get(judgement):
                self._named(place, given, str(terms[judgement]), True, current)
            else:
                no_term = f"no HPO term for a {judgement} value here"
                self.leave(place, given, no_term if judgement in terms else judgement)
            return
        named = pairs(holder.get("valueCodeableConcept"))
        if any(self._codes.hpo(*pair) or self._question(pair) for pair in named):
            self.file(place, named, True, current, against)
            return
        stated = said(holder)
        if stated is None and any(self._codes.hpo(*pair) or self._question(pair) for pair in given):
            against = against or "the value says neither yes nor no"
        self.file(place, given, stated is not False, current, against)

    def _named(self, place: str, given: list[Pair], term: str, present: bool, current: bool) -> None:
        """File the term that a test's value means."""
        known = self._phenotype(term)
        if known is None:
            self.leave(place, given, "is no phenotype of the HPO in use")
            return
        self._terms[present].append(known)
        question = self._codes.evidence_of_term.get(term)
        if question is not None and (current or question in _antecedents()):
            self._evidence[present].append(question)
        reason = "crosswalk, by the value" if present else "crosswalk, the value is normal"
        self.mapped.append({"field": place, "given": _shown(given), "used": known, "reason": reason})

    def _phenotype(self, term: str | None) -> str | None:
        """The term as the ontology in use has it, ``None`` where it has none."""
        if term is None or self._ontology is None:
            return term
        used = self._ontology.resolve(term)
        return used if used and self._ontology.is_phenotype[self._ontology.index[used]] else None

    def _question(self, pair: Pair) -> str | None:
        if pair[0] == EVIDENCE:
            return pair[1] if pair[1].partition("_@_")[0] in _questions() else None
        return self._codes.evidence(*pair)

    def _apart(self, found: dict[bool, list[str]]) -> tuple[list[str], list[str]]:
        """What is stated and what is denied; of what is both, neither."""
        yes, no = (list(dict.fromkeys(found[present])) for present in (True, False))
        bases = {item.partition("_@_")[0]: item for item in yes}
        both = {item for item in no if item in bases}
        for item in sorted(both):
            self.leave("entry", [("", item)], "both stated and refuted")
        return [i for i in yes if i.partition("_@_")[0] not in both], [i for i in no if i not in both]


def _latest(
    observations: list[tuple[str, Mapping[str, Any]]], reader: _Reader
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Of each code's Observations the latest; how many others there were is listed."""
    by_code: dict[str, list[tuple[datetime, int]]] = {}
    for i, (_, resource) in enumerate(observations):
        at = seen_at(resource) or datetime.max.replace(tzinfo=UTC)
        # Panels and symptoms may share a code: their values name the finding.
        key = (
            f"{_shown(pairs(resource.get('code')))} {sorted(codes_of(resource.get('valueCodeableConcept')))}"
        )
        by_code.setdefault(key, []).append((at, i))
    for found in by_code.values():
        place, resource = observations[max(found)[1]]
        yield place, resource
        if len(found) > 1:
            reader.leave(
                place, pairs(resource.get("code")), "an older value: the latest counts", len(found) - 1
            )


def _items(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    items = resource.get("item")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict):
            yield item
            yield from _items(item)
            answers = item.get("answer")
            for answer in answers if isinstance(answers, list) else []:
                if isinstance(answer, dict):
                    yield from _items(answer)


def _shown(given: list[Pair]) -> str:
    return next((f"{system}|{code}" if system else code for system, code in given), "no code")


@cache
def _questions() -> frozenset[str]:
    return frozenset(evidence.code for evidence in CommonKnowledge.bundled().evidences)


@cache
def _antecedents() -> frozenset[str]:
    return frozenset(e.code for e in CommonKnowledge.bundled().evidences if e.is_antecedent)
