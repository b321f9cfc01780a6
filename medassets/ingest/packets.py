"""One phenopacket: the fields that the platform uses, and what of them cannot be used.

What belongs here: the meaning of a parsed phenopacket (GA4GH phenopackets, version 2.0). What does not: files
and archives (``medassets.ingest.phenopackets``), completeness and tables (``medassets.cohorts.rare_cases``).

Specification: https://phenopacket-schema.readthedocs.io/en/2.0.0 (Jacobsen et al., Nature Biotechnology
    2022).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from medassets.ingest.quarantine import QuarantineRow, excerpt
from medassets.ingest.time_element import AgeError, onset_days, timestamp
from medassets.knowledge.ontology import Ontology

SOURCE = "phenopackets"
SEXES = {"MALE": "M", "FEMALE": "F", "OTHER_SEX": "unknown", "UNKNOWN_SEX": "unknown"}


@dataclass(slots=True)
class Finding:
    """A phenotypic feature; ``onset_days`` since birth, None where it is not stated."""

    hpo_id: str
    source_hpo_id: str
    excluded: bool
    onset_days: int | None


@dataclass(slots=True)
class Packet:
    """What the platform uses of one phenopacket."""

    case_id: str
    cohort: str | None
    source_file: str
    subject_id: str | None = None
    sex: str = "unknown"
    age_days: int | None = None
    disease_id: str | None = None
    disease_label: str | None = None
    genes: list[str] = field(default_factory=list)
    pmids: list[str] = field(default_factory=list)
    hpo_version: str | None = None
    findings: list[Finding] = field(default_factory=list)


class PacketReader:
    """Reads one packet; each bad value goes to ``quarantine`` and is otherwise treated as not given."""

    def __init__(
        self, document: dict[str, Any], source_file: str, ontology: Ontology, quarantine: list[QuarantineRow]
    ) -> None:
        self._document = document
        self._file = source_file
        self._ontology = ontology
        self._quarantine = quarantine
        self._birth: datetime | None = None

    def read(self) -> Packet:
        """Return the packet's usable content."""
        folders = self._file.split("/")[:-1]
        subject = self._object(self._document, "subject")
        meta = self._object(self._document, "metaData")
        packet = Packet(self._document["id"], folders[-1] if folders else None, self._file)
        packet.subject_id = self._text(subject, "id")
        packet.sex = self._sex(subject)
        self._birth = self._date_of_birth(subject)
        packet.age_days = self._days(subject.get("timeAtLastEncounter"), "subject.timeAtLastEncounter")
        packet.disease_id, packet.disease_label = self._disease()
        packet.genes = self._genes()
        references = (self._text(item, "id") for item in self._list(meta, "metaData.externalReferences"))
        packet.pmids = sorted({reference for reference in references if reference})
        packet.hpo_version = self._hpo_version(meta)
        packet.findings = self._findings()
        return packet

    def _reject(self, where: str, value: object, reason: str, allowed: str, row: int | None = None,
                raw: object = None) -> None:  # fmt: skip
        text = (
            value
            if isinstance(value, str) or value is None
            else json.dumps(value, sort_keys=True, default=str)
        )
        self._quarantine.append(
            QuarantineRow(SOURCE, self._file, row, self._document["id"], where, text, reason, allowed,
                          None if raw is None else excerpt(raw))
        )  # fmt: skip

    def _object(self, parent: dict[str, Any], key: str) -> dict[str, Any]:
        value = parent.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._reject(key, value, "not an object", "a JSON object")
            return {}
        return value

    def _list(self, parent: dict[str, Any], where: str) -> list[dict[str, Any]]:
        """Return the objects of a list; ``where`` is the full name, its last part the key."""
        value = parent.get(where.rsplit(".", 1)[-1]) or []
        if not isinstance(value, list):
            self._reject(where, value, "not a list", "a list of objects")
            return []
        for row, item in enumerate(value, 1):
            if not isinstance(item, dict):
                self._reject(where, item, "not an object", "a JSON object", row)
        return [item for item in value if isinstance(item, dict)]

    @staticmethod
    def _text(parent: dict[str, Any], key: str) -> str | None:
        value = parent.get(key)
        return value.strip() or None if isinstance(value, str) else None

    def _sex(self, subject: dict[str, Any]) -> str:
        value = subject.get("sex", "UNKNOWN_SEX")
        if not isinstance(value, str) or value not in SEXES:
            self._reject("subject.sex", value, "unknown sex", ", ".join(SEXES))
            return "unknown"
        return SEXES[value]

    def _date_of_birth(self, subject: dict[str, Any]) -> datetime | None:
        value = subject.get("dateOfBirth")
        if value is None:
            return None
        try:
            return timestamp(value)
        except AgeError as error:
            self._reject("subject.dateOfBirth", value, error.reason, error.allowed)
            return None

    def _days(self, element: object, where: str, row: int | None = None) -> int | None:
        """Return a TimeElement in days since birth, None where it is not given or not usable."""
        if element is None:
            return None
        try:
            return onset_days(element, self._birth)
        except AgeError as error:
            self._reject(where, element, error.reason, error.allowed, row)
            return None

    def _disease(self) -> tuple[str | None, str | None]:
        """Return the first disease that is not excluded, else the first interpretation's diagnosis."""
        terms = [
            self._object(d, "term") for d in self._list(self._document, "diseases") if not d.get("excluded")
        ]
        for interpretation in self._list(self._document, "interpretations"):
            terms.append(self._object(self._object(interpretation, "diagnosis"), "disease"))
        for term in terms:
            disease_id = self._text(term, "id")
            if disease_id and ":" in disease_id:
                return disease_id, self._text(term, "label")
            if disease_id:
                self._reject(
                    "diseases.term.id", disease_id, "not a CURIE", "prefix:number, for example OMIM:147791"
                )
        return None, None

    def _genes(self) -> list[str]:
        """Return the symbols of the genes of all interpretations that were not rejected, sorted."""
        symbols = set()
        for interpretation in self._list(self._document, "interpretations"):
            diagnosis = self._object(interpretation, "diagnosis")
            for genomic in self._list(diagnosis, "interpretations.diagnosis.genomicInterpretations"):
                if genomic.get("interpretationStatus") == "REJECTED":
                    continue
                variant = self._object(genomic, "variantInterpretation")
                descriptor = self._object(variant, "variationDescriptor")
                for gene in (self._object(descriptor, "geneContext"), self._object(genomic, "gene")):
                    if symbol := self._text(gene, "symbol"):
                        symbols.add(symbol)
        return sorted(symbols)

    def _hpo_version(self, meta: dict[str, Any]) -> str | None:
        for resource in self._list(meta, "metaData.resources"):
            prefix = resource.get("namespacePrefix") or resource.get("id")
            if isinstance(prefix, str) and prefix.lower() in ("hp", "hpo"):
                return self._text(resource, "version")
        return None

    def _findings(self) -> list[Finding]:
        """Return one finding a term: the earliest onset of repeated, the observed of contradictory ones."""
        chosen: dict[str, Finding] = {}
        for row, feature in enumerate(self._list(self._document, "phenotypicFeatures"), 1):
            finding = self._finding(feature, row)
            if finding is None:
                continue
            known = chosen.get(finding.hpo_id)
            if known is not None and known.excluded != finding.excluded:
                self._reject(
                    "phenotypicFeatures.excluded",
                    finding.source_hpo_id,
                    "the term is both observed and excluded; kept as observed",
                    "one of the two",
                    row,
                    feature,
                )
                if not finding.excluded:
                    chosen[finding.hpo_id] = finding
            elif known is None:
                chosen[finding.hpo_id] = finding
            elif finding.onset_days is not None:
                known.onset_days = min(finding.onset_days, known.onset_days if known.onset_days is not None
                                       else finding.onset_days)  # fmt: skip
        return list(chosen.values())

    def _finding(self, feature: dict[str, Any], row: int) -> Finding | None:
        source_id = self._text(self._object(feature, "type"), "id")
        hpo_id = self._ontology.resolve(source_id) if source_id else None
        if source_id is None or hpo_id is None:
            release = f"HPO {self._ontology.version}"
            if source_id is None:
                reason, allowed = "the feature has no term", "an HPO id"
            elif source_id in self._ontology.index:
                suggested = ", ".join(self._ontology.consider.get(source_id, ())) or "none"
                reason, allowed = (
                    f"withdrawn without a certain successor (suggested: {suggested})",
                    f"a current id of {release}",
                )
            else:
                reason, allowed = "unknown HPO id", f"an id of {release}"
            self._reject("phenotypicFeatures.type.id", source_id, reason, allowed, row, feature)
            return None
        excluded = feature.get("excluded", False)
        if not isinstance(excluded, bool):
            self._reject(
                "phenotypicFeatures.excluded", excluded, "not a truth value", "true or false", row, feature
            )
            return None
        days = self._days(feature.get("onset"), "phenotypicFeatures.onset", row)
        return Finding(hpo_id, source_id, excluded, days)
