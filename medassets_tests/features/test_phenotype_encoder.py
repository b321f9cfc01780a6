import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.features.cases import CaseSet
from medassets.features.phenotype_encoder import (
    N_DEMOGRAPHIC,
    NO_CASE,
    PhenotypeEncoder,
    nearest_scores,
    prototypes,
    tokens,
)
from medassets_tests.learners.rare.fixtures_few_shot import made_up_ontology


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 500))
@settings(max_examples=60)
def test_nearest_scores_equal_the_plain_definition(labels: list[int], seed: int) -> None:
    known = np.sort(np.array(labels))
    similarity = np.random.default_rng(seed).uniform(-1, 1, (3, len(known))).astype(np.float32)
    scores = nearest_scores(similarity, known, 6)
    for row, values in zip(scores, similarity, strict=True):
        for candidate in range(6):
            own = np.sort(values[known == candidate])[::-1][:3]
            expected = 0.5 * (own[0] + own.mean()) if len(own) else NO_CASE
            assert row[candidate] == pytest.approx(expected, abs=1e-5)


def test_no_known_case_at_all_gives_the_lowest_score_everywhere() -> None:
    scores = nearest_scores(np.empty((2, 0), np.float32), np.empty(0, np.int64), 3)
    assert (scores == NO_CASE).all()


def test_prototype_moves_from_annotation_to_cases() -> None:
    annotation = np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)
    along = [
        prototypes(annotation, np.array([[0.0, n], [0.0, n]]), np.array([n, n]), 1.0) for n in (0, 1, 3, 100)
    ]
    assert along[0].tolist() == [[1, 0], [0, 0]]
    assert [p[0, 1] for p in along] == sorted(p[0, 1] for p in along)
    assert along[-1][0, 1] == pytest.approx(1, abs=1e-3)
    assert along[1][1].tolist() == [0, 1]


def test_tokens_imply_ancestors_and_drop_contradicted_exclusions() -> None:
    ontology = made_up_ontology()
    n = len(ontology)
    leaf, system = ontology.index["HP:9100001"], ontology.index["HP:9100000"]
    case = CaseSet.single(ontology, ["HP:9100001"], ["HP:9100000", "HP:9101001"], age_days=10, sex="F")
    row = tokens(case, ontology).toarray()[0]
    assert row[leaf] == row[system] == 1
    assert row[n + system] == 0
    assert row[n + ontology.index["HP:9101001"]] == 1
    assert row[2 * n :].sum() == 2
    assert tokens(CaseSet.single(ontology, ["HP:9100001"]), ontology)[0, 2 * n :].nnz == 0


def test_encoder_of_another_ontology_is_refused() -> None:
    ontology = made_up_ontology()
    n = len(ontology)
    with pytest.raises(ValueError, match="made-up needs"):
        PhenotypeEncoder(ontology, np.zeros((N_DEMOGRAPHIC, 4)), np.zeros((n, 4)), np.ones(n))


def test_sparse_view_is_the_information_weighted_cosine() -> None:
    ontology = made_up_ontology()
    n = len(ontology)
    information = np.linspace(0.5, 2, n).astype(np.float32)
    encoder = PhenotypeEncoder(ontology, np.zeros((2 * n + N_DEMOGRAPHIC, 2)), np.zeros((n, 2)), information)
    pair = CaseSet.single(ontology, ["HP:9100001"]).concatenate(CaseSet.single(ontology, ["HP:9100002"]))
    weighted = pair.implied_matrix(ontology).toarray() * information
    expected = weighted[0] @ weighted[1] / np.linalg.norm(weighted[0]) / np.linalg.norm(weighted[1])
    spread = encoder.spread(pair.implied_matrix(ontology))
    assert (spread @ spread.T).toarray()[0, 1] == pytest.approx(expected, abs=1e-6)


def test_importing_the_encoder_brings_no_training_library() -> None:
    loaded = "{'torch', 'sklearn', 'pandas'} & set(sys.modules)"
    code = f"import sys, medassets.features.phenotype_encoder; print({loaded})"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )
