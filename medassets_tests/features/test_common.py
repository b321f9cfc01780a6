import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.features.common import EvidenceError, EvidenceSpace
from medassets.knowledge.common_conditions import CommonKnowledge

KNOWLEDGE = CommonKnowledge.bundled()
SPACE = EvidenceSpace.from_knowledge(KNOWLEDGE)


def at(row: np.ndarray, name: str) -> int:
    return int(row[SPACE.index[name]])


def test_columns_stand_in_the_announced_order() -> None:
    assert SPACE.n_features == len(SPACE.names) == len(set(SPACE.names)) == 920
    assert SPACE.names[SPACE.base] == KNOWLEDGE.codes
    assert SPACE.names[SPACE.levels] == [f"E_{i}_@_level" for i in (56, 58, 59, 132, 134, 136)]
    assert (SPACE.names[SPACE.age], SPACE.names[SPACE.sex]) == ("age", "sex")
    assert "E_54_@_V_161" in SPACE.index
    assert "E_55_@_V_123" not in SPACE.index  # the default is the base column's absence
    assert EvidenceSpace.from_json(SPACE.to_json()) == SPACE


def test_a_full_record_leaves_nothing_unknown() -> None:
    row = SPACE.encode(["E_91", "E_53", "E_54_@_V_161", "E_56_@_7"], age=40, sex="F")
    assert [at(row, n) for n in ("E_91", "E_201", "E_54", "E_54_@_V_161", "E_54_@_V_71")] == [1, 0, 1, 1, 0]
    assert (at(row, "E_56"), at(row, "E_56_@_level"), at(row, "age"), at(row, "sex")) == (1, 7, 40, 0)
    assert (row != -1).all()


def test_default_answers_mean_absent() -> None:
    row = SPACE.encode(["E_53", "E_57_@_V_123", "E_56_@_0", "E_204_@_V_10"])
    assert [at(row, n) for n in ("E_57", "E_56", "E_56_@_level", "E_204")] == [0, 0, 0, 0]


def test_unknown_stays_apart_from_absent() -> None:
    row = SPACE.encode([], unknown=["E_91", "E_53", "E_204"])
    assert [at(row, n) for n in ("E_91", "E_201", "E_204_@_V_6")] == [-1, 0, -1]
    # Nobody can say where it hurts before saying whether it does.
    assert [at(row, n) for n in ("E_55", "E_55_@_V_89", "E_56_@_level")] == [-1, -1, -1]


def test_a_bare_code_is_present_with_its_value_unknown() -> None:
    row = SPACE.encode(["E_55", "E_56"])
    assert [at(row, n) for n in ("E_55", "E_55_@_V_89", "E_56", "E_56_@_level")] == [1, -1, 1, -1]
    both = SPACE.encode(["E_55", "E_55_@_V_89"])
    assert [at(both, n) for n in ("E_55_@_V_89", "E_55_@_V_92")] == [1, 0]


def test_a_present_detail_answers_its_question() -> None:
    assert at(SPACE.encode(["E_55_@_V_89"]), "E_53") == 1


def test_in_a_consultation_what_is_not_named_is_unknown() -> None:
    row = SPACE.encode(["E_91", "E_55_@_V_89"], absent=["E_201", "E_129", "E_55_@_V_92"])
    assert [at(row, n) for n in ("E_91", "E_201", "E_50", "E_53", "E_55_@_V_92")] == [1, 0, -1, 1, 0]
    assert [at(row, n) for n in ("E_130", "E_130_@_V_86", "E_136_@_level")] == [0, 0, 0]
    nothing = SPACE.encode([], absent=[])
    assert (nothing == -1).all()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"evidence": ["E_9999"]}, r"evidence: 'E_9999': unknown evidence; near matches: E_99"),
        ({"evidence": ["fever"]}, r"codes look like E_91"),
        ({"evidence": ["E_54_@_V_1"]}, r"E_54 has no value 'V_1'"),
        ({"evidence": ["E_56_@_11"]}, r"E_56 has no value '11'"),
        ({"evidence": ["E_91_@_V_1"]}, r"takes no value; use E_91"),
        ({"evidence": ["age"]}, r"unknown evidence"),
        ({"evidence": ["E_130_@_V_86", "E_130_@_V_107"]}, r"exclude each other"),
        ({"evidence": ["E_57_@_V_123", "E_57_@_V_89"]}, r"exclude each other"),
        ({"evidence": ["E_91"], "unknown": ["E_91"]}, r"unknown: 'E_91': both unknown and present"),
        ({"evidence": ["E_91"], "absent": ["E_91"]}, r"absent: 'E_91': both present and absent"),
        ({"evidence": ["E_55_@_V_89"], "absent": ["E_55"]}, r"absent, but a value of it is present"),
        ({"evidence": [], "absent": ["E_91"], "unknown": ["E_91"]}, r"both unknown and absent"),
        ({"evidence": ["E_55_@_V_89"], "absent": ["E_55_@_V_89"]}, r"both present and absent"),
        ({"evidence": ["E_55_@_V_89"], "absent": ["E_53"]}, r"its detail E_55 is present"),
        ({"evidence": [], "unknown": ["E_54_@_V_161"]}, r"use the base code"),
        ({"evidence": [], "age": -1}, r"impossible age; 0 to 130"),
        ({"evidence": [], "age": 131}, r"impossible age"),
        ({"evidence": [], "sex": "male"}, r"one of M, F, unknown"),
    ],
)
def test_what_cannot_be_used_is_named(answers: dict, message: str) -> None:
    with pytest.raises(EvidenceError, match=message) as caught:
        SPACE.encode(**answers)
    assert caught.value.field in ("evidence", "unknown", "absent", "age", "sex")


