import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from medassets.cohorts.rules import check_rare, sex_limited_diseases
from medassets.cohorts.simulate_rare import simulate_rare_cases
from medassets.cohorts.splits import check_no_leak, rare_split
from medassets.cohorts.tables import TABLES
from medassets.knowledge.annotations import read_annotations
from medassets.knowledge.ontology import Ontology
from medassets.settings_sections import SimulationSettings
from medassets_tests.fixtures_rare import ontology, write_hpoa


def row(disease: str, hpo_id: str, frequency: str, aspect: str = "P", qualifier: str = "") -> str:
    return f"{disease}\t{disease}\t{qualifier}\t{hpo_id}\tPMID:1\tPCS\t\t{frequency}\t\t\t{aspect}\tme"


ROWS = (
    row("OMIM:900001", "HP:9000013", "1/1"),
    row("OMIM:900001", "HP:9000020", "30%"),
    row("OMIM:900001", "HP:9000021", "0/9"),
    row("OMIM:900001", "HP:0000028", "90%"),
    row("OMIM:900001", "HP:0031936", "90%"),
    row("OMIM:900001", "HP:0003577", "", "C"),
    row("OMIM:900002", "HP:9000021", "80%"),
    row("OMIM:900002", "HP:0001475", "", "I"),
    row("OMIM:900002", "HP:9000020", "", "P", "NOT"),
)
PLAIN = SimulationSettings(
    rare_min_cases=300, rare_max_cases=300, imprecision_rate=0, omission_rate=0, unrelated_rate=0
)


@pytest.fixture(scope="module")
def hpo() -> Ontology:
    return ontology()


@pytest.fixture(scope="module")
def annotations(tmp_path_factory: pytest.TempPathFactory, hpo: Ontology) -> pa.Table:
    return read_annotations(write_hpoa(tmp_path_factory.mktemp("hpoa"), *ROWS), hpo)[0]


def share(phenotypes: pa.Table, hpo_id: str, n_cases: int) -> float:
    rows = phenotypes.filter(pc.equal(phenotypes.column("hpo_id"), hpo_id))
    return rows.filter(pc.invert(rows.column("excluded"))).num_rows / n_cases


def excluded_share(phenotypes: pa.Table, hpo_id: str, n_cases: int) -> float:
    rows = phenotypes.filter(pc.equal(phenotypes.column("hpo_id"), hpo_id))
    return rows.filter(rows.column("excluded")).num_rows / n_cases


def test_tables_conform_and_say_what_they_are(hpo: Ontology, annotations: pa.Table) -> None:
    made = simulate_rare_cases(annotations, hpo, SimulationSettings(), 1, ["OMIM:900001", "OMIM:900002"])
    assert made.cases.schema.equals(TABLES["synthetic/simulated_rare_cases"].schema)
    assert made.phenotypes.schema.equals(TABLES["synthetic/simulated_case_phenotypes"].schema)
    assert set(made.cases.column("origin").to_pylist()) == {"simulated"}
    assert set(made.phenotypes.column("origin").to_pylist()) == {"simulated"}
    assert made.cases.column("case_id")[0].as_py() == "SIM_OMIM_900001_1"
    assert made.cases.column("pmids")[0].as_py() == ["SIM:OMIM:900001:1"]
    assert all(made.cases.column("complete_enough").to_pylist())
    per_disease = made.cases.group_by("disease_id").aggregate([("case_id", "count")])
    assert all(5 <= n <= 50 for n in per_disease.column("case_id_count").to_pylist())


def test_frequencies_are_those_of_the_annotations(hpo: Ontology, annotations: pa.Table) -> None:
    made = simulate_rare_cases(annotations, hpo, PLAIN, 1, ["OMIM:900001"])
    assert share(made.phenotypes, "HP:9000013", 300) == 1
    assert share(made.phenotypes, "HP:9000020", 300) == pytest.approx(0.3, abs=0.08)
    assert share(made.phenotypes, "HP:9000021", 300) == 0
    # Half of the people are men; nine in ten of them have the term that only men can have.
    assert share(made.phenotypes, "HP:0000028", 300) == pytest.approx(0.45, abs=0.08)


def test_simulated_cases_break_no_medical_rule(hpo: Ontology, annotations: pa.Table) -> None:
    settings = SimulationSettings(
        rare_min_cases=200, rare_max_cases=200, imprecision_rate=0.5, unrelated_rate=0.5
    )
    made = simulate_rare_cases(annotations, hpo, settings, 5, ["OMIM:900001", "OMIM:900002"])
    violations = check_rare(made.cases, made.phenotypes, hpo, sex_limited_diseases(annotations))
    assert violations.to_pylist() == []


def test_a_disease_of_one_sex_is_simulated_in_that_sex(hpo: Ontology, annotations: pa.Table) -> None:
    made = simulate_rare_cases(annotations, hpo, PLAIN, 1, ["OMIM:900002"])
    assert set(made.cases.column("sex").to_pylist()) == {"M"}


