"""Learning the rank network: softmax over each case's list, on episodes.

What belongs here: the training loop (PyTorch). What does not: the features (``features.rare_evidence``),
which cases are held out (``ranker_episodes``), and the forward pass that is served
(``features.rare_network``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medassets.features.rare_network import RankNetwork

if TYPE_CHECKING:
    from medassets.learners.rare.ranker_episodes import Episodes


@dataclass(frozen=True)
class ListwiseConfig:
    """Settings of the training loop.

    Attributes:
        hidden: width of the first hidden layer; the second has half.
        epochs: passes over the episodes.
        batch: cases a step.
        negatives: candidates drawn a case and step beside the true one.
        learning_rate: peak of a one-cycle schedule.
        weight_decay: of AdamW.
        dropout: after the first hidden layer.
        zero_shot_weight: how much more an episode counts whose disease has no known case.
    """

    hidden: int = 64
    epochs: int = 8
    batch: int = 32
    negatives: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    zero_shot_weight: float = 1.0


def train_network(episodes: Episodes, config: ListwiseConfig, seed: int) -> RankNetwork:
    """Learn one network on the episodes whose true candidate is on the list.

    Raises:
        ValueError: no such episode.
    """
    import torch

    usable = np.flatnonzero(episodes.target >= 0)
    if len(usable) == 0:
        raise ValueError("no episode has its true disease on the candidate list: nothing to learn from")
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    mean, scale = _standardization(episodes, usable, rng)
    weight = episodes.weight[usable] * np.where(episodes.zero_shot[usable], config.zero_shot_weight, 1.0)
    weight = weight / weight.mean()
    model = _module(len(mean), config)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    batch = min(config.batch, len(usable))
    steps = config.epochs * (len(usable) // batch) + 1
    # The rate rises for a tenth of the steps, for two at least: rising for one divides by zero.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps, pct_start=max(0.1, 2 / steps)
    )
    center, width = torch.tensor(mean), torch.tensor(scale)
    for _ in range(config.epochs):
        order = rng.permutation(len(usable))
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            features, hidden = _draw(episodes, usable[chosen], config.negatives, rng)
            scores = model(((torch.tensor(features) - center) / width).clamp(-6, 6))
            scores = scores.masked_fill(torch.tensor(hidden), -1e9)
            truth = torch.zeros(batch, dtype=torch.long)
            loss = torch.nn.functional.cross_entropy(scores, truth, reduction="none")
            loss = (loss * torch.tensor(weight[chosen], dtype=torch.float32)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return _as_arrays(model, mean, scale)


def merge(networks: list[RankNetwork]) -> RankNetwork:
    """Return one ensemble; each member keeps its own standardization, folded into its first layers.

    Raises:
        ValueError: no network.
    """
    if not networks:
        raise ValueError("an ensemble needs at least one network")
    first = networks[0]
    w1, b1, skip, bias = [], [], [], []
    for net in networks:
        ratio = first.scale / net.scale
        shift = (first.mean - net.mean) / net.scale
        w1.append(net.w1 * ratio[None, :, None])
        b1.append(net.b1 + np.einsum("f,efh->eh", shift, net.w1))
        skip.append(net.skip * ratio)
        bias.append(net.bias + net.skip @ shift)
    return RankNetwork(
        first.mean, first.scale,
        np.concatenate(w1).astype(np.float32), np.concatenate(b1).astype(np.float32),
        np.concatenate([n.w2 for n in networks]), np.concatenate([n.b2 for n in networks]),
        np.concatenate([n.w3 for n in networks]), np.concatenate(skip).astype(np.float32),
        np.concatenate(bias).astype(np.float32),
    )  # fmt: skip


def _standardization(
    episodes: Episodes, usable: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of the features over listed candidates of a sample of episodes."""
    sample = rng.choice(usable, size=min(len(usable), 1000), replace=False)
    rows = episodes.features[sample][episodes.candidates[sample] >= 0].astype(np.float32)
    return rows.mean(axis=0).astype(np.float32), (rows.std(axis=0) + 1e-3).astype(np.float32)


def _draw(
    episodes: Episodes, chosen: np.ndarray, negatives: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return features (batch, 1 + negatives, F), the true candidate first, and which of them do not count."""
    target = episodes.target[chosen]
    n_listed = (episodes.candidates[chosen] >= 0).sum(axis=1)
    drawn = np.argsort(rng.random((len(chosen), episodes.candidates.shape[1])), axis=1)
    drawn = np.concatenate([target[:, None], drawn[:, :negatives]], axis=1)
    hidden = (drawn == target[:, None]) | (drawn >= n_listed[:, None])
    hidden[:, 0] = False
    return episodes.features[chosen[:, None], drawn].astype(np.float32), hidden


def _module(n_features: int, config: ListwiseConfig) -> Any:
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(n_features, config.hidden)
            self.second = nn.Linear(config.hidden, config.hidden // 2)
            self.third = nn.Linear(config.hidden // 2, 1, bias=False)
            self.skip = nn.Linear(n_features, 1, bias=False)
            self.dropout = nn.Dropout(config.dropout)
            nn.init.zeros_(self.skip.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.dropout(nn.functional.silu(self.first(x)))
            return (self.third(nn.functional.silu(self.second(hidden))) + self.skip(x)).squeeze(-1)

    return Network()


def _as_arrays(model: Any, mean: np.ndarray, scale: np.ndarray) -> RankNetwork:
    def array(parameter: Any) -> np.ndarray:
        return np.asarray(parameter.detach().numpy(), dtype=np.float32)

    return RankNetwork(
        mean, scale, array(model.first.weight).T[None].copy(), array(model.first.bias)[None],
        array(model.second.weight).T[None].copy(), array(model.second.bias)[None],
        array(model.third.weight), array(model.skip.weight), np.zeros(1, np.float32),
    )  # fmt: skip
