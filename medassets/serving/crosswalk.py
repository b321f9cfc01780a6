"""Codes of clinical records for HPO terms and for the questions about common conditions.

What belongs here: the tables that a bundle carries from SNOMED CT, ICD-10, UMLS and LOINC codes to HPO ids,
and from HPO ids to DDXPlus evidences. What does not: the crosswalk between disease catalogues
(``medassets.knowledge.crosswalk``), FHIR's structure (``fhir``), and any guess from a code's text.

Two sources: the cross-references of the ontology itself, and ``knowledge/data/clinical_codes.json``, a
table of this project for what the ontology does not refer to (laboratory tests after the manner of
LOINC2HPO, Zhang et al., npj Digital Medicine 2019; findings and disorders that hospitals code most). Limits
of adults are those of the WHO (anaemia, osteoporosis, obesity), KDIGO, ADA and ATP III, and common
laboratory limits otherwise; they count only where a record gives neither interpretation nor reference
range.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from medassets.knowledge.ontology import Ontology
from medassets.serving.bundle import BundleError

FILE = "hpo_cross_references.json"
CLINICAL_FILE = "clinical_codes.json"
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
#: Codes of DDXPlus as they stand in a questionnaire made for this service.
EVIDENCE = "urn:medassets:evidence"
HPO = "http://human-phenotype-ontology.org"
HPO_SYSTEMS = frozenset(
    {HPO, "http://purl.obolibrary.org/obo/hp.owl", "http://purl.obolibrary.org/obo/hp.fhir"}
)
#: Prefix in ``hp.obo`` to the system's name in FHIR.
SYSTEMS = {
    "SNOMEDCT_US": SNOMED,
    "ICD-10": ICD10,
    "UMLS": "http://www.nlm.nih.gov/research/umls",
}
_TERMS_OF_EVIDENCE, _SNOMED_OF_EVIDENCE = "evidence_of_term", "evidence_of_snomed"
_HPO_ID = re.compile(r"HP[:_]\d{7}")


@dataclass(frozen=True)
class LabTest:
    """What a laboratory test or a measurement says.

    Attributes:
        low: HPO id of a value that is too low, where there is one; ``high`` likewise.
        unit: of the limits, in UCUM; ``None`` where there are none.
        below: adults' values below this are low: a number, or one by sex (F, M).
        above: adults' values from this on are high.
    """

    low: str | None = None
    high: str | None = None
    unit: str | None = None
    below: float | Mapping[str, float] | None = None
    above: float | Mapping[str, float] | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> LabTest:
        """Read a row of the table."""
        adult = row.get("adult", {})
        return cls(row.get("low"), row.get("high"), adult.get("unit"), adult.get("below"), adult.get("from"))


@dataclass(frozen=True)
class CodeMap:
    """From a coded statement to an HPO id, a test, or an evidence; without tables only HPO's codes are known.

    Attributes:
        tables: for each system, code to HPO id.
        tests: LOINC code to what its values mean.
        evidence_of_term: HPO id to the base code of a DDXPlus question.
        evidence_of_snomed: SNOMED CT code likewise, where no phenotype lies between.
    """

    tables: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    tests: Mapping[str, LabTest] = field(default_factory=dict)
    evidence_of_term: Mapping[str, str] = field(default_factory=dict)
    evidence_of_snomed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> CodeMap:
        """Read the part of a bundle; bundles of earlier versions lack the clinical codes.

        Raises:
            BundleError: it is not what ``write_cross_references`` writes.
        """
        references = _read(folder / FILE)
        clinical = folder / CLINICAL_FILE
        return cls.of(references, _read(clinical) if clinical.is_file() else {})

    @classmethod
    def of(cls, references: Mapping[str, Mapping[str, str]], clinical: Mapping[str, Any]) -> CodeMap:
        """Join both sources; where both know a code, this project's table decides."""
        systems = {*references, *(system for system in (SNOMED, ICD10) if system in clinical)}
        return cls(
            {system: {**references.get(system, {}), **clinical.get(system, {})} for system in systems},
            {code: LabTest.of(row) for code, row in clinical.get(LOINC, {}).items()},
            clinical.get(_TERMS_OF_EVIDENCE, {}),
            clinical.get(_SNOMED_OF_EVIDENCE, {}),
        )

    def hpo(self, system: str, code: str) -> str | None:
        """The HPO id of a code, or ``None``."""
        if system in HPO_SYSTEMS:
            return code.replace("_", ":") if _HPO_ID.fullmatch(code) else None
        # ICD-10-CM has the same codes at the depth that HPO refers to.
        return self.tables.get(system.removesuffix("-cm"), {}).get(code)

    def test(self, system: str, code: str) -> LabTest | None:
        """What the values of a LOINC code mean, or ``None``."""
        return self.tests.get(code) if system == LOINC else None

    def evidence(self, system: str, code: str) -> str | None:
        """The DDXPlus question that a code answers with yes, or ``None``."""
        if system == SNOMED and code in self.evidence_of_snomed:
            return self.evidence_of_snomed[code]
        term = self.hpo(system, code)
        return None if term is None else self.evidence_of_term.get(term)


