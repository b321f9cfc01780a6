"""The rare-disease ranker: one calibrated score over all methods, learned on held-out publications.

What belongs here: what is learned, from which episodes, with which settings. What does not: the features
and the forward pass (``features.rare_*``), which serving shares.

Nothing is chosen on test cases: networks learn on episodes of the training part (``ranker_episodes``), each
episode is scored by the network that did not learn on its fold, and the calibration is fitted on those
scores. The networks of all folds together are the served ensemble.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_model import Head, RareModel
from medassets.features.rare_network import RankNetwork
from medassets.learners.rare.calibration import HeldOutLogits, fit_calibration
from medassets.learners.rare.listwise import ListwiseConfig, merge, train_network
from medassets.learners.rare.ranker_episodes import Episodes, Protocol, make_episodes

#: Episodes whose features are widened to float32 at once.
_TOGETHER = 64


@dataclass(frozen=True)
class RankerConfig:
    """Settings of the ranker; ``profile`` says in every report which of the two was run.

    Attributes:
        profile: ``full``, or ``quick`` for CI and first runs (fewer folds, and fewer cases of a publication).
        protocols: heads to learn. ``clean`` answers users; ``published`` is only for figures as other
            papers give them.
        n_folds: folds of publication groups. More folds leave the memory of an episode nearer to the served
            one, so that as few diseases lack a known case as will when it answers.
        repeats: assignments of groups to folds; the networks of all are one ensemble.
        per_group: most cases of one publication group that become episodes, all when None; such cases are
            much alike.
        most_episodes: most cases that become episodes, all when None.
        brief: share of the episodes that are shown once more with few findings, for the head that answers
            users.
        listwise: settings of each network.
        seed: of folds and networks.
    """

    profile: Literal["quick", "full"] = "full"
    protocols: tuple[Protocol, ...] = ("clean", "published")
    n_folds: int = 10
    repeats: int = 1
    listwise: ListwiseConfig = field(default_factory=ListwiseConfig)
    seed: int = 0
    per_group: int | None = None
    most_episodes: int | None = None
    brief: float = 0.25

    @classmethod
    def quick(cls, seed: int = 0) -> RankerConfig:
        """Settings that finish in under three minutes on two cores."""
        return cls("quick", n_folds=3, seed=seed, per_group=8, most_episodes=4000)

    @classmethod
    def full(cls, seed: int = 0) -> RankerConfig:
        """Settings of the reported figures."""
        return cls(seed=seed)


class RareRanker:
    """Fits, scores, explains nothing itself: ``serving.rare`` words the answers.

    Attributes:
        name: ``ranker``.
        config: settings.
        model: what was fitted.
    """

    name = "ranker"

    def __init__(self, config: RankerConfig | None = None) -> None:
        self.config = config or RankerConfig()
        self._model: RareModel | None = None
        self._learned: dict[str, Any] = {}

    @property
    def model(self) -> RareModel:
        """The fitted model.

        Raises:
            RuntimeError: not fitted.
        """
        if self._model is None:
            raise RuntimeError("the ranker is not fitted: call fit or load first")
        return self._model

    @property
    def candidates(self) -> list[str]:
        """Ids of the candidates, in the order of the score's columns."""
        return self.model.knowledge.candidates

    @property
    def metadata(self) -> dict[str, Any]:
        """Settings and what the heads were learned from, for the registry."""
        return {"params": asdict(self.config), "learned": self._learned}

    def fit(self, knowledge: RareKnowledge, cases: CaseSet) -> RareRanker:
        """Learn the heads on episodes of ``cases`` and keep all of them in memory.

        Where no annotation cites a publication of the cases both protocols are one and the same: then the
        first alone is learned.

        Raises:
            ValueError: too few publication groups for the folds, or no episode with its disease on the list.
        """
        heads: dict[str, Head] = {}
        differ = knowledge.cites({p for pmids in cases.pmids for p in pmids})
        for protocol in self.config.protocols if differ else self.config.protocols[:1]:
            heads[protocol], self._learned[protocol] = self._learn(knowledge, cases, protocol)
        self._model = RareModel.of(knowledge, cases, heads)
        return self

    def _learn(
        self, knowledge: RareKnowledge, cases: CaseSet, protocol: Protocol
    ) -> tuple[Head, dict[str, float]]:
        """Learn one head on every repeat of the folds, and say how it ranked what it had not learned."""
        networks: list[RankNetwork] = []
        held_out: HeldOutLogits | None = None
        ranks = []
        for seed in range(self.config.seed, self.config.seed + self.config.repeats):
            episodes = make_episodes(
                knowledge, cases, protocol,
                n_folds=self.config.n_folds, seed=seed,
                per_group=self.config.per_group, most=self.config.most_episodes,
                brief=self.config.brief if protocol == "clean" else 0.0,
            )  # fmt: skip
            learned, logits = learn_networks(episodes, self.config.listwise, seed)
            networks += learned
            found = HeldOutLogits.of(episodes, logits)
            held_out = found if held_out is None else held_out.with_more(found)
            ranks.append(list_ranks(logits, episodes)[~episodes.brief])
        if held_out is None:
            raise ValueError("the ranker needs at least one repeat of the folds")
        rank = np.concatenate(ranks)
        described = {
            "episodes": len(rank),
            "networks": len(networks),
            "listed": float(np.isfinite(rank).mean()),
            "held_out_top1": float((rank <= 1).mean()),
            "held_out_top10": float((rank <= 10).mean()),
        }
        return Head(merge(networks), fit_calibration(held_out)), described

    def score(self, cases: CaseSet, protocol: str = "clean") -> np.ndarray:
        """Return float32 (n_cases, n_candidates); higher is more probable."""
        return self.model.score(cases, protocol)

    def refit_memory(self, knowledge: RareKnowledge, cases: CaseSet) -> RareRanker:
        """Return a ranker with the same learned heads over the memory of other knowledge and cases."""
        return self._with(self.model.with_memory(knowledge, cases))

    def add_cases(self, cases: CaseSet) -> RareRanker:
        """Return the next revision, which also knows these cases (seconds; nothing is learned again)."""
        return self._with(self.model.add_cases(cases))

    def save(self, directory: Path) -> None:
        """Write model and settings."""
        self.model.save(directory)
        meta = {"config": asdict(self.config), "learned": self._learned}
        (directory / "ranker.json").write_text(json.dumps(meta, indent=1, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> RareRanker:
        """Read what ``save`` wrote."""
        meta = json.loads((directory / "ranker.json").read_text(encoding="utf-8"))
        settings = dict(meta["config"])
        settings["listwise"] = ListwiseConfig(**settings["listwise"])
        settings["protocols"] = tuple(settings["protocols"])
        ranker = cls(RankerConfig(**settings))
        ranker._learned = meta["learned"]
        ranker._model = RareModel.load(directory)
        return ranker

    def export_bundle(self, directory: Path) -> None:
        """Write what ``serving.rare.RarePredictor`` loads."""
        self.save(directory)

    def _with(self, model: RareModel) -> RareRanker:
        other = RareRanker(self.config)
        other._learned, other._model = self._learned, model
        return other


def learn_networks(
    episodes: Episodes, config: ListwiseConfig, seed: int
) -> tuple[list[RankNetwork], np.ndarray]:
    """Learn one network a fold, each without that fold.

    Returns:
        The networks, and float32 (n, K) logits of each episode by the network that did not learn on it.
    """
    networks = []
    logits = np.zeros(episodes.candidates.shape, np.float32)
    for fold in np.unique(episodes.fold):
        held = episodes.fold == fold
        networks.append(train_network(episodes[~held], config, 1000 * seed + int(fold)))
        logits[held] = list_logits(networks[-1], episodes[held])
    return networks, logits


def list_logits(network: RankNetwork, episodes: Episodes) -> np.ndarray:
    """Return float32 (n, K): the network's logits of all places on the lists."""
    n, k, f = episodes.features.shape
    logits = np.empty((n, k), np.float32)
    for start in range(0, n, _TOGETHER):
        rows = episodes.features[start : start + _TOGETHER].reshape(-1, f).astype(np.float32)
        logits[start : start + _TOGETHER] = network.logits(rows).reshape(-1, k)
    return logits


def list_ranks(scores: np.ndarray, episodes: Episodes) -> np.ndarray:
    """Return float64 (n,): rank of the true disease on its list (ties share), else infinity."""
    own = scores[np.arange(len(scores)), episodes.target][:, None]
    listed = episodes.candidates >= 0
    above, equal = ((scores > own) & listed).sum(axis=1), ((scores == own) & listed).sum(axis=1)
    return np.where(episodes.target >= 0, above + (equal - 1) / 2 + 1, np.inf)
