import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from medassets.cohorts.rare_cases import read_rare_cases
from medassets.features.cases import CaseSet
from medassets.knowledge.ontology import Ontology
from medassets_tests.fixtures_rare import feature, ontology, packet, write_zip


@pytest.fixture(scope="module")
def hpo() -> Ontology:
    return ontology()


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory, hpo: Ontology) -> tuple[pa.Table, pa.Table]:
    packets = {
        "a.json": packet("a", phenotypicFeatures=[
            feature("HP:9000020"), feature("HP:9000911"), feature("HP:9000021", excluded=True),
        ]),
        "b.json": {"id": "b", "phenotypicFeatures": [feature("HP:9000012", excluded=True)]},
        "c.json": packet("c", phenotypicFeatures=[feature("HP:9000013")]),
    }  # fmt: skip
    read = read_rare_cases(write_zip(tmp_path_factory.mktemp("p") / "p.zip", packets), hpo)
    return read.cases, read.phenotypes


@pytest.fixture(scope="module")
def cases(tables: tuple[pa.Table, pa.Table], hpo: Ontology) -> CaseSet:
    return CaseSet.from_tables(*tables, hpo)


def ids(hpo: Ontology, terms: np.ndarray) -> list[str]:
    return [hpo.terms[i] for i in terms]


def test_from_tables(cases: CaseSet, hpo: Ontology) -> None:
    assert cases.case_ids == ["a", "b", "c"]
    assert cases.disease_ids == ["OMIM:900001", None, "OMIM:900001"]
    assert ids(hpo, cases.observed[0]) == ["HP:9000011", "HP:9000020"]
    assert ids(hpo, cases.excluded[0]) == ["HP:9000021"]
    assert [len(terms) for terms in cases.observed] == [2, 0, 1]
    assert cases.observed[0].dtype == np.int32
    np.testing.assert_array_equal(cases.age_days, [1156, np.nan, 1156])
    assert cases.sex == ["F", "unknown", "F"]
    assert cases.pmids == [("PMID:1",), (), ("PMID:1",)]
    assert cases.origins == ["published_case"] * 3


def test_findings_of_other_cases_are_left_out(tables: tuple[pa.Table, pa.Table], hpo: Ontology) -> None:
    last = CaseSet.from_tables(tables[0].slice(2), tables[1], hpo)
    assert last.case_ids == ["c"]
    assert ids(hpo, last.observed[0]) == ["HP:9000013"]


def test_no_case_is_a_set_too(tables: tuple[pa.Table, pa.Table], hpo: Ontology) -> None:
    none = CaseSet.from_tables(tables[0].slice(0, 0), tables[1].slice(0, 0), hpo)
    assert len(none) == 0
    assert none.matrix(len(hpo)).shape == (0, len(hpo))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (np.array([True, False, True]), ["a", "c"]),
        ([2, 0], ["c", "a"]),
        (np.array([], dtype=np.int64), []),
        (slice(1, None), ["b", "c"]),
    ],
)
def test_choosing(cases: CaseSet, chosen: object, expected: list[str]) -> None:
    part = cases[chosen]  # type: ignore[index]
    assert part.case_ids == expected
    assert len(part.observed) == len(part.age_days) == len(part) == len(expected)


def test_a_mask_of_the_wrong_length_is_refused(cases: CaseSet) -> None:
    with pytest.raises(IndexError, match="2 values cannot choose among 3 cases"):
        cases[np.array([True, False])]


def test_concatenate(cases: CaseSet) -> None:
    both = cases[[2]].concatenate(cases[[0]])
    assert both.case_ids == ["c", "a"]
    assert both.pmids == [("PMID:1",), ("PMID:1",)]


def test_matrices(cases: CaseSet, hpo: Ontology) -> None:
    observed = cases.matrix(len(hpo)).toarray()
    assert observed.sum(axis=1).tolist() == [2, 0, 1]
    excluded = cases.matrix(len(hpo), excluded=True).toarray()
    assert excluded[1, hpo.index["HP:9000012"]] == 1
    implied = cases.implied_matrix(hpo).toarray()
    for row, terms in zip(implied, cases.observed, strict=True):
        assert set(np.flatnonzero(row)) == hpo.implied(terms.tolist())
    assert set(np.unique(implied)) == {0.0, 1.0}


def test_single_resolves_ids(hpo: Ontology) -> None:
    one = CaseSet.single(hpo, ["HP:9000911", "HP:9000011"], ["HP:9000020"], age_days=10, sex="M")
    assert ids(hpo, one.observed[0]) == ["HP:9000011"]
    assert ids(hpo, one.excluded[0]) == ["HP:9000020"]
    assert (one.age_days.tolist(), one.sex, one.disease_ids) == ([10.0], ["M"], [None])
    assert np.isnan(CaseSet.single(hpo, ["HP:9000011"]).age_days[0])


def test_single_names_unknown_ids(hpo: Ontology) -> None:
    with pytest.raises(ValueError, match=r"not in HPO 2025-01-16: HP:1111111, HP:9000031"):
        CaseSet.single(hpo, ["HP:1111111", "HP:9000011"], ["HP:9000031"])


def test_fields_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        CaseSet(["a"], [], [], [], np.array([]), [], [], [])


def test_the_serving_path_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'pandas', 'polars', 'sklearn'}"
    code = f"import sys, medassets.features.cases; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
