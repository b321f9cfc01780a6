"""Naive Bayes over the reference figures, refined by a site's own patients where there are some.

What belongs here: how likelihood tables are learned. What does not: their use, which is a sum of look-ups
(``medassets.features.answer_codes.AdditiveScores``) and is shared with serving.

Method. Answers are independent given the condition, except that a detail (place of a pain, a value) says
something only under a positive question. An unknown answer contributes nothing. P(yes | condition) are the
reference figures, updated by counts where there are records (the figures weigh ``reference_weight``
patients); values, degrees and other categorical answers, for which no figures exist, are counted from records
and shrunk towards all conditions together (Dirichlet smoothing, degrees smoothed over their neighbours). Age
and sex likewise.

Answers can be wrong, and how often is not known. The likelihood is therefore averaged over several error
rates: answers that fit no condition speak for a person who is often mistaken, and then no single one rules a
condition out.

Simulated rows are never counted: they were drawn from the same figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medassets.features.answer_codes import AdditiveScores, AnswerCodes, log_softmax
from medassets.features.answers import AGE_CEILING
from medassets.features.common import PRESENT, UNKNOWN, EvidenceSpace
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.learners.common.config import NaiveBayesConfig
from medassets.learners.common.patients import CommonPatients, agree

_FLOOR = 1e-4


@dataclass(frozen=True)
class NaiveBayes:
    """Fitted tables.

    Attributes:
        scores: additive log-likelihood tables and log prior.
        positive: (n_conditions, n_base) P(positive | condition, its question applies); NaN where nothing is
            known.
        details: for each base column with value or level columns, (n_conditions, k): P(value | condition,
            positive), one value of many (multi-choice), or a distribution over values or degrees. Empty
            without records.
    """

    scores: AdditiveScores
    positive: np.ndarray
    details: dict[int, np.ndarray]
    metadata: dict[str, Any]
    name: str = "naive_bayes"

    @classmethod
    def fit(
        cls,
        knowledge: CommonKnowledge,
        space: EvidenceSpace,
        patients: CommonPatients | None = None,
        config: NaiveBayesConfig | None = None,
    ) -> NaiveBayes:
        """Build the tables.

        Args:
            knowledge: reference figures and prior.
            space: columns of the symptom matrix.
            patients: records; rows with origin ``simulated`` are not counted. None: figures only.
            config: smoothing.
        """
        config = config or NaiveBayesConfig()
        if patients is not None:
            patients = patients.take(patients.origin != "simulated")
        counted = _Counts(knowledge, space, patients)
        codes = AnswerCodes.from_space(space)
        positive = _positive(knowledge, space, counted, config)
        details = {} if counted.n == 0 else _details(space, counted, config)
        tables = []
        for error in config.error_rates:
            table = np.zeros((codes.size, len(knowledge.conditions)))
            _write_questions(table, codes, space, positive, error)
            for column, chance in details.items():
                _write_details(table, codes, space, column, chance, error)
            if counted.n:
                _write_person(table, codes, space, counted, config)
            tables.append(table)
        scores = AdditiveScores(codes, np.hstack(tables), np.log(knowledge.prior))
        params = config.model_dump(mode="json") | {"records": counted.n, "knowledge": knowledge.version}
        return cls(scores, positive, details, {"params": params, "metrics": {}})

    def log_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64 log posterior of rows of a symptom matrix."""
        return log_softmax(self.scores.score(matrix))

    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        """(n, n_conditions) float64 posterior."""
        return np.exp(self.log_proba(matrix))

    def complete(
        self, space: EvidenceSpace, patients: CommonPatients, rng: np.random.Generator
    ) -> CommonPatients:
        """Draw the categorical answers and values that simulated patients lack, from what records say.

        The reference table has no values, so a model trained on simulated rows alone never learns from them.
        Where records gave their distributions, categorical evidences under a positive question are drawn anew
        and so are their values. Without records the rows come back as they are.
        """
        if not self.details:
            return patients
        matrix = patients.matrix.copy()
        for column, chance in self.details.items():
            own = self.positive[patients.labels, column]
            parent = space.parents[column]
            applies = (matrix[:, parent] == PRESENT) if parent >= 0 else np.ones(len(matrix), dtype=bool)
            applies &= matrix[:, column] != UNKNOWN
            matrix[applies, column] = rng.random(int(applies.sum())) < own[applies]
            rows = np.flatnonzero(matrix[:, column] == PRESENT)
            detail = space.details[column]
            p = chance[patients.labels[rows]]
            if space.shapes[column].type == "M":
                matrix[rows, detail] = rng.random(p.shape) < p
            else:
                drawn = (p.cumsum(1) < rng.random((len(rows), 1))).sum(1).clip(max=p.shape[1] - 1)
                if space.shapes[column].ordinal:
                    matrix[rows, detail.start] = drawn
                else:
                    matrix[rows, detail] = 0
                    matrix[rows, detail.start + drawn] = PRESENT
        return patients.with_matrix(agree(space, matrix))

    def save(self, directory: Path) -> None:
        """Write tables as ``.npz`` and settings as JSON."""
        directory.mkdir(parents=True, exist_ok=True)
        self.scores.save(directory / "scores.npz")
        detail = {f"detail_{column}": chance for column, chance in self.details.items()}
        np.savez(directory / "chances.npz", positive=self.positive, **detail)  # type: ignore[arg-type]
        (directory / "metadata.json").write_text(json.dumps(self.metadata, sort_keys=True))

    @classmethod
    def load(cls, directory: Path) -> NaiveBayes:
        """Read what ``save`` wrote."""
        with np.load(directory / "chances.npz", allow_pickle=False) as stored:
            details = {
                int(k.removeprefix("detail_")): stored[k] for k in stored.files if k.startswith("detail_")
            }
            positive = stored["positive"]
        metadata = json.loads((directory / "metadata.json").read_text())
        return cls(AdditiveScores.load(directory / "scores.npz"), positive, details, metadata)


