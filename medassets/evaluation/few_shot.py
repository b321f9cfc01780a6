"""Few-shot figures: episode accuracy, prototype similarity, adaptation, transfer, rank over known cases.

What belongs here: measuring fitted methods on cases they were not fitted to, with intervals. What does not:
training.

Protocol of episodes: Snell et al. (NeurIPS 2017) and the mission: 5-way and 20-way, 1, 5 and 10 shot, mean
accuracy over episodes with a 95 % interval. Support and query share no publication. Intervals over cases
resample publication groups, since the cases of one publication are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medassets.cohorts.splits import publication_groups
from medassets.evaluation.metrics import mean_ci, ranks_of
from medassets.features.cases import CaseSet
from medassets.features.phenotype_encoder import PhenotypeEncoder, unit_rows
from medassets.features.rare import RareKnowledge
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.episodes import EpisodeError, EpisodeSampler
from medassets.learners.rare.maml import MAML
from medassets.learners.rare.prototypical import PrototypicalNetwork

WAYS = (5, 20)
SHOTS = (1, 5, 10)


@dataclass(frozen=True)
class EpisodeAccuracy:
    """Mean accuracy over episodes with its 95 % interval (normal approximation, as in the literature)."""

    way: int
    shot: int
    accuracy: float
    low: float
    high: float
    n_episodes: int
    n_diseases: int


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference between two methods on the same cases, 95 % interval over publication groups."""

    difference: float
    low: float
    high: float
    n: int


def episode_accuracy(
    encoder: PhenotypeEncoder,
    cases: CaseSet,
    labels: np.ndarray,
    *,
    way: int,
    shot: int,
    n_episodes: int,
    n_query: int = 15,
    seed: int = 20260101,
) -> EpisodeAccuracy:
    """Measure N-way K-shot accuracy of nearest class means in the encoder's space.

    Args:
        encoder: fitted on other publications.
        cases: held-out cases.
        labels: int (n_cases,), candidate of each, -1 for none.
        way: diseases in an episode.
        shot: support cases of each disease.
        n_episodes: number of episodes.
        n_query: most queries of each disease.
        seed: of the episodes.

    Raises:
        EpisodeError: too few diseases have support and query of different publications.
    """
    encoded = encoder.encode(cases)
    sampler = EpisodeSampler(labels, publication_groups(cases.case_ids, cases.pmids), shots=shot)
    accuracy = []
    for episode in sampler.episodes(seed, n_episodes, way, n_query):
        total = np.zeros((way, encoded.shape[1]), np.float32)
        np.add.at(total, episode.support_class, encoded[episode.support])
        named = (encoded[episode.query] @ unit_rows(total).T).argmax(axis=1)
        right = named == episode.query_class
        # Each disease counts alike, however many queries it has.
        accuracy.append(np.mean([right[episode.query_class == c].mean() for c in range(way)]))
    mean, low, high = _normal_interval(np.array(accuracy))
    return EpisodeAccuracy(way, shot, mean, low, high, len(accuracy), len(sampler.diseases))


def episode_table(
    encoder: PhenotypeEncoder, cases: CaseSet, labels: np.ndarray, *, n_episodes: int, seed: int = 20260101
) -> list[EpisodeAccuracy]:
    """Return the protocol's six settings; a setting that the cases cannot make is left out."""
    table = []
    for way in WAYS:
        for shot in SHOTS:
            try:
                table.append(
                    episode_accuracy(
                        encoder, cases, labels, way=way, shot=shot, n_episodes=n_episodes, seed=seed
                    )
                )
            except EpisodeError:
                continue
    return table


