"""Behaviour that the learned methods share, then what each has of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.features.cases import CaseSet
from medassets.features.phenotype_encoder import NO_CASE, tokens
from medassets.features.rare import RareKnowledge
from medassets.knowledge.ontology import Ontology
from medassets.learners.rare import encoder as nets
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.episodes import EpisodeError
from medassets.learners.rare.maml import MAML
from medassets.learners.rare.prototypical import PrototypicalNetwork
from medassets.learners.rare.siamese import SiameseNetwork
from medassets.learners.rare.transfer import TransferPrototypes
from medassets_tests.learners.rare.fixtures_few_shot import (
    CASES_EACH,
    N_DISEASES,
    PUBLICATIONS,
    made_up_cases,
    made_up_knowledge,
    made_up_ontology,
    tiny_config,
)

METHODS: dict[str, Callable[[], Any]] = {
    "prototypical": lambda: PrototypicalNetwork(tiny_config()),
    "siamese": lambda: SiameseNetwork(tiny_config()),
    "maml": lambda: MAML(tiny_config()),
    "maml_first_order": lambda: MAML(tiny_config(), second_order=False),
    "transfer": lambda: TransferPrototypes(tiny_config()),
}


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return made_up_ontology()


@pytest.fixture(scope="module")
def knowledge(ontology: Ontology) -> RareKnowledge:
    return made_up_knowledge(ontology)


@pytest.fixture(scope="module")
def cases(knowledge: RareKnowledge) -> CaseSet:
    return made_up_cases(knowledge)


@pytest.fixture(scope="module")
def parts(cases: CaseSet) -> tuple[CaseSet, CaseSet]:
    """The first three publications of each disease to learn from, the last to be named."""
    last = np.array([pmid[0].endswith(str(PUBLICATIONS - 1)) for pmid in cases.pmids])
    return cases[~last], cases[last]


@pytest.fixture(scope="module")
def fitted(knowledge: RareKnowledge, parts: tuple[CaseSet, CaseSet]) -> dict[str, Any]:
    return {name: make().fit(knowledge, parts[0]) for name, make in METHODS.items()}


@pytest.mark.parametrize("name", METHODS)
def test_names_held_out_cases_far_above_chance(
    name: str, fitted: dict[str, Any], knowledge: RareKnowledge, parts: tuple[CaseSet, CaseSet]
) -> None:
    scores = fitted[name].score(parts[1])
    assert scores.shape == (len(parts[1]), len(knowledge))
    assert scores.dtype == np.float32
    assert fitted[name].name == name
    assert (scores.argmax(axis=1) == knowledge.labels(parts[1])).mean() > 0.6


@pytest.mark.parametrize("name", METHODS)
def test_saved_and_loaded_scores_the_same_and_same_bytes(
    name: str, fitted: dict[str, Any], ontology: Ontology, parts: tuple[CaseSet, CaseSet], tmp_path: Path
) -> None:
    model = fitted[name]
    model.save(tmp_path / "a")
    loaded = type(model).load(tmp_path / "a", ontology)
    loaded.save(tmp_path / "b")
    assert np.array_equal(loaded.score(parts[1]), model.score(parts[1]))
    written = [p.relative_to(tmp_path / "a") for p in sorted((tmp_path / "a").rglob("*")) if p.is_file()]
    assert written
    assert all((tmp_path / "a" / p).read_bytes() == (tmp_path / "b" / p).read_bytes() for p in written)
    assert all(p.suffix in (".npy", ".json") for p in written)
    assert loaded.metadata["params"]["profile"] == "custom"


@pytest.mark.parametrize("name", METHODS)
def test_same_input_gives_same_model(
    name: str, fitted: dict[str, Any], knowledge: RareKnowledge, parts: tuple[CaseSet, CaseSet]
) -> None:
    again = METHODS[name]().fit(knowledge, parts[0])
    assert np.array_equal(again.score(parts[1]), fitted[name].score(parts[1]))


@pytest.mark.parametrize("name", ["prototypical", "siamese", "maml"])
def test_nothing_of_a_planted_case_enters_a_fit(
    name: str,
    fitted: dict[str, Any],
    knowledge: RareKnowledge,
    parts: tuple[CaseSet, CaseSet],
    tmp_path: Path,
) -> None:
    """Held-out cases with and without a mark must leave the very same bytes; the mark stands nowhere."""
    train, test = parts
    planted = test[np.arange(len(test))]
    planted.case_ids[0], planted.pmids[0] = "MARKED-CASE", ("PMID:MARKED",)
    planted.observed[0] = np.arange(len(knowledge.ontology), dtype=np.int32)
    everything = train.concatenate(planted)
    is_train = np.array([case_id in set(train.case_ids) for case_id in everything.case_ids])
    cited = {p for pmids in everything[~is_train].pmids for p in pmids}
    model = METHODS[name]().fit(knowledge.without_publications(cited), everything[is_train])
    model.save(tmp_path / "planted")
    fitted[name].save(tmp_path / "clean")
    for file in (tmp_path / "planted").iterdir():
        content = file.read_bytes()
        assert b"MARKED" not in content
        assert content == (tmp_path / "clean" / file.name).read_bytes()


def test_annotations_of_held_out_publications_leave_the_zero_shot_prototype(
    fitted: dict[str, Any], knowledge: RareKnowledge, parts: tuple[CaseSet, CaseSet]
) -> None:
    model = METHODS["prototypical"]().fit(knowledge.without_publications({"PMID:ann9"}), parts[0])
    assert np.abs(fitted["prototypical"].prototypes()[9]).sum() > 0
    assert np.abs(model.prototypes()[9]).sum() == 0


def test_numpy_encoder_equals_torch(knowledge: RareKnowledge, cases: CaseSet) -> None:
    import torch

    features = np.random.default_rng(0).normal(size=(len(knowledge.ontology), 7)).astype(np.float32)
    parameters, context = nets.start(
        knowledge, cases.implied_matrix(knowledge.ontology), tiny_config(), features
    )
    for key in ("projection", "gate_out", "demographic", "log_observed"):
        parameters[key] = torch.randn_like(parameters[key])
    weights, annotated = nets.token_weights(parameters, context)
    frozen = nets.freeze(parameters, context)
    direct = nets.encode(tokens(cases, knowledge.ontology), weights).numpy()
    assert np.abs(frozen.encode(cases) - direct).max() < 1e-5
    assert np.abs(np.linalg.norm(direct, axis=1) - 1).max() < 1e-5
    zero_shot = nets.encode(knowledge.profiles(), annotated).numpy()
    assert np.abs(frozen.encode_profiles(knowledge.profiles()) - zero_shot).max() < 1e-5


def test_excluded_term_speaks_against_a_disease(fitted: dict[str, Any], knowledge: RareKnowledge) -> None:
    model, ontology = fitted["prototypical"], knowledge.ontology
    own = [ontology.terms[t] for t in knowledge.term[knowledge.disease == 0]]
    with_term = CaseSet.single(ontology, own[:2])
    against = CaseSet.single(ontology, own[:2], own[2:])
    assert model.score(against)[0, 0] < model.score(with_term)[0, 0]


def test_one_confirmed_case_moves_one_prototype(
    knowledge: RareKnowledge, parts: tuple[CaseSet, CaseSet]
) -> None:
    model = PrototypicalNetwork(tiny_config()).fit(knowledge, parts[0])
    case = CaseSet.single(knowledge.ontology, [knowledge.ontology.terms[t] for t in knowledge.term[:3]])
    before, score = model.prototypes(), model.score(case)[0, 9]
    assert model.update_with_case("OMIM:109", case) == 1
    changed = np.abs(model.prototypes() - before).sum(axis=1) > 0
    assert changed.tolist() == [False] * 9 + [True]
    assert model.score(case)[0, 9] > score
    assert model.metadata["params"]["memory_version"] == 1
    with pytest.raises(KeyError, match="OMIM:0"):
        model.update_with_case("OMIM:0", case)


def test_siamese_never_finds_the_case_itself(fitted: dict[str, Any], parts: tuple[CaseSet, CaseSet]) -> None:
    known = parts[0][:4]
    similar = fitted["siamese"].similar(known, n=3)
    assert all(len(found) == 3 for found in similar)
    for case_id, found in zip(known.case_ids, similar, strict=True):
        assert case_id not in {s.case_id for s in found}
        assert [s.similarity for s in found] == sorted((s.similarity for s in found), reverse=True)
        assert all(s.pmids and s.pmids[0].startswith("PMID:") for s in found)


def test_candidate_without_case_has_the_lowest_siamese_score(
    fitted: dict[str, Any], parts: tuple[CaseSet, CaseSet]
) -> None:
    assert (fitted["siamese"].score(parts[1])[:, N_DISEASES:] == NO_CASE).all()
    assert (fitted["maml"].score(parts[1])[:, N_DISEASES:] == NO_CASE).all()


def test_maml_learns_a_new_disease_without_touching_the_rest(
    knowledge: RareKnowledge, parts: tuple[CaseSet, CaseSet]
) -> None:
    model = MAML(tiny_config()).fit(knowledge, parts[0])
    own = [knowledge.ontology.terms[t] for t in knowledge.term[knowledge.disease == 9]]
    new = CaseSet.single(knowledge.ontology, own)
    before = model.score(new)
    model.update_with_cases(knowledge, "OMIM:109", new)
    after = model.score(new)
    assert np.array_equal(after[:, :9], before[:, :9])
    assert after[0].argmax() == 9


def test_first_and_second_order_differ_in_the_outer_gradient(fitted: dict[str, Any]) -> None:
    second, first = fitted["maml"].losses, fitted["maml_first_order"].losses
    assert second[0] == pytest.approx(first[0])
    assert second != first
    assert len(second) == tiny_config().meta_iterations
    assert len(fitted["maml"].accuracy_by_step) == tiny_config().inner_steps + 1


def test_too_few_diseases_for_an_episode_is_said(
    knowledge: RareKnowledge, parts: tuple[CaseSet, CaseSet]
) -> None:
    with pytest.raises(
        EpisodeError, match="8 diseases have 2 cases and another publication; meta-training needs 20"
    ):
        MAML(tiny_config(way=20)).fit(knowledge, parts[0])


def test_memory_for_other_candidates_is_refused(
    fitted: dict[str, Any], ontology: Ontology, cases: CaseSet
) -> None:
    other = made_up_knowledge(ontology)
    other.candidates.append("OMIM:999")
    for name in ("prototypical", "siamese", "maml"):
        with pytest.raises(ValueError, match="other candidates"):
            fitted[name].remember(other, cases)


def test_every_known_case_counts(fitted: dict[str, Any]) -> None:
    known = CASES_EACH * (PUBLICATIONS - 1)
    assert fitted["prototypical"].shots.tolist() == [known] * N_DISEASES + [0, 0]


def test_full_setting_is_the_one_of_the_mission() -> None:
    full = FewShotConfig.of_profile("full")
    assert (full.episodes_per_disease, full.min_support, full.max_episode_support) == (100, 5, 10)
    assert (full.min_query, full.max_query, full.meta_iterations) == (15, 20, 10_000)
    assert FewShotConfig.of_profile("quick").metadata["profile"] == "quick"
    with pytest.raises(ValueError, match="quick and full"):
        FewShotConfig.of_profile("slow")
    with pytest.raises(ValueError, match="above max_query"):
        FewShotConfig(min_query=30)
