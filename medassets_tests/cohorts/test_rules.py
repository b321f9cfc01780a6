from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from medassets.cohorts.rare_cases import read_rare_cases
from medassets.cohorts.rules import (
    AGE_POSSIBLE,
    RARE_RULES,
    check_ages,
    check_rare,
    rows_breaking,
    sex_limited_diseases,
)
from medassets.cohorts.tables import TABLES, conform
from medassets.knowledge.annotations import read_annotations
from medassets_tests.fixtures_rare import HPOA_ROWS, feature, ontology, packet, write_hpoa, write_zip

Tables = tuple[pa.Table, pa.Table]


def read(folder: Path, *features: dict[str, Any], **changes: Any) -> Tables:
    path = write_zip(folder / "p.zip", {"a.json": packet(phenotypicFeatures=list(features), **changes)})
    cases = read_rare_cases(path, ontology())
    return cases.cases, cases.phenotypes


def replaced(table: pa.Table, column: str, values: list[object]) -> pa.Table:
    position = table.column_names.index(column)
    return table.set_column(
        position, table.schema.field(column), pa.array(values, table.schema.field(column).type)
    )


def broken(tables: Tables, limited: dict[str, str] | None = None) -> list[tuple[str, str]]:
    violations = check_rare(*tables, ontology(), limited)
    conform(violations, TABLES["clinical/rule_violations"])
    return [(row["rule"], row["value"]) for row in violations.to_pylist()]


def test_a_sound_case_breaks_nothing(tmp_path: Path) -> None:
    assert broken(read(tmp_path, feature("HP:9000011"), feature("HP:9000020", excluded=True))) == []


def test_excluded_ancestor_of_an_observed_term(tmp_path: Path) -> None:
    tables = read(tmp_path, feature("HP:9000013"), feature("HP:9000010", excluded=True))
    assert broken(tables) == [("no_excluded_ancestor", "HP:9000010")]
    (row,) = check_rare(*tables, ontology()).to_pylist()
    assert row["row_id"] == "case_1"
    assert row["reason"] == "excluded, but observed HP:9000013 Unsteady gait and arms implies it"


def test_excluded_descendant_of_an_observed_term_is_sound(tmp_path: Path) -> None:
    assert broken(read(tmp_path, feature("HP:9000010"), feature("HP:9000013", excluded=True))) == []


@pytest.mark.parametrize(
    ("sex", "hpo_id", "excluded", "rules"),
    [
        ("FEMALE", "HP:0000028", False, [("term_fits_sex", "HP:0000028")]),
        ("MALE", "HP:0000028", False, []),
        ("MALE", "HP:0010460", False, [("term_fits_sex", "HP:0010460")]),
        ("UNKNOWN_SEX", "HP:0000028", False, []),
        ("FEMALE", "HP:0000028", True, []),
    ],
)
def test_terms_of_one_sex(
    tmp_path: Path, sex: str, hpo_id: str, excluded: bool, rules: list[tuple[str, str]]
) -> None:
    assert (
        broken(read(tmp_path, feature(hpo_id, excluded=excluded), subject={"id": "x", "sex": sex})) == rules
    )


def test_diseases_of_one_sex_come_from_the_annotations(tmp_path: Path) -> None:
    annotations, _ = read_annotations(write_hpoa(tmp_path, *HPOA_ROWS), ontology())
    limited = sex_limited_diseases(annotations)
    assert limited == {"OMIM:900002": "M"}
    heart = [{"term": {"id": "OMIM:900002", "label": "Heart disease"}}]
    tables = read(tmp_path, feature("HP:9000021"), diseases=heart)
    assert broken(tables, limited) == [("disease_fits_sex", "OMIM:900002")]
    assert broken(tables) == []


def test_onset_after_the_last_encounter(tmp_path: Path) -> None:
    late = {"age": {"iso8601duration": "P4Y"}}
    assert broken(read(tmp_path, feature("HP:9000011", onset=late))) == [("onset_before_age", "HP:9000011")]
    early = {"ontologyClass": {"id": "HP:0003577"}}
    assert broken(read(tmp_path, feature("HP:9000011", onset=early))) == []


@pytest.mark.parametrize(
    ("age", "rules"), [("P6M", [("term_fits_age", "HP:0031936")]), ("P3Y", []), (None, [])]
)
def test_terms_that_cannot_be_told_yet(tmp_path: Path, age: str | None, rules: list[tuple[str, str]]) -> None:
    subject = {"id": "x", "sex": "MALE"}
    if age:
        subject["timeAtLastEncounter"] = {"age": {"iso8601duration": age}}  # type: ignore[assignment]
    assert broken(read(tmp_path, feature("HP:0031936"), subject=subject)) == rules


def test_rows_that_the_reader_would_not_let_through_are_found_all_the_same(tmp_path: Path) -> None:
    cases, phenotypes = read(tmp_path, feature("HP:9000011"), feature("HP:9000020", excluded=True))
    unknown = replaced(phenotypes, "hpo_id", ["HP:9000030", "HP:7777777"])
    assert broken((cases, unknown)) == [("term_resolvable", "HP:9000030"), ("term_resolvable", "HP:7777777")]
    twice = replaced(phenotypes, "hpo_id", ["HP:9000011", "HP:9000011"])
    assert broken((cases, twice)) == [("observed_or_excluded", "HP:9000011")]
    assert broken((replaced(cases, "age_days", [-1]), phenotypes)) == [("age_possible", "-1")]


@pytest.mark.parametrize(("age", "n"), [(0, 0), (130, 0), (131, 1), (-1, 1), (None, 0)])
def test_ages_of_any_table(age: int | None, n: int) -> None:
    patients = pa.table({"patient_id": ["p"], "age": pa.array([age], pa.int16())})
    violations = check_ages(patients, "patient_id", "age")
    assert rows_breaking(violations, AGE_POSSIBLE) == n


def test_rules_have_names_of_their_own() -> None:
    assert len({rule.name for rule in RARE_RULES}) == len(RARE_RULES)
    assert all(0 <= rule.tolerated < 1 and rule.description for rule in RARE_RULES)
