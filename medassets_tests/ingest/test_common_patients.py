import numpy as np
import pyarrow as pa

from medassets.ingest.common_patients import PATIENT_SCHEMA, base_code, list_column, with_completeness


def patient(**values) -> dict:
    return {
        "patient_id": "p",
        "age": 1,
        "sex": "F",
        "evidence": [],
        "unknown": [],
        "initial_evidence": "E_1",
    } | values


def completeness(*rows: dict, n_evidences: int) -> list[tuple[float, bool]]:
    table = with_completeness(pa.Table.from_pylist(list(rows), schema=PATIENT_SCHEMA), n_evidences)
    return list(zip(*(table.column(c).to_pylist() for c in ("completeness", "complete_enough")), strict=True))


def test_every_expected_field_counts_once() -> None:
    unknown = [f"E_{i}" for i in range(3)]
    assert completeness(
        patient(),
        patient(age=None),
        patient(sex="unknown"),
        patient(initial_evidence=None),
        patient(unknown=unknown),  # 7 of 10: just enough
        patient(unknown=unknown, age=None),
        n_evidences=7,
    ) == [(1.0, True), (0.9, True), (0.9, True), (0.9, True), (0.7, True), (0.6, False)]


def test_lists_are_built_for_rows_without_entries_too() -> None:
    lists = list_column(np.array([1, 1, 3]), np.array([2, 0, 1]), ["a", "b", "c"], 5)
    assert lists.to_pylist() == [[], ["c", "a"], [], ["b"], []]
    assert list_column(np.array([], int), np.array([], int), [], 2).to_pylist() == [[], []]


def test_an_answer_names_its_evidence() -> None:
    assert [base_code(answer) for answer in ("E_54_@_V_161", "E_91")] == ["E_54", "E_91"]
