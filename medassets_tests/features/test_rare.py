import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.features.rare import RareKnowledge
from medassets.features.rare_arrays import ParentLevels
from medassets.features.rare_ratios import count_cases, log_ratios, update_with_cases
from medassets_tests.fixtures_ranker import (
    Crosswalk,
    annotation,
    made_annotations,
    made_cases,
    made_knowledge,
    made_ontology,
    typical_findings,
)

ONTOLOGY = made_ontology()


def test_equivalent_diseases_stand_once_and_keep_their_rows_apart():
    knowledge = made_knowledge(ONTOLOGY)
    assert not any(c.startswith("ORPHA") for c in knowledge.candidates)
    assert knowledge.equivalents[0] == ("OMIM:900000", "ORPHA:0")
    assert knowledge.index["ORPHA:0"] == knowledge.index["OMIM:900000"]
    assert knowledge.foreign.sum() == 2
    assert knowledge.profiles(foreign=True)[0].nnz > 0 and knowledge.profiles(foreign=True)[5].nnz == 0


def test_a_disease_known_from_cases_alone_is_a_candidate():
    cases = made_cases(ONTOLOGY)
    cases.disease_ids[0] = "OMIM:777777"
    knowledge = RareKnowledge.build(ONTOLOGY, made_annotations(), cases)
    assert "OMIM:777777" in knowledge.candidates
    assert not knowledge.has_annotation[knowledge.index["OMIM:777777"]]


def test_databases_restrict_candidates_but_not_the_rows_of_equivalents():
    knowledge = RareKnowledge.build(ONTOLOGY, made_annotations(), crosswalk=Crosswalk(), databases=("OMIM",))
    assert {c.split(":")[0] for c in knowledge.candidates} == {"OMIM"}
    assert knowledge.foreign.sum() == 2


def test_rows_that_cite_a_publication_are_left_out_and_candidates_stay():
    knowledge = made_knowledge(ONTOLOGY)
    clean = knowledge.without_publications({"PMID:1"})
    assert clean.candidates == knowledge.candidates
    assert len(clean.disease) == len(knowledge.disease) - 3
    assert not any("PMID:1" in r for r in clean.references)


def test_profiles_follow_the_true_path_rule():
    profiles = made_knowledge(ONTOLOGY).profiles().toarray()
    for term in range(len(ONTOLOGY)):
        for above in ONTOLOGY.ancestors(term):
            assert (profiles[:, above] >= profiles[:, term]).all()
    assert profiles.max() == pytest.approx(0.8)


def test_a_term_said_not_to_occur_is_assessed_but_not_shown():
    row = annotation("OMIM:900003", "HP:9205001", "PMID:9", frequency=0.0)
    knowledge = RareKnowledge.build(ONTOLOGY, made_annotations(row))
    d, t = knowledge.index["OMIM:900003"], ONTOLOGY.index["HP:9205001"]
    own = typical_findings(3)
    if "HP:9205001" not in own:
        assert knowledge.raw_profiles()[d].indices.tolist().count(t) == 1
        assert knowledge.profiles()[d, t] == 0


def test_unstated_frequency_counts_as_three_quarters():
    row = annotation("OMIM:999999", "HP:9200000", "PMID:9", frequency=None)
    knowledge = RareKnowledge.build(ONTOLOGY, made_annotations(row))
    value = knowledge.profiles()[knowledge.index["OMIM:999999"], ONTOLOGY.index["HP:9200000"]]
    assert value == pytest.approx(0.75)


def test_cases_move_frequencies_between_annotation_and_observation():
    cases, knowledge = made_cases(ONTOLOGY), made_knowledge(ONTOLOGY)
    counts = count_cases(cases, knowledge.labels(cases), len(knowledge), ONTOLOGY)
    profiles = knowledge.profiles()
    updated = update_with_cases(profiles, counts)
    assert counts.shots[:12].tolist() == [6] * 12 and counts.shots[12:].sum() == 0
    assert abs(updated[12:] - profiles[12:]).max() == 0
    d = 0
    for finding in typical_findings(d):
        t = ONTOLOGY.index[finding]
        observed = counts.present[d, t] / max(counts.present[d, t] + counts.absent[d, t], 0.6 * 6)
        low, high = sorted((observed, 0.8))
        assert low - 1e-6 <= updated[d, t] <= high + 1e-6


def test_an_observed_term_speaks_for_the_disease_that_shows_it_and_excluded_against():
    knowledge = made_knowledge(ONTOLOGY)
    ratios = log_ratios(knowledge.profiles())
    term = ONTOLOGY.index[typical_findings(7)[0]]
    assert ratios.of_candidate([term], 7, excluded=False)[0] > 0
    assert ratios.of_candidate([term], 7, excluded=True)[0] < 0
    stranger = next(d for d in range(16) if knowledge.profiles()[d, term] == 0)
    assert ratios.of_candidate([term], stranger, excluded=False)[0] < 0
    assert ratios.of_candidate([term], stranger, excluded=True)[0] > 0


@settings(max_examples=25)
@given(st.lists(st.integers(0, len(ONTOLOGY) - 1), min_size=1, max_size=8))
def test_largest_above_equals_the_largest_among_ancestors(chosen):
    values = np.zeros(len(ONTOLOGY))
    for i, term in enumerate(chosen):
        values[term] = i + 1
    wanted = np.arange(len(ONTOLOGY)) % 7 == 0
    levels = ParentLevels.of(ONTOLOGY, wanted)
    carried = values[levels.terms][:, None]
    levels.carry_largest(carried)
    assert set(np.flatnonzero(wanted)) <= set(levels.terms)
    for place, term in enumerate(levels.terms):
        assert carried[place, 0] == max(values[a] for a in ONTOLOGY.ancestors(term))
