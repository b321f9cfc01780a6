import json

from medassets.cohorts.tables import TABLES, conform
from medassets.ingest.quarantine import QuarantineRow, excerpt, quarantine_table, reasons

ROW = QuarantineRow(
    "phenopackets", "a.json", 3, "case_1", "subject.sex", "X", "unknown sex", "MALE, FEMALE", "{}"
)


def test_table_conforms_even_without_rows() -> None:
    spec = TABLES["clinical/quarantine"]
    assert conform(quarantine_table([]), spec).num_rows == 0
    table = conform(quarantine_table([ROW]), spec)
    assert table.to_pylist() == [ROW.as_dict()]


def test_message_names_file_row_field_and_what_is_allowed() -> None:
    assert ROW.message == "a.json, row 3: subject.sex = 'X': unknown sex (allowed: MALE, FEMALE)"


def test_reasons_count_most_frequent_first() -> None:
    other = QuarantineRow("phenopackets", "b.json", None, None, "id", None, "no id", "a text")
    assert reasons([other, ROW, ROW]) == {
        "phenopackets: subject.sex: unknown sex": 2,
        "phenopackets: id: no id": 1,
    }


def test_excerpt_is_json_and_short() -> None:
    assert json.loads(excerpt({"b": 1, "a": "é"})) == {"a": "é", "b": 1}
    assert len(excerpt("x" * 10_000)) == 2000