def write_cross_references(obo: Path, folder: Path) -> None:
    """Write the cross-references of ``hp.obo``, and of the clinical codes those whose terms it has.

    A code that several terms claim means the most general of them, where that implies no more than each of
    the others does; else it decides nothing.

    Args:
        obo: the ontology's file.
        folder: of the bundle's part.
    """
    ontology = Ontology.from_obo(obo)
    claims: dict[str, dict[str, set[str]]] = {system: {} for system in SYSTEMS.values()}
    term = ""
    for line in obo.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            term = ""
        elif line.startswith("id: HP:"):
            term = line[4:].strip()
        elif term and line.startswith("xref: "):
            prefix, _, code = line[6:].split()[0].partition(":")
            if prefix in SYSTEMS and code and term in ontology.index:
                claims[SYSTEMS[prefix]].setdefault(code, set()).add(term)
    tables = {
        system: {
            code: general
            for code, terms in sorted(codes.items())
            if (general := most_general(ontology, terms)) is not None
        }
        for system, codes in claims.items()
    }
    _write(folder / FILE, tables)
    _write(folder / CLINICAL_FILE, _known_to(ontology, clinical_codes()))


def clinical_codes() -> dict[str, Any]:
    """The table of this project."""
    text = resources.files("medassets.knowledge").joinpath("data", CLINICAL_FILE).read_text(encoding="utf-8")
    codes: dict[str, Any] = json.loads(text)
    return codes


def most_general(ontology: Ontology, terms: Iterable[str]) -> str | None:
    """The term that all the others imply, or ``None``."""
    indices = [ontology.index[term] for term in terms]
    general = set(indices).intersection(*(ontology.ancestors(i) for i in indices))
    return ontology.terms[general.pop()] if len(general) == 1 else None


def _known_to(ontology: Ontology, clinical: Mapping[str, Any]) -> dict[str, Any]:
    """The rows whose terms an ontology has: another release may have renamed or dropped some."""

    def known(term: str | None) -> bool:
        return term is not None and ontology.resolve(term) is not None

    kept = {
        system: {code: term for code, term in clinical[system].items() if known(term)}
        for system in (SNOMED, ICD10)
    }
    tests = {
        code: {name: value for name, value in row.items() if name == "adult" or known(value)}
        for code, row in clinical[LOINC].items()
    }
    return {
        **kept,
        LOINC: {code: row for code, row in tests.items() if row.keys() & {"low", "high"}},
        _TERMS_OF_EVIDENCE: {term: e for term, e in clinical[_TERMS_OF_EVIDENCE].items() if known(term)},
        _SNOMED_OF_EVIDENCE: clinical[_SNOMED_OF_EVIDENCE],
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: {error}") from error
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=0, sort_keys=True), encoding="utf-8")
