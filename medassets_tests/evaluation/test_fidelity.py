from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medassets.cohorts.splits import publication_groups
from medassets.evaluation.fidelity import ablation, as_rows, check_no_copies, fidelity
from medassets.features.cases import CaseSet
from medassets.learners.rare.likelihood import RareLikelihood
from medassets_tests.learners.rare.fixtures_few_shot import made_up_cases, made_up_knowledge, made_up_ontology

ONTOLOGY = made_up_ontology()
KNOWLEDGE = made_up_knowledge(ONTOLOGY)
CASES = made_up_cases(KNOWLEDGE)


def _scrambled(cases: CaseSet) -> CaseSet:
    rng = np.random.default_rng(0)
    leaves = np.unique(KNOWLEDGE.term)
    return replace(cases, observed=[np.sort(rng.choice(leaves, 4, replace=False)) for _ in range(len(cases))])


def test_copies_are_found_and_look_real() -> None:
    same = fidelity(CASES, CASES, ONTOLOGY)
    assert same.marginal_error == same.pairwise_error == same.nearest_distance == 0
    assert same.copied > 0.5 * len(CASES)
    assert same.two_sample_auc < 0.5


def test_noise_is_told_apart() -> None:
    noise, like = (
        fidelity(CASES, _scrambled(CASES), ONTOLOGY),
        fidelity(CASES, made_up_cases(KNOWLEDGE, seed=8), ONTOLOGY),
    )
    assert noise.marginal_error > like.marginal_error
    assert noise.nearest_distance > like.nearest_distance
    assert noise.two_sample_auc > like.two_sample_auc
    assert noise.copied < like.copied


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 generated"):
        fidelity(CASES, CASES[np.array([], int)], ONTOLOGY)


def _fit(knowledge: Any, cases: CaseSet) -> RareLikelihood:
    return RareLikelihood(use_cases=True).fit(knowledge, cases)


def test_verdict_leaves_noise_out_and_takes_what_helps() -> None:
    last = np.array([p[0].endswith("3") for p in CASES.pmids])
    train, held_out = CASES[~last], CASES[last]
    groups = publication_groups(held_out.case_ids, held_out.pmids)
    nothing_known = KNOWLEDGE.without_publications({f"PMID:ann{d}" for d in range(10)})
    few = train[np.arange(4)]
    helps = ablation(_fit, nothing_known, few, held_out, made_up_cases(KNOWLEDGE, seed=8), groups)
    assert helps.use
    assert helps.low > 0
    hurts = ablation(_fit, KNOWLEDGE, train, held_out, _scrambled(train), groups)
    assert not hurts.use
    assert "left out" in hurts.reason
    rows = as_rows("smote", fidelity(CASES, _scrambled(CASES), ONTOLOGY), hurts)
    assert {"metric", "value", "low", "high", "n", "generator"} == set(rows[0])
    assert rows[-1]["low"] <= rows[-1]["value"] <= rows[-1]["high"]


def test_a_generator_that_gives_a_patient_back_fails_the_check() -> None:
    rows = as_rows("ctgan", fidelity(CASES, CASES, ONTOLOGY))
    assert not check_no_copies(rows, ("ctgan", "smote")).passed
    assert check_no_copies(rows, ("smote",)).passed
