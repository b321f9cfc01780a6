from collections import namedtuple
from pathlib import Path

import pyarrow as pa
import pytest

from medassets.cohorts.catalogue import disease_catalogue
from medassets.cohorts.tables import TABLES, duplicated_keys
from medassets.knowledge.annotations import read_annotations
from medassets.knowledge.crosswalk import Crosswalk, read_sssom
from medassets_tests.fixtures_rare import HPOA_ROWS, SSSOM, ontology, write_hpoa

Condition = namedtuple("Condition", "name icd10")


@pytest.fixture
def annotations(tmp_path: Path) -> pa.Table:
    return read_annotations(write_hpoa(tmp_path, *HPOA_ROWS), ontology())[0]


def test_equivalent_diseases_stand_once(annotations: pa.Table) -> None:
    mappings, _, version = read_sssom("mondo", SSSOM.encode())
    rows = {
        row["disease_id"]: row
        for row in disease_catalogue(annotations, Crosswalk(mappings, version)).to_pylist()
    }
    assert set(rows) == {"OMIM:900001", "OMIM:900002"}
    assert rows["OMIM:900001"] == {
        "disease_id": "OMIM:900001",
        "name": "Wobble disease",
        "equivalents": ["OMIM:900001", "ORPHA:91", "MONDO:0000001"],
        "mondo_id": "MONDO:0000001",
        "kind": "rare",
        "n_annotations": 5,
        "origin": "mondo",
    }


def test_without_mappings_each_entry_stands_alone_and_says_so(annotations: pa.Table) -> None:
    table = disease_catalogue(annotations, Crosswalk.identity())
    assert table.column("disease_id").to_pylist() == ["OMIM:900001", "OMIM:900002", "ORPHA:91"]
    assert set(table.column("origin").to_pylist()) == {"identity"}
    assert table.schema.equals(TABLES["clinical/disease_catalogue"].schema)


def test_diseases_of_cases_and_common_conditions_are_added(annotations: pa.Table) -> None:
    table = disease_catalogue(
        annotations,
        Crosswalk.identity(),
        {"OMIM:900009": "Only in cases", "OMIM:900002": "another name"},
        [Condition("Acute otitis media", "h66.9"), Condition("URTI", "")],
    )
    rows = {row["disease_id"]: row for row in table.to_pylist()}
    assert (rows["OMIM:900009"]["name"], rows["OMIM:900009"]["n_annotations"]) == ("Only in cases", 0)
    assert rows["OMIM:900002"]["name"] == "Heart disease"
    assert rows["common:acute-otitis-media"]["equivalents"] == ["common:acute-otitis-media", "ICD10:H66.9"]
    assert rows["common:urti"]["kind"] == "common"
    assert duplicated_keys(table, TABLES["clinical/disease_catalogue"]) == []


def test_nothing_known_gives_an_empty_catalogue(annotations: pa.Table) -> None:
    assert disease_catalogue(annotations.slice(0, 0), Crosswalk.identity()).num_rows == 0
