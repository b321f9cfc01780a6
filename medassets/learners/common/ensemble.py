"""The common-disease ensemble: base models, pooled, calibrated, with conformal sets and a differential.

What belongs here: putting the parts together, storing them, and handing them to serving. What does not: how
each part is learned (``stacking``, ``calibration``, ``conformal``, ``differential``) and the export
(``onnx_export``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medassets.features.answer_codes import log_softmax
from medassets.features.common import EvidenceSpace
from medassets.features.pooling import CommonPrediction, Decision
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.base import BASE_NAMES, BaseModel, TrainedBase, load_model, select_inputs
from medassets.learners.common.calibration import choose_calibration
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.conformal import BAND_EDGES, fit_conformal
from medassets.learners.common.differential import DifferentialHead
from medassets.learners.common.naive_bayes import NaiveBayes
from medassets.learners.common.patients import CommonPatients, unknown_share
from medassets.learners.common.stacking import fit_pool
from medassets.learners.common.storage import (
    load_arrays,
    load_json,
    load_knowledge,
    save_arrays,
    save_json,
    save_knowledge,
)
from medassets.learners.common.training import TrainingData, corrupted

#: Fewest validation rows that calibration is fitted on alone; with fewer, out-of-fold rows join.
MIN_VALIDATION = 50


@dataclass(frozen=True)
class CommonEnsemble:
    """A trained ensemble.

    Attributes:
        models: base models by name, ``naive_bayes`` among them.
        decision: pool, calibration and conformal thresholds.
        head: differential head, or None where no reference differentials were at hand.
        metadata: ``{"params", "metrics", "training"}``; figures of the test part are made by the evaluation.
    """

    models: dict[str, BaseModel]
    decision: Decision
    head: DifferentialHead | None
    space: EvidenceSpace
    knowledge: CommonKnowledge
    metadata: dict[str, Any]

    @classmethod
    def fit(cls, bases: dict[str, TrainedBase], data: TrainingData, config: CommonConfig) -> CommonEnsemble:
        """Learn everything above the base models.

        Args:
            bases: trained with the same data and config, ``naive_bayes`` among them.
            data: rows; the test part is not looked at.
            config: all settings.

        Raises:
            ValueError: ``naive_bayes`` is missing, or a base model was trained on other rows.
        """
        if "naive_bayes" not in bases:
            raise ValueError(
                "the ensemble needs naive_bayes: the differential and explanations are built on it"
            )
        names = tuple(name for name in BASE_NAMES if name in bases)
        labels = data.train.labels
        for name in names:
            if len(bases[name].clean) != len(labels):
                rows = len(bases[name].clean)
                raise ValueError(f"{name} was trained on {rows} rows, the data has {len(labels)}")
        seen = _Judged.out_of_fold(names, bases, data, config)
        pool = fit_pool(names, seen.log_proba, seen.unknown, seen.labels)
        held = _Judged.validation(names, bases, data, config)
        calibrated = held if len(data.validation) >= MIN_VALIDATION else held.join(seen)
        calibration, losses = choose_calibration(
            pool.scores(calibrated.log_proba, calibrated.unknown), calibrated.labels, seed=config.seed
        )
        both = seen.join(held)
        p = calibration.probabilities(pool.scores(both.log_proba, both.unknown))
        # Falsified answers would loosen the promise for complete records: probes count where much is unknown.
        usable = ~both.probe | (both.unknown > BAND_EDGES[0])
        conformal = fit_conformal(p[usable], both.labels[usable], both.unknown[usable], config.coverage)
        decision = Decision(pool, calibration, conformal, config.differential.softness)
        head = _fit_head(bases["naive_bayes"], data, config)
        metadata = {
            "params": {
                "seed": config.seed,
                "folds": config.folds,
                "mix": config.mix,
                "models": list(names),
                "calibration": calibration.method,
                "coverage": config.coverage,
                "weights": dict(zip(names, pool.weights.round(4).tolist(), strict=True)),
                "slopes": dict(zip(names, pool.slopes.round(4).tolist(), strict=True)),
                "knowledge": data.knowledge.version,
            },
            "metrics": _metrics(decision, seen, held, losses),
            "training": _training(data, head),
        }
        models = {name: bases[name].model for name in names}
        if not (config.mix == "simulated" and data.extra is not None):
            models["naive_bayes"] = _refitted(data, config)
        return cls(models, decision, head, data.space, data.knowledge, metadata)

    def predict(self, matrix: np.ndarray) -> CommonPrediction:
        """Predict with the trained models themselves (serving runs their export).

        Args:
            matrix: (n, n_features) int8 symptom matrix.
        """
        log_proba = {name: model.log_proba(matrix) for name, model in self.models.items()}
        head = None if self.head is None else self.head.predict(matrix, log_proba["naive_bayes"])
        return self.decision.predict(log_proba, unknown_share(self.space, matrix), head)

    def predict_matrix(self, matrix: np.ndarray) -> CommonPrediction:
        """The same as ``predict``, under the name that serving's predictor has."""
        return self.predict(matrix)

    def export_bundle(self, directory: Path) -> None:
        """Write what ``medassets.serving.common.CommonPredictor`` loads: ONNX, arrays, JSON."""
        from medassets.learners.common.onnx_export import export_ensemble

        export_ensemble(self, directory)

    def save(self, directory: Path) -> None:
        """Write without pickle; the same ensemble gives the same bytes."""
        directory.mkdir(parents=True, exist_ok=True)
        for name, model in self.models.items():
            model.save(directory / name)
        save_arrays(directory / "decision.npz", self.decision.to_arrays())
        if self.head is not None:
            self.head.save(directory / "differential")
        save_knowledge(directory / "knowledge.json", self.knowledge)
        save_json(directory / "ensemble.json", {"metadata": self.metadata, "models": list(self.models)})

    @classmethod
    def load(cls, directory: Path) -> CommonEnsemble:
        """Read what ``save`` wrote."""
        content = load_json(directory / "ensemble.json")
        knowledge = load_knowledge(directory / "knowledge.json")
        head = directory / "differential"
        return cls(
            {name: load_model(name, directory / name) for name in content["models"]},
            Decision.from_arrays(load_arrays(directory / "decision.npz")),
            DifferentialHead.load(head) if head.is_dir() else None,
            EvidenceSpace.from_knowledge(knowledge),
            knowledge,
            content["metadata"],
        )


