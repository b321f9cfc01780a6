"""A wide-and-deep network (Cheng et al., 2016) over embedded answers, in PyTorch.

What belongs here: the architecture, its training loop and storage. What does not: rows and folds
(``training``) and the export (``onnx_export``).

Each (column, answer) pair has an embedding, "unknown" one of its own. The wide part adds one score a
condition for each answer and starts at the naive Bayes tables; the deep part starts at zero and learns what
independence misses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medassets.features.answer_codes import AdditiveScores, log_softmax
from medassets.features.model_inputs import ModelInputs
from medassets.learners.common.config import CommonConfig, NetworkConfig
from medassets.learners.common.patients import CommonPatients
from medassets.learners.common.storage import load_arrays, load_inputs, save_arrays, save_inputs

if TYPE_CHECKING:
    import torch


def build_module(inputs: ModelInputs, n_conditions: int, config: NetworkConfig) -> Any:
    """The untrained network: float32 (n, n_inputs) of encoded answers in, (n, n_conditions) scores out."""
    import torch
    from torch import nn

    class AnswerNetwork(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift: torch.Tensor
            self.register_buffer("shift", torch.as_tensor(inputs.offsets + 1, dtype=torch.int64))
            # Wide scores and deep embedding of an answer lie side by side: one look-up brings both.
            self.answers = nn.Parameter(torch.zeros(int(inputs.sizes.sum()), n_conditions + config.width))
            self.bias = nn.Parameter(torch.zeros(n_conditions))
            self.deep = nn.Sequential(
                nn.LayerNorm(config.width),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.width, config.hidden),
                nn.ReLU(),
                nn.Dropout(config.dropout),
                nn.Linear(config.hidden, n_conditions),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            codes = x.to(torch.int64) + self.shift
            if torch.onnx.is_in_onnx_export():  # the fused sum has no ONNX operator of its own
                total = self.answers[codes].sum(1)
            else:
                total = nn.functional.embedding_bag(codes, self.answers, mode="sum")
            return total[:, :n_conditions] + self.bias + self.deep(total[:, n_conditions:])

    return AnswerNetwork()


@dataclass(frozen=True)
class NetworkModel:
    """A trained network with the columns it reads."""

    module: Any
    inputs: ModelInputs
    n_conditions: int
    config: NetworkConfig
    name: str = "network"

    @classmethod
    def fit(
        cls,
        patients: CommonPatients,
        inputs: ModelInputs,
        n_conditions: int,
        config: CommonConfig,
        start: AdditiveScores | None = None,
        **_: Any,
    ) -> NetworkModel:
        """Train with AdamW under a one-cycle schedule.

        Args:
            patients: rows, corrupted copies included.
            inputs: columns.
            n_conditions: number of scores.
            config: ``network``, ``seed`` and ``threads``.
            start: naive Bayes tables for the wide part; None starts at zero.
        """
        import torch

        settings = config.network
        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        module = build_module(inputs, n_conditions, settings)
        _initialise(module, inputs, n_conditions, start)
        _learn(module, inputs, patients, settings, settings.epochs, settings.learning_rate)
        return cls(module, inputs, n_conditions, settings)

    def continued(
        self, patients: CommonPatients, config: CommonConfig, *, epochs: int, learning_rate: float
    ) -> NetworkModel:
        """A network that starts from this one's weights and learns on from other rows; this one stays."""
        import torch

        torch.manual_seed(config.seed)
        torch.set_num_threads(config.threads)
        module = build_module(self.inputs, self.n_conditions, self.config)
        module.load_state_dict(self.module.state_dict())
        _learn(module, self.inputs, patients, self.config, epochs, learning_rate)
        return NetworkModel(module, self.inputs, self.n_conditions, self.config)

    def log_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64 log-probabilities of rows of a symptom matrix."""
        return log_softmax(self.predict_scores(self.inputs.transform(matrix)).astype(np.float64))

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64."""
        return np.exp(self.log_proba(matrix))

    def predict_scores(self, X: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float32 scores of rows that are already a model's input."""
        import torch

        with torch.no_grad():
            parts = [self.module(torch.from_numpy(X[i : i + 1024])).numpy() for i in range(0, len(X), 1024)]
        return np.concatenate(parts) if parts else np.zeros((0, self.n_conditions), dtype=np.float32)

    def predict_inputs(self, X: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float32 probabilities of rows that are already a model's input."""
        return np.exp(log_softmax(self.predict_scores(X)))

    def save(self, directory: Path) -> None:
        """Write weights as arrays and the architecture as JSON."""
        directory.mkdir(parents=True, exist_ok=True)
        save_inputs(self.inputs, directory)
        weights = {name: tensor.numpy() for name, tensor in self.module.state_dict().items()}
        save_arrays(directory / "weights.npz", weights)
        (directory / "network.json").write_text(self.config.model_dump_json())

    @classmethod
    def load(cls, directory: Path) -> NetworkModel:
        """Read what ``save`` wrote."""
        import torch

        inputs, weights = load_inputs(directory), load_arrays(directory / "weights.npz")
        config = NetworkConfig.model_validate_json((directory / "network.json").read_text())
        n_conditions = len(weights["bias"])
        module = build_module(inputs, n_conditions, config)
        module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        module.eval()
        return cls(module, inputs, n_conditions, config)


def _learn(
    module: Any,
    inputs: ModelInputs,
    patients: CommonPatients,
    settings: NetworkConfig,
    epochs: int,
    learning_rate: float,
) -> None:
    """Let a module learn in place, with AdamW under a one-cycle schedule."""
    import torch
    from torch import nn

    X = torch.from_numpy(inputs.transform(patients.matrix))
    y = torch.from_numpy(patients.labels)
    batches = max(1, -(-len(y) // settings.batch))
    optimiser = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=batches * epochs)
    module.train()
    for _epoch in range(epochs):
        for rows in torch.randperm(len(y)).split(settings.batch):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(module(X[rows]), y[rows], label_smoothing=0.01)
            loss.backward()
            optimiser.step()
            schedule.step()
    module.eval()


def _initialise(module: Any, inputs: ModelInputs, n_conditions: int, start: AdditiveScores | None) -> None:
    """Small random embeddings, a silent deep part, and the wide part at the naive Bayes tables."""
    import torch
    from torch import nn

    weights = dict(module.named_parameters())
    with torch.no_grad():
        nn.init.normal_(weights["answers"][:, n_conditions:], std=0.05)
        nn.init.zeros_(weights["deep.6.weight"])
        nn.init.zeros_(weights["deep.6.bias"])
        if start is not None:
            # The component in the middle: neither trusting nor doubting every answer.
            middle = start.components // 2 * n_conditions
            table = start.table[inputs.rows_of(start.codes), middle : middle + n_conditions]
            # Relative to an absent answer, so that sums stay small and float32 keeps its digits.
            absent = table[inputs.offsets + 1]
            table = table - np.repeat(absent, inputs.sizes, axis=0)
            weights["answers"][:, :n_conditions] = torch.from_numpy(table.astype(np.float32))
            weights["bias"].copy_(torch.from_numpy((start.bias + absent.sum(axis=0)).astype(np.float32)))
