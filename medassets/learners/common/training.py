"""Which rows train what: parts, folds, corrupted copies and simulated extras, the same for every base model.

What belongs here: the choice of rows. What does not: the split itself (``medassets.cohorts.splits``) and
models.

Out-of-fold predictions are made for each training row twice: as recorded, and as a ``probe`` with answers
hidden and falsified, so that the meta-learner also learns whom to trust when little is known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from medassets.features.common import EvidenceSpace
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.naive_bayes import NaiveBayes
from medassets.learners.common.patients import CommonPatients, corrupt

#: Fewest simulated rows of a condition in training, however rare it is.
FEWEST = 20


@dataclass(frozen=True)
class TrainingData:
    """Rows of one training.

    Attributes:
        train: rows that are cross-validated; validation and test are never fitted on.
        extra: simulated rows that join training but are never held out (None: none).
        folds: (len(train),) fold of each training row.
    """

    knowledge: CommonKnowledge
    space: EvidenceSpace
    train: CommonPatients
    validation: CommonPatients
    test: CommonPatients
    extra: CommonPatients | None
    folds: np.ndarray

    def probe(self, config: CommonConfig) -> np.ndarray:
        """Symptom matrix of the training rows with answers hidden and falsified."""
        return corrupted(self.space, self.train.matrix, config, salt="probe")

    @property
    def origins(self) -> list[str]:
        """Origins of all rows that models are trained on, sorted."""
        parts = [self.train, *([self.extra] if self.extra is not None else [])]
        return sorted({str(origin) for part in parts for origin in part.origin})


def prepare(
    patients: pa.Table,
    split: pa.Table,
    knowledge: CommonKnowledge,
    config: CommonConfig,
    simulated: pa.Table | None = None,
) -> TrainingData:
    """Choose rows.

    Args:
        patients: ``clinical/common_patients``: records where the source has them, else simulated patients.
        split: ``features/common_split`` of these patients.
        knowledge: reference table.
        config: ``mix`` says which rows train; ``records_per_condition`` and ``simulated_per_condition`` cap
            them.
        simulated: further simulated patients, for training only.

    Raises:
        ValueError: a patient without a part, an empty training part, or ``mix`` asks for rows that are not
            there.
    """
    space = EvidenceSpace.from_knowledge(knowledge)
    part_of = dict(zip(split.column("patient_id").to_pylist(), split.column("part").to_pylist(), strict=True))
    everyone = CommonPatients.from_table(patients, space, knowledge)
    missing = [patient for patient in everyone.ids if patient not in part_of]
    if missing:
        raise ValueError(f"{len(missing)} patients have no part in the split, the first is {missing[0]}")
    parts = np.array([part_of[patient] for patient in everyone.ids], dtype=object)
    rows = {part: np.flatnonzero(parts == part) for part in ("train", "validation", "test")}
    if "simulated" in set(everyone.origin):
        # Without records, simulated patients take their place too.
        mean = 2 * config.simulated_per_condition
        rows["train"] = as_they_come(everyone, rows["train"], knowledge, mean, config.seed)
        rows["validation"] = as_they_come(everyone, rows["validation"], knowledge, None, config.seed)
    else:
        rows["train"] = _capped(everyone, rows["train"], config.records_per_condition, config.seed)
    train = everyone.take(rows["train"])
    extra = None if simulated is None else CommonPatients.from_table(simulated, space, knowledge)
    if extra is not None:
        most = config.simulated_per_condition
        extra = extra.take(as_they_come(extra, np.arange(len(extra)), knowledge, most, config.seed))
    if config.mix == "records":
        extra = None
    elif config.mix == "simulated" and extra is None and "simulated" not in set(train.origin):
        raise ValueError("mix is 'simulated' but no simulated patients were given")
    if not len(train):
        raise ValueError("the training part of the split is empty")
    return TrainingData(
        knowledge,
        space,
        train,
        everyone.take(rows["validation"]),
        everyone.take(rows["test"]),
        extra,
        stratified_folds(train.labels, config.folds, config.seed),
    )


def fitting_rows(data: TrainingData, rows: np.ndarray, config: CommonConfig) -> CommonPatients:
    """Rows that one model is fitted on: these training rows, corrupted copies of them, and simulated extras.

    With ``mix = simulated`` and records at hand, no base model sees a record; they still weigh, calibrate and
    validate the ensemble.
    """
    own = data.train.take(rows)
    parts = []
    if not (config.mix == "simulated" and data.extra is not None):
        parts = [own] + [
            own.with_matrix(corrupted(data.space, own.matrix, config, salt=f"copy-{i}"))
            for i in range(config.copies)
        ]
    if data.extra is not None:
        rng = np.random.default_rng([config.seed, 7])
        extra = data.extra
        if config.mix != "simulated":
            records = NaiveBayes.fit(data.knowledge, data.space, own, config.naive_bayes)
            extra = records.complete(data.space, extra, rng)
        parts += [extra, extra.with_matrix(corrupted(data.space, extra.matrix, config, salt="extra"))]
    return CommonPatients.concat(parts)


def stratified_folds(labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Fold of each row, every condition spread evenly; conditions with fewer rows than folds are allowed."""
    rng = np.random.default_rng(seed)
    folds = np.empty(len(labels), dtype=np.int64)
    start = 0
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        folds[rows] = (start + np.arange(len(rows))) % k
        start += len(rows)
    return folds