@dataclass(frozen=True)
class _Judged:
    """Predictions for rows that the predicting models were not fitted on."""

    log_proba: np.ndarray
    unknown: np.ndarray
    labels: np.ndarray
    probe: np.ndarray

    @classmethod
    def out_of_fold(
        cls, names: tuple[str, ...], bases: dict[str, TrainedBase], data: TrainingData, config: CommonConfig
    ) -> _Judged:
        n = len(data.train)
        stacked = np.stack([np.concatenate([bases[name].clean, bases[name].probe]) for name in names])
        unknown = [unknown_share(data.space, m) for m in (data.train.matrix, data.probe(config))]
        return cls(
            stacked.astype(np.float64),
            np.concatenate(unknown),
            np.tile(data.train.labels, 2),
            np.repeat([False, True], n),
        )

    @classmethod
    def validation(
        cls, names: tuple[str, ...], bases: dict[str, TrainedBase], data: TrainingData, config: CommonConfig
    ) -> _Judged:
        rows = data.validation
        matrix = np.concatenate([rows.matrix, corrupted(data.space, rows.matrix, config, salt="validation")])
        return cls(
            np.stack([bases[name].log_proba(matrix) for name in names]),
            unknown_share(data.space, matrix),
            np.tile(rows.labels, 2),
            np.repeat([False, True], len(rows)),
        )

    def join(self, other: _Judged) -> _Judged:
        return _Judged(
            np.concatenate([self.log_proba, other.log_proba], axis=1),
            np.concatenate([self.unknown, other.unknown]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.probe, other.probe]),
        )


def _refitted(data: TrainingData, config: CommonConfig) -> NaiveBayes:
    """Naive Bayes on training and validation rows, once nothing is chosen on the latter any more.

    Its tables of values grow with every record of a condition, some of which have a handful; a refit costs a
    second. Out-of-fold and validation predictions, and what was fitted on them, stay those of the narrower
    fit.
    """
    rows = CommonPatients.concat([data.train, data.validation])
    return NaiveBayes.fit(data.knowledge, data.space, rows, config.naive_bayes)


def _fit_head(base: TrainedBase, data: TrainingData, config: CommonConfig) -> DifferentialHead | None:
    rows: CommonPatients = CommonPatients.concat([data.train, data.validation])
    posterior = np.concatenate([base.clean.astype(np.float64), base.log_proba(data.validation.matrix)])
    inputs = select_inputs(data.train, data.space, config)
    return DifferentialHead.fit(rows, log_softmax(posterior), data.knowledge, inputs, config)


def _metrics(decision: Decision, seen: _Judged, held: _Judged, losses: dict[str, float]) -> dict[str, float]:
    result = {f"calibration_log_loss_{name}": value for name, value in losses.items()}
    for part, judged in (("oof", seen), ("validation", held)):
        p = decision.probabilities(judged.log_proba, judged.unknown)
        for name, rows in (("", ~judged.probe), ("_probe", judged.probe)):
            if rows.any():
                own = p[rows, judged.labels[rows]]
                result[f"{part}_top1{name}"] = float((p[rows].argmax(1) == judged.labels[rows]).mean())
                result[f"{part}_log_loss{name}"] = float(-np.log(np.maximum(own, 1e-12)).mean())
    return result


def _training(data: TrainingData, head: DifferentialHead | None) -> dict[str, Any]:
    ages = data.train.matrix[:, data.space.age].astype(int)
    known = ages[ages >= 0]
    return {
        "origins": data.origins,
        "n_train": len(data.train),
        "n_validation": len(data.validation),
        "n_simulated_extra": 0 if data.extra is None else len(data.extra),
        "age_range": [int(known.min()), int(known.max())] if len(known) else [0, 130],
        "differential": "reference differentials" if head is not None else "softened posterior",
    }
