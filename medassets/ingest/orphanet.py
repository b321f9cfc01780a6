"""Orphanet's scientific knowledge files (Orphadata): nomenclature, phenotypes, genes, prevalence.

What belongs here: products 1, 4, 6 and 9 (prevalence) in their XML as rows. What does not: merging diseases
of several terminologies (``knowledge.crosswalk``) and what prevalence means to a ranker
(``features.prevalence``). Format: https://www.orphadata.com (CC BY 4.0), English edition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from medassets.ingest.quarantine import QuarantineRow
from medassets.ingest.xml_stream import elements, text_of
from medassets.knowledge.annotations import FREQUENCY_TERMS
from medassets.knowledge.ontology import Ontology

SOURCE = "orphanet"
Row = dict[str, Any]
#: Share of patients by Orphanet's frequency class, as the class of the same name counts in annotations.
FREQUENCIES = {
    "obligate": FREQUENCY_TERMS["HP:0040280"],
    "very frequent": FREQUENCY_TERMS["HP:0040281"],
    "frequent": FREQUENCY_TERMS["HP:0040282"],
    "occasional": FREQUENCY_TERMS["HP:0040283"],
    "very rare": FREQUENCY_TERMS["HP:0040284"],
    "excluded": FREQUENCY_TERMS["HP:0040285"],
}
#: Prevalence class to its bounds, per million.
CLASSES = {
    ">1/1000": (1000.0, 10_000.0),
    "6-9/10000": (600.0, 1000.0),
    "1-5/10000": (100.0, 600.0),
    "1-9/100000": (10.0, 100.0),
    "1-9/1000000": (1.0, 10.0),
    "<1/1000000": (0.01, 1.0),
}
_UNSTATED = {"unknown", "notyetdocumented", ""}
_PMID = re.compile(r"(\d+)\[PMID\]")


@dataclass
class Orphadata:
    """Rows by table (``diseases``, ``references``, ``phenotypes``, ``genes``, ``prevalences``)."""

    rows: dict[str, list[Row]] = field(
        default_factory=lambda: {
            name: [] for name in ("diseases", "references", "phenotypes", "genes", "prevalences")
        }
    )
    rejected: list[QuarantineRow] = field(default_factory=list)


def read_orphadata(paths: Iterable[Path], ontology: Ontology) -> Orphadata:
    """Read the products among the files, recognized by their official names.

    Args:
        paths: files such as ``en_product1.xml``; others are reported.
        ontology: gives current HPO ids.

    Raises:
        IngestError: a file is not well-formed XML.
    """
    found = Orphadata()
    for path in sorted(paths):
        reader = next((read for name, read in _PRODUCTS.items() if name in path.name.lower()), None)
        if reader is None:
            allowed = ", ".join(f"*{name}*.xml" for name in _PRODUCTS)
            found.rejected.append(
                QuarantineRow(SOURCE, path.name, None, None, "file", None, "no known product", allowed)
            )
            continue
        for number, disorder in enumerate(elements(path, "Disorder"), start=1):
            code = text_of(disorder, "OrphaCode")
            place = _Place(path.name, number, code, found, ontology)
            if code is None or not code.isdigit():
                place.reject("OrphaCode", code, "is no number", "a number")
                continue
            reader(disorder, f"ORPHA:{code}", place)
    for rows in found.rows.values():
        rows.sort(key=lambda row: tuple(str(value) for value in row.values()))
    return found


@dataclass(frozen=True)
class _Place:
    """Where a disorder stands, and where its rows go."""

    file: str
    number: int
    code: str | None
    found: Orphadata
    ontology: Ontology

    def reject(self, name: str, value: str | None, reason: str, allowed: str) -> None:
        self.found.rejected.append(
            QuarantineRow(SOURCE, self.file, self.number, self.code, name, value, reason, allowed)
        )

    def add(self, table: str, row: Row) -> None:
        self.found.rows[table].append(row | {"origin": SOURCE, "source_file": self.file})


def _nomenclature(disorder: Element, orpha_id: str, place: _Place) -> None:
    name = text_of(disorder, "Name")
    if name is None:
        place.reject("Name", None, "is empty", "a name")
        return
    synonyms = [text_of(s) for s in disorder.iterfind("SynonymList/Synonym")]
    place.add(
        "diseases",
        {
            "orpha_id": orpha_id,
            "name": name,
            "synonyms": sorted({s for s in synonyms if s}),
            "type": text_of(disorder, "DisorderType/Name"),
            "group": text_of(disorder, "DisorderGroup/Name"),
        },
    )
    seen: set[tuple[str, str]] = set()
    for reference in disorder.iterfind("ExternalReferenceList/ExternalReference"):
        source, code = text_of(reference, "Source"), text_of(reference, "Reference")
        if source is None or code is None:
            place.reject("ExternalReference", code, "has no source or no code", "both")
        elif (source, code) not in seen:
            seen.add((source, code))
            relation = text_of(reference, "DisorderMappingRelation/Name") or ""
            place.add(
                "references",
                {
                    "orpha_id": orpha_id,
                    "source": source,
                    "code": code,
                    "relation": relation.partition(" ")[0] or None,
                    "validated": text_of(reference, "DisorderMappingValidationStatus/Name") == "Validated",
                },
            )


def _phenotypes(disorder: Element, orpha_id: str, place: _Place) -> None:
    rows: dict[str, Row] = {}
    for link in disorder.iterfind("HPODisorderAssociationList/HPODisorderAssociation"):
        written = text_of(link, "HPO/HPOId")
        current = place.ontology.resolve(written or "")
        label = text_of(link, "HPOFrequency/Name")
        share = FREQUENCIES.get((label or "").partition("(")[0].strip().lower())
        if current is None:
            place.reject("HPOId", written, "no term of the ontology", "a current or retired HPO id")
        elif share is None:
            place.reject("HPOFrequency", label, "no known class", ", ".join(FREQUENCIES))
        elif current in rows:
            place.reject("HPOId", written, "the term stands already for this disease", "each term once")
        else:
            rows[current] = {
                "orpha_id": orpha_id,
                "hpo_id": current,
                "source_hpo_id": written,
                "frequency_class": label,
                "frequency": share,
                "criteria": text_of(link, "DiagnosticCriteria/Name"),
            }
    for row in rows.values():
        place.add("phenotypes", row)


def _genes(disorder: Element, orpha_id: str, place: _Place) -> None:
    seen: set[tuple[str, str]] = set()
    for link in disorder.iterfind("DisorderGeneAssociationList/DisorderGeneAssociation"):
        symbol = text_of(link, "Gene/Symbol")
        kind = text_of(link, "DisorderGeneAssociationType/Name")
        if symbol is None or kind is None:
            place.reject("Gene", symbol, "has no symbol or no kind of association", "both")
            continue
        if (symbol, kind) in seen:
            place.reject("Gene", symbol, "the gene stands already in this role", "each gene once a role")
            continue
        seen.add((symbol, kind))
        known = {
            text_of(r, "Source"): text_of(r, "Reference")
            for r in link.iterfind("Gene/ExternalReferenceList/ExternalReference")
        }
        place.add(
            "genes",
            {
                "orpha_id": orpha_id,
                "symbol": symbol,
                "association": kind,
                "hgnc": known.get("HGNC"),
                "ensembl": known.get("Ensembl"),
                "assessed": text_of(link, "DisorderGeneAssociationStatus/Name") == "Assessed",
                "pmids": _pmids(text_of(link, "SourceOfValidation")),
            },
        )


def _prevalences(disorder: Element, orpha_id: str, place: _Place) -> None:
    for number, found in enumerate(disorder.iterfind("PrevalenceList/Prevalence"), start=1):
        label = text_of(found, "PrevalenceClass/Name") or ""
        bounds = CLASSES.get(re.sub(r"[\s,]", "", label))
        if bounds is None and re.sub(r"\s", "", label).lower() not in _UNSTATED:
            place.reject("PrevalenceClass", label, "no known class", ", ".join(CLASSES))
            continue
        written = text_of(found, "ValMoy")
        mean = _mean(written)
        if mean is None and written is not None:
            place.reject("ValMoy", written, "is no number from 0 to 100 000", "patients in 100 000")
            continue
        place.add(
            "prevalences",
            {
                "orpha_id": orpha_id,
                "number": number,
                "type": text_of(found, "PrevalenceType/Name"),
                "qualification": text_of(found, "PrevalenceQualification/Name"),
                "class": label or None,
                "low": bounds[0] if bounds else None,
                "high": bounds[1] if bounds else None,
                # Orphanet counts in 100 000 and writes 0 where it has the class only.
                "per_million": 10 * mean if mean else None,
                "geography": text_of(found, "PrevalenceGeographic/Name"),
                "validated": text_of(found, "PrevalenceValidationStatus/Name") == "Validated",
                "pmids": _pmids(text_of(found, "Source")),
            },
        )


def _mean(written: str | None) -> float | None:
    try:
        value = float(written) if written is not None else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value <= 100_000 else None


def _pmids(source: str | None) -> list[str]:
    return sorted({f"PMID:{number}" for number in _PMID.findall(source or "")})


#: Part of a file's official name to its reader.
_PRODUCTS: Mapping[str, Callable[[Element, str, _Place], None]] = {
    "product1": _nomenclature,
    "product4": _phenotypes,
    "product6": _genes,
    "product9_prev": _prevalences,
}