def without_fold(data: TrainingData, fold: int) -> np.ndarray:
    """Indices of the training rows outside a fold."""
    return np.flatnonzero(data.folds != fold)


def as_they_come(
    patients: CommonPatients, rows: np.ndarray, knowledge: CommonKnowledge, mean: int | None, seed: int
) -> np.ndarray:
    """Thin patients that were simulated evenly to the relative frequency of their conditions.

    A model that met every condition equally often would take the rare for likely. Rare conditions keep at
    least ``FEWEST`` rows, which a classifier needs to know them at all.

    Args:
        patients: the cohort.
        rows: indices to choose from.
        knowledge: relative frequencies.
        mean: rows wanted, on average over conditions; None: as many as the most frequent condition allows.
        seed: of the choice.

    Returns:
        Indices, ascending.
    """
    available = np.bincount(patients.labels[rows], minlength=len(knowledge.prior))
    scale = (available / knowledge.prior).min() if mean is None else mean * len(knowledge.prior)
    wanted = np.maximum(np.rint(scale * knowledge.prior), FEWEST).astype(int)
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(rows[patients.labels[rows] == label])[:most] for label, most in enumerate(wanted)]
    return np.sort(np.concatenate(kept))


def subsample(data: TrainingData, per_condition: int, seed: int) -> TrainingData:
    """The same data with at most so many training rows and extras a condition, for studies and tests."""
    rows = _capped(data.train, np.arange(len(data.train)), per_condition, seed)
    extra = data.extra
    if extra is not None:
        extra = extra.take(_capped(extra, np.arange(len(extra)), per_condition, seed))
    return replace(data, train=data.train.take(rows), folds=data.folds[rows], extra=extra)


def corrupted(space: EvidenceSpace, matrix: np.ndarray, config: CommonConfig, salt: str) -> np.ndarray:
    """Rows with answers hidden and falsified, each by its own share; fixed by seed and salt."""
    digest = hashlib.blake2b(f"{config.seed}|{salt}".encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    unknown = config.max_unknown * rng.random(len(matrix))
    wrong = config.max_wrong * rng.random(len(matrix))
    return corrupt(space, matrix, rng, unknown=unknown, wrong=wrong)


def _capped(patients: CommonPatients, rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most ``most`` of these rows a condition, drawn by the seed, ascending."""
    rng = np.random.default_rng(seed)
    labels = patients.labels[rows]
    kept = [rng.permutation(rows[labels == label])[:most] for label in np.unique(labels)]
    return np.sort(np.concatenate(kept)) if kept else rows