def test_every_case_has_an_observed_term(hpo: Ontology, annotations: pa.Table) -> None:
    settings = PLAIN.model_copy(update={"omission_rate": 1.0})
    made = simulate_rare_cases(annotations, hpo, settings, 1, ["OMIM:900001"])
    assert set(made.cases.column("n_observed").to_pylist()) == {1}


def test_nothing_that_a_person_has_is_excluded_though_it_went_unrecorded(
    hpo: Ontology, annotations: pa.Table
) -> None:
    settings = PLAIN.model_copy(update={"omission_rate": 1.0})
    made = simulate_rare_cases(annotations, hpo, settings, 1, ["OMIM:900001"])
    assert excluded_share(made.phenotypes, "HP:9000013", 300) == 0  # all have it
    assert excluded_share(made.phenotypes, "HP:9000020", 300) > 0  # three in ten have it


def test_what_is_looked_for_does_not_tell_the_disease(hpo: Ontology, annotations: pa.Table) -> None:
    made = simulate_rare_cases(annotations, hpo, PLAIN, 1, ["OMIM:900001", "OMIM:900002"])
    # Three in ten of the first disease have it, none of the second.
    excluded = {
        disease: excluded_share(
            made.phenotypes.filter(pc.starts_with(made.phenotypes.column("case_id"), f"SIM_OMIM_{disease}")),
            "HP:9000020",
            300,
        )
        for disease in ("900001", "900002")
    }
    assert excluded["900001"] == pytest.approx(0.7 * excluded["900002"], abs=0.08)
    assert excluded["900002"] > 0.3


def test_imprecision_records_parents_and_never_an_organ_system(hpo: Ontology, annotations: pa.Table) -> None:
    settings = PLAIN.model_copy(update={"imprecision_rate": 1.0})
    made = simulate_rare_cases(annotations, hpo, settings, 1, ["OMIM:900001"])
    assert share(made.phenotypes, "HP:9000013", 300) == 0
    assert share(made.phenotypes, "HP:9000011", 300) + share(made.phenotypes, "HP:9000012", 300) == 1
    observed = (
        made.phenotypes.filter(pc.invert(made.phenotypes.column("excluded"))).column("hpo_id").to_pylist()
    )
    assert not set(observed) & {"HP:0000118", *(hpo.terms[i] for i in hpo.organ_system_roots)}


def test_unrelated_findings_come_in_the_asked_proportion(hpo: Ontology, annotations: pa.Table) -> None:
    settings = PLAIN.model_copy(update={"unrelated_rate": 1.0})
    with_them = simulate_rare_cases(annotations, hpo, settings, 1, ["OMIM:900002"])
    observed = with_them.phenotypes.filter(pc.invert(with_them.phenotypes.column("excluded")))
    assert set(observed.column("hpo_id").to_pylist()) - {"HP:9000021"}


def test_same_seed_same_rows_and_more_diseases_change_no_case(hpo: Ontology, annotations: pa.Table) -> None:
    both = simulate_rare_cases(annotations, hpo, SimulationSettings(), 9, ["OMIM:900001", "OMIM:900002"])
    again = simulate_rare_cases(annotations, hpo, SimulationSettings(), 9, ["OMIM:900001", "OMIM:900002"])
    assert both.cases.equals(again.cases) and both.phenotypes.equals(again.phenotypes)
    alone = simulate_rare_cases(annotations, hpo, SimulationSettings(), 9, ["OMIM:900001"])
    assert both.cases.slice(0, alone.cases.num_rows).equals(alone.cases)
    other = simulate_rare_cases(annotations, hpo, SimulationSettings(), 10, ["OMIM:900001"])
    assert not other.phenotypes.equals(alone.phenotypes)


def test_every_simulated_case_is_a_publication_group_of_its_own(hpo: Ontology, annotations: pa.Table) -> None:
    made = simulate_rare_cases(annotations, hpo, PLAIN, 1, ["OMIM:900001"])
    split = rare_split(made.cases)
    check_no_leak(made.cases, split)
    assert len(set(split.column("group").to_pylist())) == 300
    assert np.mean([part == "test" for part in split.column("part").to_pylist()]) == pytest.approx(
        0.2, abs=0.08
    )


def test_diseases_are_chosen_among_the_well_annotated(hpo: Ontology, annotations: pa.Table) -> None:
    made = simulate_rare_cases(annotations, hpo, SimulationSettings(), 1)
    # Only the first disease has five annotated terms.
    assert set(made.cases.column("disease_id").to_pylist()) == {"OMIM:900001"}


def test_a_disease_without_annotation_is_refused(hpo: Ontology, annotations: pa.Table) -> None:
    with pytest.raises(ValueError, match="OMIM:1 has no phenotype annotation"):
        simulate_rare_cases(annotations, hpo, SimulationSettings(), 1, ["OMIM:1"])