def protocol_episodes(config: FewShotConfig, labels: np.ndarray, way: int) -> int:
    """Return how many episodes show each disease ``config.episodes_per_disease`` times on average.

    Args:
        config: the budget.
        labels: candidate of each held-out case, -1 for none.
        way: diseases in an episode.
    """
    diseases = len(np.unique(labels[labels >= 0]))
    return max(1, -(-config.episodes_per_disease * diseases // way))


def prototype_similarity(encoder: PhenotypeEncoder, cases: CaseSet, labels: np.ndarray) -> dict[str, float]:
    """Return mean cosines to the own disease (its other cases), to other diseases, and their ratio.

    Args:
        encoder: fitted on other publications.
        cases: held-out cases.
        labels: candidate of each case; diseases with one case do not count.
    """
    names, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    kept = np.flatnonzero((counts[classes] > 1) & (labels >= 0))
    if len(np.unique(classes[kept])) < 2:
        raise ValueError("prototype similarity needs two diseases with two cases each")
    encoded = encoder.encode(cases)
    total = np.zeros((len(names), encoded.shape[1]), np.float32)
    np.add.at(total, classes[kept], encoded[kept])
    own = unit_rows(total[classes[kept]] - encoded[kept])
    within = float((own * encoded[kept]).sum(axis=1).mean())
    cosines = encoded[kept] @ unit_rows(total).T
    others = np.unique(classes[kept])
    mask = others[None, :] != classes[kept][:, None]
    between = float(cosines[:, others][mask].mean())
    return {"within": within, "between": between, "within_over_between": within / max(between, 1e-6)}


def adaptation_curve(
    model: MAML,
    cases: CaseSet,
    labels: np.ndarray,
    *,
    way: int = 5,
    shot: int = 5,
    steps: int = 10,
    n_episodes: int = 50,
    seed: int = 20260101,
) -> list[dict[str, float]]:
    """Return accuracy after 0, 1, ... inner gradient steps on held-out episodes, with 95 % intervals."""
    sampler = EpisodeSampler(labels, publication_groups(cases.case_ids, cases.pmids), shots=shot)
    encoded = model.encoder.encode(cases)
    curves = np.array(
        [model.episode_accuracy(encoded, e, steps) for e in sampler.episodes(seed, n_episodes, way, 15)]
    )
    rows = []
    for step in range(steps + 1):
        mean, low, high = _normal_interval(curves[:, step])
        rows.append({"step": float(step), "accuracy": mean, "low": low, "high": high, "n": float(n_episodes)})
    return rows


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[str],
    *,
    seed: int = 20260101,
    resamples: int = 1000,
) -> PairedDifference:
    """Return the mean of ``first - second`` with a bootstrap interval over publication groups.

    Args:
        first: (n,), for example reciprocal ranks with transfer.
        second: (n,), without.
        groups: publication group of each case.
        seed: of the bootstrap.
        resamples: bootstrap samples.

    Raises:
        ValueError: lengths differ or are 0.
    """
    if len(first) != len(second) or len(first) != len(groups) or not len(first):
        raise ValueError(
            f"a paired difference needs equal lengths, got {len(first)}, {len(second)}, {len(groups)}"
        )
    values = (np.asarray(first) - np.asarray(second))[:, None]
    means, intervals = mean_ci(values, groups=groups, resamples=resamples, seed=seed)
    return PairedDifference(float(means[0]), float(intervals[0, 0]), float(intervals[0, 1]), len(values))


def rank_over_cases(
    network: PrototypicalNetwork,
    knowledge: RareKnowledge,
    known: CaseSet,
    held_out: CaseSet,
    *,
    most: int = 10,
    seed: int = 20260101,
) -> list[dict[str, float]]:
    """Return how held-out cases rank as their diseases become known case by case, without training again.

    Only diseases with ``most`` known cases take part, so every point of the curve is over the same cases.

    Args:
        network: fitted; its memory is rebuilt for each point and restored at the end.
        knowledge: annotations without the rows that cite the held-out publications.
        known: cases that may be shown.
        held_out: cases to rank, of other publications.
        most: known cases at the end of the curve.
        seed: of the order in which cases become known.

    Raises:
        ValueError: no held-out case has a disease with ``most`` known cases.
    """
    labels, truth = knowledge.labels(known), knowledge.labels(held_out)
    order = np.random.default_rng(seed).permutation(len(known))
    order = order[labels[order] >= 0]
    # Which number each known case has within its disease, in the order in which they become known.
    place = np.zeros(len(known), dtype=np.int64)
    seen: dict[int, int] = {}
    for i in order:
        place[i] = seen.get(int(labels[i]), 0)
        seen[int(labels[i])] = int(place[i]) + 1
    followed = np.flatnonzero([seen.get(int(t), 0) >= most for t in truth])
    if not len(followed):
        raise ValueError(f"no held-out case has a disease with {most} known cases")
    targets = set(truth[followed].tolist())
    is_target = np.array([int(label) in targets for label in labels])
    rows = []
    for n in range(most + 1):
        shown = np.flatnonzero((labels >= 0) & (~is_target | (place < n)))
        ranks = ranks_of(network.remember(knowledge, known[shown]).score(held_out[followed]), truth[followed])
        rows.append(
            {
                "known_cases": float(n),
                "mrr": float((1 / ranks).mean()),
                "top1": float((ranks <= 1).mean()),
                "top10": float((ranks <= 10).mean()),
                "median_rank": float(np.median(ranks)),
                "n": float(len(ranks)),
            }
        )
    network.remember(knowledge, known)
    return rows


def transfer_gain(
    with_transfer: Callable[[CaseSet], np.ndarray],
    without: Callable[[CaseSet], np.ndarray],
    knowledge: RareKnowledge,
    held_out: CaseSet,
    shots: np.ndarray,
    *,
    seed: int = 20260101,
) -> dict[str, PairedDifference]:
    """Return the paired gain in reciprocal rank, for all cases and by number of known cases.

    Args:
        with_transfer: scores held-out cases, (n_cases, n_candidates).
        without: the same without transfer.
        knowledge: whose candidates the columns are.
        held_out: real cases of publications that neither was fitted to.
        shots: known cases of each candidate.
        seed: of the intervals.
    """
    truth = knowledge.labels(held_out)
    use = np.flatnonzero(truth >= 0)
    groups = publication_groups(held_out.case_ids, held_out.pmids)
    first, second = (1 / ranks_of(score(held_out), truth) for score in (with_transfer, without))
    n_known = shots[np.maximum(truth, 0)]
    parts = {"all": use}
    for name, low, high in (("0", 0, 0), ("1-4", 1, 4), ("5-50", 5, 50)):
        parts[name] = use[(n_known[use] >= low) & (n_known[use] <= high)]
    return {
        name: paired_difference(first[chosen], second[chosen], [groups[i] for i in chosen], seed=seed)
        for name, chosen in parts.items()
        if len(chosen)
    }


def _normal_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return mean, low and high end of the 95 % interval of the mean."""
    mean = float(values.mean())
    half = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return mean, mean - half, mean + half
