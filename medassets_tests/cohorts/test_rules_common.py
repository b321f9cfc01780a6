from typing import Any

import pyarrow as pa
import pytest

from medassets.cohorts.rules import rows_breaking
from medassets.cohorts.rules_common import COMMON_RULES, check_common
from medassets.cohorts.simulate_common import simulate
from medassets.cohorts.splits import common_split
from medassets.cohorts.tables import TABLES, conform
from medassets.knowledge.common_conditions import CommonKnowledge


@pytest.fixture(scope="module")
def knowledge() -> CommonKnowledge:
    return CommonKnowledge.bundled()


def patients(*rows: dict[str, Any]) -> pa.Table:
    filled = [
        {"patient_id": f"p{i}", "age": 30, "sex": "F", "condition": "URTI", "evidence": ["E_91"],
         "unknown": [], "completeness": 1.0, "complete_enough": True, "origin": "ddxplus"} | row
        for i, row in enumerate(rows)
    ]  # fmt: skip
    return conform(pa.Table.from_pylist(filled), TABLES["clinical/common_patients"])


@pytest.mark.parametrize(
    ("row", "rules"),
    [
        ({}, []),
        ({"age": None, "condition": None, "evidence": []}, []),
        ({"age": 131}, ["age_possible"]),
        ({"age": -1, "evidence": []}, ["age_possible"]),
        ({"condition": "Hiccups"}, ["condition_known"]),
        ({"unknown": ["E_91"]}, ["present_or_unknown"]),
        ({"evidence": ["E_55_@_V_10"], "unknown": ["E_55"]}, ["present_or_unknown"]),
        ({"unknown": ["E_53"]}, []),
        ({"sex": "M", "evidence": ["E_167"]}, ["evidence_fits_sex"]),
        ({"sex": "M", "evidence": ["E_133_@_V_95"]}, ["evidence_fits_sex"]),
        ({"sex": "F", "evidence": ["E_133_@_V_155"]}, ["evidence_fits_sex"]),
        ({"sex": "unknown", "evidence": ["E_167"]}, []),
        ({"age": 4, "evidence": ["E_167"]}, ["evidence_fits_age"]),
        ({"age": 70, "evidence": ["E_167"]}, ["evidence_fits_age"]),
        ({"age": 30, "evidence": ["E_167"]}, []),
    ],
)
def test_rules(knowledge: CommonKnowledge, row: dict[str, Any], rules: list[str]) -> None:
    found = check_common(patients({}, row, {}), knowledge)
    assert found.column("rule").to_pylist() == rules
    assert set(found.column("row_id").to_pylist()) <= {"p1"}
    conform(found, TABLES["clinical/rule_violations"])


def test_no_patient_breaks_nothing(knowledge: CommonKnowledge) -> None:
    assert check_common(TABLES["clinical/common_patients"].empty(), knowledge).num_rows == 0


def test_simulated_patients_stay_within_what_is_tolerated(knowledge: CommonKnowledge) -> None:
    simulated = simulate(knowledge, seed=1, per_condition=100, missing_rate=0.05, noise_rate=0.01)
    found = check_common(simulated, knowledge)
    for rule in COMMON_RULES:
        assert rows_breaking(found, rule) <= rule.tolerated * simulated.num_rows, rule.name


def test_common_split_is_stratified_and_leaves_out_who_has_no_condition(knowledge: CommonKnowledge) -> None:
    rows = [{"condition": "URTI"}] * 50 + [{"condition": "Croup"}] * 20 + [{"condition": None}]
    split = common_split(patients(*rows), seed=4)
    conform(split, TABLES["features/common_split"])
    assert "p70" not in split.column("patient_id").to_pylist()
    parts = dict(zip(split.column("patient_id").to_pylist(), split.column("part").to_pylist(), strict=True))
    for members, expected in ((range(50), (40, 5, 5)), (range(50, 70), (16, 2, 2))):
        counted = [sum(parts[f"p{i}"] == part for i in members) for part in ("train", "validation", "test")]
        assert tuple(counted) == expected
