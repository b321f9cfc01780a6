import zipfile
from pathlib import Path

import pytest

from medassets.ingest.ddxplus import read_batches, read_patients
from medassets.ingest.quarantine import IngestError
from medassets.knowledge.common_conditions import CommonKnowledge

KNOWLEDGE = CommonKnowledge.bundled()
HEADER = "AGE,DIFFERENTIAL_DIAGNOSIS,SEX,PATHOLOGY,EVIDENCES,INITIAL_EVIDENCE\n"
GOOD = "31,\"[['Anemia', 0.25], ['GERD', 1e-05]]\",F,Anemia,\"['E_91', 'E_54_@_V_161']\",E_91\n"


def other(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_bytes((header + "".join(rows)).encode())
    return path


def test_a_row_arrives_whole(tmp_path) -> None:
    patients, faults = read_patients(write(tmp_path / "p.csv", GOOD), KNOWLEDGE)
    assert faults == []
    row = patients.to_pylist()[0]
    assert row.pop("patient_id").startswith("ddxplus-")
    assert row == {
        "age": 31, "sex": "F", "condition": "Anemia", "evidence": ["E_91", "E_54_@_V_161"], "unknown": [],
        "initial_evidence": "E_91", "completeness": 1.0, "complete_enough": True, "origin": "ddxplus",
        "differential": [
            {"condition": "Anemia", "probability": 0.25}, {"condition": "GERD", "probability": 1e-05}
        ],
        "source_file": "p.csv", "source_row": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (other("31", "131"), "AGE", "impossible age"),
        (other("31", "-3"), "AGE", "impossible age"),
        (other("31", "x"), "AGE", "impossible age"),
        (other(",F,", ",Q,"), "SEX", "unknown sex"),
        (other('",F,Anemia', '",F,Anaemia'), "PATHOLOGY", "unknown pathology"),
        (other("'E_91'", "'E_91', 'E_9999'"), "EVIDENCES", "unknown evidence"),
        (other("V_161", "V_1"), "EVIDENCES", "unknown value of E_54"),
        (other("'E_91'", "'E_91', 'E_201_@_V_1'"), "EVIDENCES", "takes no value"),
        (other("'E_91'", "'E_91', 'E_56_@_3', 'E_56_@_4'"), "EVIDENCES", "exclude each other"),
        (other("'E_91'", "'E_91', 'E_57_@_V_123', 'E_57_@_V_89'"), "EVIDENCES", "exclude each other"),
        (other("']\"", "\""), "EVIDENCES", "not a complete list"),
        (other("['E_91', 'E_54_@_V_161']", "__import__('os').getcwd()"), "EVIDENCES", "not a complete list"),
        (other("['E_91', 'E_54_@_V_161']", ""), "EVIDENCES", "not a complete list"),
        (other(",E_91\n", ",E_53\n"), "INITIAL_EVIDENCE", "not among the row's evidences"),
        (other(",E_91\n", ",fever\n"), "INITIAL_EVIDENCE", "unknown evidence"),
        (other("0.25", "2.5"), "DIFFERENTIAL_DIAGNOSIS", "probability outside 0 to 1"),
        (other("['GERD', 1e-05]", "['Gerd', 0.1]"), "DIFFERENTIAL_DIAGNOSIS", "unknown condition"),
        (other("['GERD', 1e-05]", "['GERD']"), "DIFFERENTIAL_DIAGNOSIS", "not a complete list"),
        (other(",E_91\n", "\n"), "row", "wrong number of columns"),
        (other("']\",E_91", ""), "row", "a quote is not closed"),
    ],
)  # fmt: skip
def test_a_bad_row_is_set_aside_and_the_good_ones_arrive(tmp_path, row: str, field: str, reason: str) -> None:
    patients, faults = read_patients(write(tmp_path / "p.csv", GOOD, row, other("31", "32")), KNOWLEDGE)
    assert patients.column("source_row").to_pylist() == [1, 3]
    assert [fault.row for fault in faults] == [2]
    fault = faults[0]
    assert (fault.source, fault.source_file, fault.field) == ("ddxplus", "p.csv", field)
    assert reason in fault.reason and fault.allowed and fault.raw
    assert "p.csv, row 2" in fault.message