def test_ages_beyond_the_matrix_are_capped() -> None:
    assert at(SPACE.encode([], age=125), "age") == 120
    assert at(SPACE.encode([]), "age") == -1
    assert at(SPACE.encode([], sex="unknown"), "sex") == -1


@st.composite
def records(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    evidence, unknown = [], []
    chosen = draw(st.lists(st.sampled_from(SPACE.shapes), unique=True, max_size=12))
    for shape in chosen:
        if draw(st.booleans()):
            unknown.append(shape.code)
            continue
        values = [value for value in shape.values if value != shape.default]
        if not values or draw(st.booleans()):
            evidence.append(shape.code)
        else:
            most = 1 if shape.type == "C" else 3
            evidence += [
                f"{shape.code}_@_{value}"
                for value in draw(st.lists(st.sampled_from(values), min_size=1, max_size=most, unique=True))
            ]
    return evidence, unknown


@settings(max_examples=60)
@given(st.lists(records(), min_size=1, max_size=4))
def test_the_table_is_encoded_like_its_rows_and_decoding_is_the_inverse(
    rows: list[tuple[list[str], list[str]]],
) -> None:
    strings = pa.list_(pa.string())
    table = pa.table(
        {
            "evidence": pa.array([evidence for evidence, _ in rows], strings),
            "unknown": pa.array([unknown for _, unknown in rows], strings),
            "age": pa.array([30] * len(rows), pa.int16()),
            "sex": pa.array(["M"] * len(rows)),
        }
    )
    matrix = SPACE.encode_table(table)
    for encoded, (evidence, unknown) in zip(matrix, rows, strict=True):
        assert np.array_equal(encoded, SPACE.encode(evidence, unknown, 30, "M"))
        assert np.array_equal(encoded, SPACE.encode(*SPACE.decode(encoded), 30, "M"))
        base = encoded[SPACE.base]
        for child in np.flatnonzero(SPACE.parents >= 0):
            assert base[child] == base[SPACE.parents[child]] or base[SPACE.parents[child]] == 1


@pytest.mark.parametrize(
    ("evidence", "unknown", "message"),
    [
        ([["E_91"], ["E_0", "E_nine"]], [[], []], r"row 1: evidence: 'E_nine'"),
        ([["E_91"], ["E_91"]], [[], ["E_91"]], r"row 1: unknown: 'E_91': both present and unknown"),
        ([["E_204_@_V_10"]], [["E_204"]], r"row 0: unknown: 'E_204_@_V_10'"),
        ([[], []], [[], ["E_x"]], r"row 1: unknown: 'E_x'"),
    ],
)
def test_a_table_error_names_the_row(evidence: list, unknown: list, message: str) -> None:
    strings = pa.list_(pa.string())
    table = pa.table(
        {
            "evidence": pa.array(evidence, strings),
            "unknown": pa.array(unknown, strings),
            "age": pa.array([1] * len(evidence), pa.int16()),
            "sex": pa.array(["F"] * len(evidence)),
        }
    )
    with pytest.raises(EvidenceError, match=message):
        SPACE.encode_table(table)


def test_a_table_of_no_rows_is_encoded() -> None:
    strings = pa.list_(pa.string())
    table = pa.schema(
        {"evidence": strings, "unknown": strings, "age": pa.int16(), "sex": pa.string()}
    ).empty_table()
    assert SPACE.encode_table(table).shape == (0, 920)