class _Counts:
    """Weighted counts of answers by condition; ``n`` is 0 without records."""

    def __init__(
        self, knowledge: CommonKnowledge, space: EvidenceSpace, patients: CommonPatients | None
    ) -> None:
        self.classes = len(knowledge.conditions)
        self.matrix = (
            patients.matrix if patients is not None else np.zeros((0, space.n_features), dtype=np.int8)
        )
        self.labels = patients.labels if patients is not None else np.zeros(0, dtype=np.int64)
        self.n = len(self.labels)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Rows of a mask, by condition: (n_conditions,)."""
        return np.bincount(self.labels[rows], minlength=self.classes).astype(np.float64)

    def histogram(self, rows: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
        """(n_conditions, size) counts of ``values`` among a mask's rows."""
        flat = self.labels[rows] * size + values[rows]
        return np.bincount(flat, minlength=self.classes * size).reshape(self.classes, size).astype(np.float64)


def _positive(
    knowledge: CommonKnowledge, space: EvidenceSpace, counted: _Counts, config: NaiveBayesConfig
) -> np.ndarray:
    """P(positive | condition, question applies), NaN where neither figures nor records say anything."""
    result = np.full((counted.classes, len(space.shapes)), np.nan)
    for column, parent in enumerate(space.parents):
        state = counted.matrix[:, column]
        applies = (counted.matrix[:, parent] == PRESENT) if parent >= 0 else np.ones(counted.n, dtype=bool)
        known = applies & (state != UNKNOWN)
        hits, tries = counted.of(known & (state == PRESENT)), counted.of(known)
        if knowledge.measured[column]:
            figure = knowledge.probability[:, column]
            if parent >= 0:
                above = knowledge.probability[:, parent]
                figure = np.divide(figure, above, out=np.zeros_like(figure), where=above > 0).clip(0, 1)
            weight = config.reference_weight
        elif counted.n:
            figure = np.full(counted.classes, (hits.sum() + 0.5) / (tries.sum() + 1))
            weight = config.value_weight
        else:
            continue
        result[:, column] = (weight * figure + hits) / (weight + tries)
    return result


