from pathlib import Path

import numpy as np
import pytest

from medassets.knowledge.ontology import information_content
from medassets.learners.rare.embeddings import (
    LanguageModelError,
    structure_vectors,
    term_embeddings,
    term_features,
    term_texts,
    text_vectors,
    used_terms,
)
from medassets_tests.learners.rare.fixtures_few_shot import made_up_knowledge, made_up_ontology


def test_siblings_are_closer_than_strangers_and_twice_the_same() -> None:
    ontology = made_up_ontology()
    weights = information_content(made_up_knowledge(ontology).raw_profiles(), ontology)
    vectors = structure_vectors(ontology, weights, 20, seed=1)
    a, sibling, stranger = (ontology.index[t] for t in ("HP:9100001", "HP:9100002", "HP:9103001"))
    assert vectors[a] @ vectors[sibling] > vectors[a] @ vectors[stranger]
    assert np.array_equal(vectors, structure_vectors(ontology, weights, 20, seed=1))


def test_text_vectors_of_the_bundled_model_are_cached_and_carried_by_the_table(tmp_path: Path) -> None:
    ontology = made_up_ontology()
    needed = np.zeros(len(ontology), bool)
    needed[:6] = True
    vectors = text_vectors(ontology, cache_dir=tmp_path, needed=needed)
    assert vectors.shape == (len(ontology), 384)
    assert np.abs(np.linalg.norm(vectors[:6], axis=1) - 1).max() < 1e-5
    assert not vectors[6:].any()
    (stored,) = tmp_path.iterdir()
    np.save(stored, vectors * 2)
    assert np.array_equal(text_vectors(ontology, cache_dir=tmp_path, needed=needed), vectors * 2)
    table = term_embeddings(ontology, made_up_knowledge(ontology).raw_profiles(), dimension=8, text=vectors)
    assert set(table["method"].to_pylist()) == {"structure", "text"}
    features = term_features(table, ontology, methods=("structure", "text"))
    assert features.shape == (len(ontology), 8 + 384)
    assert np.allclose(features[1:6, 8:], vectors[1:6])
    with pytest.raises(ValueError, match="'walk'"):
        term_features(table, ontology, methods=("walk",))


def test_used_terms_are_the_annotated_ones_and_their_ancestors() -> None:
    ontology = made_up_ontology()
    knowledge = made_up_knowledge(ontology)
    expected = ontology.implied(knowledge.term.tolist())
    profiles = knowledge.raw_profiles()
    assert set(np.flatnonzero(used_terms(profiles, ontology))) == expected
    diseases = np.asarray((profiles != 0).sum(axis=0)).ravel()
    often = ontology.implied(np.flatnonzero(diseases >= 2).tolist())
    assert set(np.flatnonzero(used_terms(profiles, ontology, at_least=2))) == often < expected


def test_definitions_are_read_in_the_full_setting_only() -> None:
    ontology = made_up_ontology()
    assert "Definition" not in term_texts(ontology, definitions=False)[0]
    assert "Definition" in term_texts(ontology, definitions=True)[0]


def test_a_folder_without_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(LanguageModelError, match=str(tmp_path)):
        text_vectors(made_up_ontology(), model_dir=tmp_path)
