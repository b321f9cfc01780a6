import numpy as np
import pytest

from medassets.cohorts.splits import publication_groups
from medassets.evaluation.few_shot import (
    adaptation_curve,
    episode_accuracy,
    episode_table,
    paired_difference,
    protocol_episodes,
    prototype_similarity,
    rank_over_cases,
    transfer_gain,
)
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.maml import MAML
from medassets.learners.rare.prototypical import PrototypicalNetwork
from medassets_tests.learners.rare.fixtures_few_shot import (
    made_up_cases,
    made_up_knowledge,
    made_up_ontology,
    tiny_config,
)

KNOWLEDGE = made_up_knowledge(made_up_ontology())
CASES = made_up_cases(KNOWLEDGE)
LABELS = KNOWLEDGE.labels(CASES)
HELD_OUT = np.array([p[0].endswith("3") for p in CASES.pmids])
NETWORK = PrototypicalNetwork(tiny_config()).fit(KNOWLEDGE, CASES[~HELD_OUT])


def test_more_shots_and_fewer_ways_are_easier() -> None:
    def accuracy(way: int, shot: int) -> float:
        return episode_accuracy(NETWORK.encoder, CASES, LABELS, way=way, shot=shot, n_episodes=40).accuracy

    assert accuracy(5, 5) > accuracy(5, 1)
    assert accuracy(2, 1) > accuracy(8, 1)
    table = episode_table(NETWORK.encoder, CASES, LABELS, n_episodes=5)
    assert {(row.way, row.shot) for row in table} == {(5, 1), (5, 5)}
    assert all(row.low <= row.accuracy <= row.high and row.n_diseases == 8 for row in table)


def test_protocol_shows_each_disease_as_often_as_the_budget_says() -> None:
    assert protocol_episodes(FewShotConfig.full(), LABELS, 4) == 100 * 8 / 4
    assert protocol_episodes(FewShotConfig.full(), np.array([-1, 3]), 5) == 20


def test_cases_lie_closer_to_their_own_disease() -> None:
    similarity = prototype_similarity(NETWORK.encoder, CASES, LABELS)
    assert similarity["within"] > similarity["between"]
    with pytest.raises(ValueError, match="two diseases"):
        prototype_similarity(NETWORK.encoder, CASES[:3], LABELS[:3])


def test_adaptation_curve_starts_before_the_first_step() -> None:
    model = MAML(tiny_config()).fit(KNOWLEDGE, CASES[~HELD_OUT])
    rows = adaptation_curve(model, CASES, LABELS, way=3, shot=2, steps=4, n_episodes=6)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)


def test_paired_difference_of_publications() -> None:
    groups = [f"PMID:{i // 4}" for i in range(80)]
    rng = np.random.default_rng(0)
    second = rng.random(80)
    better = paired_difference(second + 0.1 + 0.01 * rng.random(80), second, groups)
    assert better.low > 0.09
    same = paired_difference(second, second, groups)
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    with pytest.raises(ValueError, match="equal lengths"):
        paired_difference(second, second[:3], groups)


def test_rank_improves_with_known_cases_and_memory_is_restored() -> None:
    blind = KNOWLEDGE.without_publications({f"PMID:ann{d}" for d in range(10)})
    network = PrototypicalNetwork(tiny_config()).fit(blind, CASES[~HELD_OUT])
    before = network.prototypes()
    rows = rank_over_cases(network, blind, CASES[~HELD_OUT], CASES[HELD_OUT], most=6)
    assert [row["known_cases"] for row in rows] == list(range(7))
    assert rows[-1]["mrr"] >= rows[1]["mrr"] > rows[0]["mrr"]
    assert np.array_equal(network.prototypes(), before)
    with pytest.raises(ValueError, match="50 known cases"):
        rank_over_cases(network, blind, CASES[~HELD_OUT], CASES[HELD_OUT], most=50)


def test_transfer_gain_is_paired_and_by_known_cases() -> None:
    held_out = CASES[HELD_OUT]
    shots = np.bincount(LABELS[~HELD_OUT], minlength=len(KNOWLEDGE))
    good, random = NETWORK.score, np.random.default_rng(0).random((len(held_out), len(KNOWLEDGE)))
    gains = transfer_gain(good, lambda _: random, KNOWLEDGE, held_out, shots)
    assert set(gains) == {"all", "5-50"}
    assert gains["all"].low > 0
    assert gains["all"].n == len(held_out) == len(publication_groups(held_out.case_ids, held_out.pmids))