def _details(space: EvidenceSpace, counted: _Counts, config: NaiveBayesConfig) -> dict[int, np.ndarray]:
    """P(value | condition, positive) for each base column with value or level columns."""
    result = {}
    for column, detail in enumerate(space.details):
        if detail.stop == detail.start:
            continue
        shape, own = space.shapes[column], counted.matrix[:, detail]
        known = (counted.matrix[:, column] == PRESENT) & (own[:, 0] != UNKNOWN)
        if shape.ordinal:
            size = max(int(value) for value in shape.values) + 1
            counts = counted.histogram(known, own[:, 0].astype(np.int64), size) @ _kernel(
                size, config.level_width
            )
        else:
            counts = np.stack(
                [counted.of(known & (own[:, k] == PRESENT)) for k in range(own.shape[1])], axis=1
            )
        if shape.type == "M":
            tries = counted.of(known)[:, None]
            everyone = (counts.sum(0) + 0.05) / (tries.sum() + 1)
        else:
            tries = counts.sum(1, keepdims=True)
            everyone = (counts.sum(0) + 0.1) / (counts.sum() + 0.1 * counts.shape[1])
        result[column] = (counts + config.value_weight * everyone) / (tries + config.value_weight)
    return result


def _kernel(size: int, width: float) -> np.ndarray:
    """(size, size) Gaussian smoothing whose rows sum to 1."""
    steps = np.arange(size)
    kernel = np.exp(-0.5 * ((steps[:, None] - steps) / width) ** 2)
    return kernel / kernel.sum(axis=1, keepdims=True)


def _write_questions(
    table: np.ndarray, codes: AnswerCodes, space: EvidenceSpace, positive: np.ndarray, error: float
) -> None:
    """Log-likelihoods of yes and no; those of a detail count only under a positive question."""
    for column, parent in enumerate(space.parents):
        p = positive[:, column]
        if np.isnan(p).any():
            continue
        p = (p * (1 - error) + (1 - p) * error).clip(_FLOOR, 1 - _FLOOR)
        yes, no = np.log(p), np.log(1 - p)
        if parent < 0:
            table[codes.position(column, PRESENT)] += yes
            table[codes.position(column, 0)] += no
            continue
        # Under an absent or unknown question the detail has its question's answer and must add nothing in
        # sum.
        table[codes.position(parent, PRESENT)] += no
        table[codes.position(column, PRESENT)] += yes - no
        table[codes.position(column, UNKNOWN)] -= no
        table[codes.position(parent, UNKNOWN)] += no


def _write_details(
    table: np.ndarray, codes: AnswerCodes, space: EvidenceSpace, column: int, chance: np.ndarray, error: float
) -> None:
    """Log-likelihoods of values and degrees, relative to a positive answer whose values are unknown."""
    detail = space.details[column]
    if space.shapes[column].type != "M":
        even = 1 / chance.shape[1]
        log_p = np.log(chance * (1 - error) + error * even)
        for k in range(chance.shape[1]):
            if space.shapes[column].ordinal:
                # Degree 0 stands in rows without a positive answer too, so its share is moved to the
                # question.
                table[codes.position(detail.start, k)] += log_p[:, k] - log_p[:, 0]
            else:
                table[codes.position(detail.start + k, PRESENT)] += log_p[:, k]
        if space.shapes[column].ordinal:
            table[codes.position(column, PRESENT)] += log_p[:, 0]
            table[codes.position(detail.start, UNKNOWN)] -= log_p[:, 0]
            table[codes.position(column, UNKNOWN)] += log_p[:, 0]
        return
    everyone = chance.mean(axis=0)
    p = (chance * (1 - error) + error * everyone).clip(_FLOOR, 1 - _FLOOR)
    yes, no = np.log(p), np.log(1 - p)
    table[codes.position(column, PRESENT)] += no.sum(axis=1)
    table[codes.position(column, UNKNOWN)] += no.sum(axis=1)
    for k in range(p.shape[1]):
        table[codes.position(detail.start + k, PRESENT)] += yes[:, k] - no[:, k]
        table[codes.position(detail.start + k, UNKNOWN)] -= no[:, k]


def _write_person(
    table: np.ndarray, codes: AnswerCodes, space: EvidenceSpace, counted: _Counts, config: NaiveBayesConfig
) -> None:
    """Log-likelihood ratios of age and sex against all conditions together."""
    for column, size, width in ((space.age, AGE_CEILING + 1, config.age_width), (space.sex, 2, 0.0)):
        values = counted.matrix[:, column].astype(np.int64)
        counts = counted.histogram(values >= 0, values, size)
        if width:
            counts = counts @ _kernel(size, width)
        share = (counts.sum(0) + 1e-3) / (counts.sum() + 1e-3 * size)
        chance = (counts + config.person_weight * share) / (
            counts.sum(1, keepdims=True) + config.person_weight
        )
        start = codes.position(column, 0)
        table[start : start + size] += np.log(chance / share).T