def test_all_faults_of_a_row_are_reported(tmp_path) -> None:
    row = GOOD.replace("31", "200").replace(",F,", ",Q,")
    _, faults = read_patients(write(tmp_path / "p.csv", row), KNOWLEDGE)
    assert [fault.field for fault in faults] == ["AGE", "SEX"]


def test_near_matches_are_offered(tmp_path) -> None:
    _, faults = read_patients(write(tmp_path / "p.csv", other("'E_91'", "'E_91', 'E_2044'")), KNOWLEDGE)
    assert faults[0].value == "E_2044" and "E_204" in faults[0].allowed


@pytest.mark.parametrize("ending", ["\r\n", "\n"])
def test_windows_files_are_read_alike(tmp_path, ending: str) -> None:
    text = (HEADER + GOOD + "\n" + other("31", "32")).replace("\n", ending)
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    patients, faults = read_patients(path, KNOWLEDGE)
    assert (patients.column("age").to_pylist(), faults) == ([31, 32], [])
    assert patients.column("initial_evidence").to_pylist() == ["E_91", "E_91"]


def test_a_row_that_is_not_utf8_is_set_aside(tmp_path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(
        (HEADER + GOOD).encode()
        + b"32,,F,Guillain-Barr\xe9 syndrome,['E_91'],E_91\n"
        + other("31", "33").encode()
    )
    patients, faults = read_patients(path, KNOWLEDGE)
    assert patients.column("age").to_pylist() == [31, 33]
    assert [(fault.row, fault.reason) for fault in faults] == [(2, "not UTF-8")]


def test_unusual_but_legal_lists_are_read(tmp_path) -> None:
    rows = [
        other("', '", '",   "')
        .replace("['E", '[""E')
        .replace("161']", '161""]')
        .replace('",   "', '"",   ""'),
        other("31", "32"),
    ]
    patients, faults = read_patients(write(tmp_path / "p.csv", *rows), KNOWLEDGE)
    assert faults == []
    assert patients.column("evidence").to_pylist() == [["E_91", "E_54_@_V_161"]] * 2


def test_missing_age_sex_and_differential_are_kept_and_counted(tmp_path) -> None:
    row = ",,,Anemia,\"['E_91']\",E_91\n"
    patients, faults = read_patients(write(tmp_path / "p.csv", row), KNOWLEDGE)
    assert faults == []
    got = patients.to_pylist()[0]
    assert (got["age"], got["sex"], got["differential"]) == (None, "unknown", None)
    assert got["completeness"] == pytest.approx(224 / 226)


def test_a_repeated_row_counts_once(tmp_path) -> None:
    path = write(tmp_path / "p.csv", GOOD, GOOD, other("31", "32"))
    patients, faults = read_patients(path, KNOWLEDGE)
    assert patients.column("source_row").to_pylist() == [1, 3]
    assert [(f.row, f.reason.partition(":")[0]) for f in faults] == [(2, "duplicate patient")]
    kept, faults = read_patients(path, KNOWLEDGE, duplicates="keep")
    assert (kept.num_rows, faults) == (3, [])
    assert len(set(kept.column("patient_id").to_pylist())) == 3


def test_a_repeated_id_counts_once_across_batches(tmp_path) -> None:
    rows = [f"p{i}," + other("31", str(age)) for i, age in ((1, 31), (2, 32), (1, 33))] + [
        "," + other("31", "34")
    ]
    path = write(tmp_path / "p.csv", *rows, header="ID," + HEADER)
    batches = list(read_batches(path, KNOWLEDGE, id_column="ID", batch_rows=1))
    ids = [name for batch in batches for name in batch.patients.column("patient_id").to_pylist()]
    faults = [(f.row, f.field, f.reason) for batch in batches for f in batch.quarantined]
    assert ids == ["p1", "p2"]
    assert faults == [(3, "ID", "duplicate patient: an earlier row has this id"), (4, "ID", "no id")]


def test_batches_do_not_change_the_result(tmp_path) -> None:
    rows = (
        [other("31", str(age)) for age in range(20)]
        + [other("31", "999")]
        + [other("31", str(age)) for age in range(20, 40)]
    )
    path = write(tmp_path / "p.csv", *rows)
    whole = next(iter(read_batches(path, KNOWLEDGE)))
    parts = list(read_batches(path, KNOWLEDGE, batch_rows=7))
    assert [len(p.patients) for p in parts] == [7, 7, 6, 7, 7, 6]
    assert [row for p in parts for row in p.patients.to_pylist()] == whole.patients.to_pylist()
    assert [f.row for p in parts for f in p.quarantined] == [21]


def test_a_file_of_bad_rows_only_gives_an_empty_table(tmp_path) -> None:
    patients, faults = read_patients(write(tmp_path / "p.csv", other(']"', "")), KNOWLEDGE)
    assert patients.num_rows == 0 and "patient_id" in patients.column_names and len(faults) == 1


def test_a_zip_is_read_whatever_its_member_is_called(tmp_path) -> None:
    path = tmp_path / "release_train_patients.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("release_train_patients", HEADER + GOOD)
    patients, _ = read_patients(path, KNOWLEDGE)
    assert patients.column("source_file").to_pylist() == ["release_train_patients.zip/release_train_patients"]
    again, _ = read_patients(path, KNOWLEDGE)
    assert again.equals(patients)


def test_a_missing_column_is_named(tmp_path) -> None:
    path = write(tmp_path / "p.csv", GOOD, header=HEADER.replace("SEX", "GENDER"))
    with pytest.raises(IngestError, match=r"p\.csv: column SEX is missing; the file has AGE, DIFF.*GENDER"):
        read_patients(path, KNOWLEDGE)
    with pytest.raises(IngestError, match="column ID is missing"):
        read_patients(write(tmp_path / "q.csv", GOOD), KNOWLEDGE, id_column="ID")


def test_a_corrupt_zip_is_named(tmp_path) -> None:
    path = tmp_path / "release_train_patients.zip"
    path.write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(IngestError, match=r"release_train_patients\.zip: corrupt zip"):
        read_patients(path, KNOWLEDGE)


def test_a_zip_damaged_inside_is_named(tmp_path) -> None:
    path = tmp_path / "train.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("patients", HEADER + "".join(other("31", str(i % 130)) for i in range(3000)))
    content = bytearray(path.read_bytes())
    for position in range(len(content) // 3, len(content) // 3 + 40):
        content[position] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(IngestError, match=r"train\.zip/patients: corrupt zip"):
        read_patients(path, KNOWLEDGE)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "column AGE"), (b"\xff\xfeA\x00,\x00", "not text in UTF-8")]
)
def test_a_file_of_another_kind_is_refused(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    with pytest.raises(IngestError, match=message):
        read_patients(path, KNOWLEDGE)


def test_empty_archives_and_missing_files_are_named(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(IngestError, match="holds no file"):
        read_patients(tmp_path / "empty.zip", KNOWLEDGE)
    with pytest.raises(IngestError, match="file is missing"):
        read_patients(tmp_path / "none.zip", KNOWLEDGE)


def test_the_official_rows_are_read_whole(shared_data) -> None:
    patients, faults = read_patients(shared_data / "ddxplus" / "release_train_patients.zip", KNOWLEDGE)
    assert (patients.num_rows, faults) == (1850, [])
    assert set(patients.column("origin").to_pylist()) == {"ddxplus"}
    sums = [sum(d["probability"] for d in row) for row in patients.column("differential").to_pylist()]
    assert min(sums) > 0.99 and max(sums) < 1.01
