"""Training of one base model: on all training rows, and once a fold for out-of-fold predictions.

What belongs here: the cross-validation that every base model shares, and the result as an asset that can be
stored.
What does not: the models themselves and what is made of their predictions (``ensemble``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medassets.features.common import EvidenceSpace
from medassets.features.model_inputs import ModelInputs
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.boosting import BoostingModel
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.forest import ForestModel
from medassets.learners.common.naive_bayes import NaiveBayes
from medassets.learners.common.network import NetworkModel
from medassets.learners.common.patients import CommonPatients
from medassets.learners.common.preprocessing import RelevanceSelector
from medassets.learners.common.storage import load_arrays, load_json, save_arrays, save_json
from medassets.learners.common.training import TrainingData, fitting_rows, without_fold

#: Told (done, total, what) as models are fitted.
Progress = Callable[[int, int, str], None]


class BaseModel(Protocol):
    """What the ensemble asks of a fitted base model."""

    @property
    def name(self) -> str:
        """One of ``BASE_NAMES``."""
        ...

    def log_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64."""
        ...

    def save(self, directory: Path) -> None:
        """Write without pickle."""
        ...


_LOADERS: dict[str, Callable[[Path], BaseModel]] = {
    "naive_bayes": NaiveBayes.load,
    "boosting": BoostingModel.load,
    "forest": ForestModel.load,
    "network": NetworkModel.load,
}
BASE_NAMES = tuple(_LOADERS)


@dataclass(frozen=True)
class TrainedBase:
    """A base model and what the meta-learner learns from.

    Attributes:
        name: one of ``BASE_NAMES``.
        model: fitted on all training rows.
        clean: (n_train, n_conditions) float32 out-of-fold log-probabilities of the training rows as recorded.
        probe: the same rows with answers hidden and falsified (``TrainingData.probe``).
        metadata: ``{"params", "metrics"}``; metrics are out-of-fold top-1.
    """

    name: str
    model: BaseModel
    clean: np.ndarray
    probe: np.ndarray
    metadata: dict[str, Any]

    def log_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64 log-probabilities of rows of a symptom matrix."""
        return self.model.log_proba(matrix)

    def save(self, directory: Path) -> None:
        """Write the model, its out-of-fold predictions and metadata."""
        self.model.save(directory / "model")
        save_arrays(directory / "out_of_fold.npz", {"clean": self.clean, "probe": self.probe})
        save_json(directory / "base.json", {"name": self.name, "metadata": self.metadata})

    @classmethod
    def load(cls, directory: Path) -> TrainedBase:
        """Read what ``save`` wrote."""
        content, folds = load_json(directory / "base.json"), load_arrays(directory / "out_of_fold.npz")
        model = load_model(content["name"], directory / "model")
        return cls(content["name"], model, folds["clean"], folds["probe"], content["metadata"])


def load_model(name: str, directory: Path) -> BaseModel:
    """Read a base model that its ``save`` wrote."""
    return _LOADERS[name](directory)


def train_base(
    name: str, data: TrainingData, config: CommonConfig, progress: Progress | None = None
) -> TrainedBase:
    """Fit one base model, with cross-validation.

    Args:
        name: one of ``BASE_NAMES``.
        data: rows and folds.
        config: all settings.
        progress: told after each fit.

    Raises:
        ValueError: no such base model.
    """
    if name not in _LOADERS:
        raise ValueError(f"unknown base model {name!r}; there are {', '.join(BASE_NAMES)}")
    probe_matrix = data.probe(config)
    shape = (len(data.train), len(data.knowledge.conditions))
    clean, probe = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    folds = np.unique(data.folds)
    everyone = np.arange(len(data.train))
    # The largest fit first: beside it the others fill the second core.
    models = _fit_each(name, data, [everyone, *(without_fold(data, fold) for fold in folds)], config)
    final = next(models)
    for done, (fold, model) in enumerate(zip(folds, models, strict=True), start=1):
        held = np.flatnonzero(data.folds == fold)
        clean[held] = model.log_proba(data.train.matrix[held])
        probe[held] = model.log_proba(probe_matrix[held])
        if progress:
            progress(done, len(folds), f"{name}: fold {done} of {len(folds)}")
    labels = data.train.labels
    metrics = {
        "oof_top1": float((clean.argmax(1) == labels).mean()),
        "oof_top1_probe": float((probe.argmax(1) == labels).mean()),
        "oof_log_loss": float(-clean[np.arange(len(labels)), labels].mean()),
    }
    params = {"n_train": len(labels), "origins": data.origins, "folds": config.folds, "seed": config.seed}
    params |= {"mix": config.mix, "copies": config.copies} | getattr(config, name).model_dump(mode="json")
    return TrainedBase(name, final, clean, probe, {"params": params, "metrics": metrics})


def _fit_each(
    name: str, data: TrainingData, choices: list[np.ndarray], config: CommonConfig
) -> Iterator[BaseModel]:
    """Fit on each choice of training rows, in order; boosters side by side, with one thread each.

    Trees are too small for two threads to share: two boosters at once take half of the time that one after
    another takes with two threads. A forest shares its trees out itself, and a network draws from PyTorch's
    only random state.
    """
    if name != "boosting" or config.threads == 1:
        yield from (fit_model(name, data, rows, config) for rows in choices)
        return
    single = config.model_copy(update={"threads": 1})
    with ThreadPoolExecutor(config.threads) as pool:
        yield from pool.map(lambda rows: fit_model(name, data, rows, single), choices)


def fit_model(name: str, data: TrainingData, rows: np.ndarray, config: CommonConfig) -> BaseModel:
    """Fit one base model on these training rows and what belongs to them (copies, simulated extras)."""
    own = data.train.take(rows)
    use_records = not (config.mix == "simulated" and data.extra is not None)
    records = NaiveBayes.fit(data.knowledge, data.space, own if use_records else None, config.naive_bayes)
    if name == "naive_bayes":
        return records
    if not use_records:
        # Simulated patients carry no values: a column that training never filled would mislead at prediction.
        own = own.take(np.zeros(len(own), dtype=bool))
    return fit_on(name, fitting_rows(data, rows, config), own, data.space, data.knowledge, config, records)


def fit_on(
    name: str,
    rows: CommonPatients,
    records: CommonPatients,
    space: EvidenceSpace,
    knowledge: CommonKnowledge,
    config: CommonConfig,
    prior: NaiveBayes,
) -> BaseModel:
    """Fit one learned model on given rows; columns are selected by what ``records`` carry."""
    inputs = select_inputs(records, space, config)
    classes = len(knowledge.conditions)
    if name == "boosting":
        return BoostingModel.fit(rows, inputs, classes, config)
    if name == "forest":
        return ForestModel.fit(rows, inputs, classes, config)
    return NetworkModel.fit(rows, inputs, classes, config, start=prior.scores)


def select_inputs(records: CommonPatients, space: EvidenceSpace, config: CommonConfig) -> ModelInputs:
    """Columns that can matter; values of simulated patients are drawn evenly and never count."""
    real = records.take(records.origin != "simulated")
    return RelevanceSelector(space, config.min_support).fit(real.matrix).inputs_
