"""A small ontology in the official format, with the names that the tests of the matcher need."""

from pathlib import Path

import pytest

from medassets.ingest.text import TextMatcher
from medassets.knowledge.ontology import Ontology

TERMS = {
    "HP:1000002": ("Short thumb", ["Hypoplasia of the thumb"]),
    "HP:1000003": ("Broad thumb", ["Wide thumb"]),
    "HP:1000004": ("Absent thumb", []),
    "HP:1000005": ("Hypoplasia of the radius", []),
    "HP:1000006": ("Seizure", ["Epilepsy"]),
    "HP:1000007": ("Absence seizure", []),
    "HP:1000008": ("Abnormality of the kidney", []),
    "HP:1000009": ("Renal neoplasm", ["Kidney tumour"]),
    "HP:1000010": ("Fever", []),
    "HP:1000011": ("Headache", []),
    "HP:1000012": ("Growth delay", []),
    "HP:1000013": ("Cleft lip", []),
    "HP:1000014": ("Cleft palate", []),
    "HP:1000015": ("Mutism", []),
    "HP:1000016": ("Atrial septal defect", ["ASD"]),
    "HP:1000017": ("Ataxia", []),
    "HP:1000018": ("Abnormal heart morphology", []),
    "HP:1000019": ("Global developmental delay", []),
    "HP:1000020": ("Vomiting", []),
    "HP:1000021": ("Type A brachydactyly", []),
    "HP:1000022": ("Brachydactyly", []),
    "HP:1000023": ("Hypotonia", []),
    "HP:1000024": ("Drowsiness", ["sleepy"]),
    "HP:1000025": ("Edema", []),
}  # fmt: skip


def obo() -> str:
    """The terms as an OBO file; ASD is marked as an abbreviation."""
    stanzas = [
        "format-version: 1.4\ndata-version: hp/releases/2025-01-16",
        "[Term]\nid: HP:0000118\nname: Phenotypic abnormality",
    ]
    for term, (name, synonyms) in TERMS.items():
        lines = [f'synonym: "{s}" EXACT {"abbreviation " if s.isupper() else ""}[]' for s in synonyms]
        stanzas.append("\n".join(["[Term]", f"id: {term}", f"name: {name}", *lines, "is_a: HP:0000118 ! x"]))
    return "\n\n".join(stanzas) + "\n"


@pytest.fixture(scope="session")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> TextMatcher:
    path: Path = tmp_path_factory.mktemp("ontology") / "hp.obo"
    path.write_text(obo(), encoding="utf-8")
    return TextMatcher.from_ontology(Ontology.from_obo(path))
