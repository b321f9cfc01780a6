"""What the few-shot methods add to the ranker, on episodes of the training part: alone, added, removed.

Usage: python benchmarks/rare_few_shot.py all_phenopackets.zip [--mondo mondo.zip]

Every method is fitted anew without each fold's publications; the ranker is learned again with the methods'
scores among its features. Figures are mean reciprocal ranks, differences with 95 % intervals by a paired
bootstrap over publications. No case of the test part is read: this chooses what is served.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from agreed_split import agreed_split

from medassets.cohorts.splits import publication_groups
from medassets.evaluation.metrics import mean_ci
from medassets.learners.rare.ablation import held_out_scores
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.maml import MAML
from medassets.learners.rare.prototypical import PrototypicalNetwork
from medassets.learners.rare.ranker import RankerConfig, learn_networks, list_ranks
from medassets.learners.rare.ranker_episodes import Episodes, make_episodes
from medassets.learners.rare.siamese import SiameseNetwork
from medassets.learners.rare.transfer import TransferPrototypes

METHODS: dict[str, Callable[[FewShotConfig], Any]] = {
    "prototypical": PrototypicalNetwork,
    "siamese": SiameseNetwork,
    "maml": MAML,
    "transfer": TransferPrototypes,
}
NETWORKS = ListwiseConfig(epochs=5)


def reciprocal(episodes: Episodes, scores: Sequence[np.ndarray]) -> np.ndarray:
    """Learn the ranker with further scores (n, K) among its features; return reciprocal ranks (n,)."""
    more = [part for s in scores for part in (s, s - s.max(axis=1, keepdims=True))]
    features = np.concatenate(
        [episodes.features, *(part[:, :, None].astype(np.float16) for part in more)], axis=2
    )
    logits = learn_networks(replace(episodes, features=features), NETWORKS, 0)[1]
    return np.asarray(1 / list_ranks(logits, episodes))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="zip or folder of phenopackets")
    parser.add_argument("--mondo", type=Path, help="zip of MONDO's exact matches: merges equivalent diseases")
    chosen = parser.parse_args()

    split = agreed_split(chosen.path, chosen.mondo)
    train, clean = split.train, split.clean

    quick = RankerConfig.quick()
    episodes = make_episodes(
        clean, train, "clean", n_folds=quick.n_folds, seed=quick.seed, per_group=quick.per_group
    )
    groups = np.array(publication_groups(train.case_ids, train.pmids))[episodes.case]
    informed = episodes.annotated | (episodes.shots > 0)
    scores = {}
    for name, method in METHODS.items():
        every = held_out_scores(partial(method, FewShotConfig.quick()), clean, train, episodes, "clean")
        listed = np.take_along_axis(every, np.maximum(episodes.candidates, 0), axis=1)
        scores[name] = np.where(episodes.candidates >= 0, listed, every.min())

    def show(what: str, values: np.ndarray, beside: np.ndarray | None = None) -> None:
        if beside is None:
            print(f"{what:28s}n {informed.sum()}  {values[informed].mean():.4f}")
            return
        mean, ci = mean_ci((values - beside)[informed][:, None], groups=groups[informed])
        print(f"{what:28s}n {informed.sum()}  {mean[0]:+.4f} [{ci[0][0]:+.4f}, {ci[0][1]:+.4f}]")

    base, everything = reciprocal(episodes, []), reciprocal(episodes, list(scores.values()))
    show("the ranker", base)
    show("with all four", everything, base)
    for name, own in scores.items():
        show(f"{name} alone", 1 / list_ranks(own, episodes))
        show(f"{name} added", reciprocal(episodes, [own]), base)
        others = [s for other, s in scores.items() if other != name]
        show(f"{name} removed from all", reciprocal(episodes, others), everything)


if __name__ == "__main__":
    main()
