import numpy as np
import pytest

from medassets.cohorts.tables import TABLES, conform
from medassets.features.cases import CaseSet
from medassets.learners.rare.synthetic_families import families
from medassets.learners.rare.synthetic_oversampling import oversample
from medassets.learners.rare.synthetic_privacy import no_copies
from medassets.learners.rare.synthetic_sdv import synthesize
from medassets_tests.learners.rare.fixtures_few_shot import (
    made_up_cases,
    made_up_knowledge,
    made_up_ontology,
    tiny_config,
)

ONTOLOGY = made_up_ontology()
CASES = made_up_cases(made_up_knowledge(ONTOLOGY))


def test_families_hold_each_disease_once_and_show_their_cases() -> None:
    found = families(CASES, ONTOLOGY, largest=10)
    diseases = [d for family in found for d in set(family.diseases)]
    assert sorted(diseases) == sorted(set(CASES.disease_ids))
    assert [len(f.diseases) for f in found] == sorted((len(f.diseases) for f in found), reverse=True)
    assert all(f.present.shape == (len(f.diseases), len(f.terms)) for f in found)
    assert families(CASES, ONTOLOGY, largest=10, min_disease_cases=13) == []


@pytest.mark.parametrize("generator", ["gaussian_copula", "ctgan"])
def test_generated_cases_are_clinical_tables_that_name_their_generator(generator: str) -> None:
    made = synthesize(CASES, ONTOLOGY, tiny_config(), generator=generator)  # type: ignore[arg-type]
    assert made.cases.num_rows > 5
    assert conform(made.cases, TABLES["clinical/rare_cases"]).equals(made.cases)
    for table in (made.cases, made.phenotypes):
        assert set(table["origin"].to_pylist()) == {generator}
    assert set(made.cases["disease_id"].to_pylist()) <= set(CASES.disease_ids)
    assert all(p == [] for p in made.cases["pmids"].to_pylist())
    again = CaseSet.from_tables(made.cases, made.phenotypes, ONTOLOGY)
    assert [len(o) for o in again.observed] == made.cases["n_observed"].to_pylist()


def test_unknown_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="ctgan and gaussian_copula"):
        synthesize(CASES, ONTOLOGY, tiny_config(), generator="gan")  # type: ignore[arg-type]


def test_smote_levels_the_diseases_of_a_family() -> None:
    rng = np.random.default_rng(1)
    config = tiny_config(synthesis_families=10)
    family = families(CASES, ONTOLOGY, largest=1)[0]
    first = family.diseases[0]
    rare = [i for i, d in enumerate(CASES.disease_ids) if d == first][:-10]
    kept = np.setdiff1d(np.arange(len(CASES)), rng.permutation(rare))
    made = oversample(CASES[kept], ONTOLOGY, config, method="smote")
    assert set(made.cases["origin"].to_pylist()) <= {"smote"}
    assert first in made.cases["disease_id"].to_pylist() or made.notes


def test_family_that_adasyn_cannot_treat_is_said_and_not_hidden() -> None:
    made = oversample(CASES, ONTOLOGY, tiny_config(), method="adasyn")
    assert made.cases.num_rows > 0 or made.notes


def test_a_planted_copy_of_a_patient_is_rejected() -> None:
    family = families(CASES, ONTOLOGY, largest=1)[0]
    far = ~family.present[:1]
    kept = no_copies(family, np.concatenate([family.present[:4], far]), ONTOLOGY)
    assert not kept[:4].any() and kept[4]
    # A copy that leaves out what its findings imply is a copy all the same.
    implied = ONTOLOGY.closure[family.terms][:, family.terms].toarray() > 0
    np.fill_diagonal(implied, False)
    specific = family.present & ~(family.present.astype(float) @ implied > 0)
    assert not no_copies(family, specific[:4], ONTOLOGY).any()
    assert not no_copies(family, np.zeros_like(far), ONTOLOGY).any()


@pytest.mark.parametrize("generator", ["gaussian_copula", "smote"])
def test_no_generator_gives_a_patient_back(generator: str) -> None:
    config = tiny_config(synthesis_families=10)
    made = (
        oversample(CASES[12:], ONTOLOGY, config, method="smote")
        if generator == "smote"
        else synthesize(CASES, ONTOLOGY, config, generator="gaussian_copula")
    )
    real = {tuple(row) for row in CASES.implied_matrix(ONTOLOGY).toarray()}
    again = CaseSet.from_tables(made.cases, made.phenotypes, ONTOLOGY)
    assert not {tuple(row) for row in again.implied_matrix(ONTOLOGY).toarray()} & real
