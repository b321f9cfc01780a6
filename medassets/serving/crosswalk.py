"""Codes of other terminologies for HPO terms, as the ontology's own cross-references state them.

What belongs here: the table from SNOMED CT, ICD-10 and UMLS codes to HPO ids that a bundle carries. What does
not: the crosswalk between disease catalogues (``medassets.knowledge.crosswalk``), and any guess from a code's
text.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from medassets.serving.bundle import BundleError

FILE = "hpo_cross_references.json"
HPO_SYSTEMS = frozenset({"http://human-phenotype-ontology.org", "http://purl.obolibrary.org/obo/hp.owl"})
#: Prefix in ``hp.obo`` to the system's name in FHIR.
SYSTEMS = {
    "SNOMEDCT_US": "http://snomed.info/sct",
    "ICD-10": "http://hl7.org/fhir/sid/icd-10",
    "UMLS": "http://www.nlm.nih.gov/research/umls",
}
_HPO_ID = re.compile(r"HP[:_]\d{7}")


class CodeMap:
    """From a coded finding to an HPO id.

    Args:
        tables: for each system, code to HPO id. Without any only HPO's own codes are known.
    """

    def __init__(self, tables: dict[str, dict[str, str]] | None = None) -> None:
        self._tables = tables or {}

    @classmethod
    def load(cls, folder: Path) -> CodeMap:
        """Read the part of a bundle.

        Raises:
            BundleError: it is not what ``write_cross_references`` writes.
        """
        try:
            tables = json.loads((folder / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"{folder / FILE}: {error}") from error
        return cls(tables)

    def hpo(self, system: str, code: str) -> str | None:
        """The HPO id of a code, or ``None``."""
        if system in HPO_SYSTEMS:
            return code.replace("_", ":") if _HPO_ID.fullmatch(code) else None
        # ICD-10-CM has the same codes at the depth that HPO refers to.
        return self._tables.get(system.removesuffix("-cm"), {}).get(code)


def write_cross_references(obo: Path, folder: Path) -> None:
    """Write the cross-references of ``hp.obo``; a code that two terms claim is left out.

    Args:
        obo: the ontology's file.
        folder: of the bundle's part.
    """
    claims: dict[str, dict[str, set[str]]] = {system: {} for system in SYSTEMS.values()}
    term = ""
    for line in obo.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            term = ""
        elif line.startswith("id: HP:"):
            term = line[4:].strip()
        elif term and line.startswith("xref: "):
            prefix, _, code = line[6:].split()[0].partition(":")
            if prefix in SYSTEMS and code:
                claims[SYSTEMS[prefix]].setdefault(code, set()).add(term)
    tables = {
        system: {code: next(iter(terms)) for code, terms in sorted(codes.items()) if len(terms) == 1}
        for system, codes in claims.items()
    }
    (folder / FILE).write_text(json.dumps(tables, indent=0, sort_keys=True), encoding="utf-8")
