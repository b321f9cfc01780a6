"""Common conditions in serving: the exported ensemble, answered from a bundle's ``common`` folder.

What belongs here: loading the part, predicting for batches and for one person, the reasons of an answer. What
does
not: training and export (``medassets.learners.common``). Needs numpy, pyarrow and onnxruntime only.

Reasons are exact for naive Bayes, the part of the ensemble that adds up: what an answer adds to the log-odds
of a condition against all others as they stand (weight of evidence: Good, 1950).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa

from medassets.features.answer_codes import AdditiveScores, log_softmax
from medassets.features.common import PRESENT, UNKNOWN, EvidenceSpace
from medassets.features.differential_inputs import DifferentialInputs
from medassets.features.model_inputs import ModelInputs
from medassets.features.pooling import CommonPrediction, Decision

#: Severities that an answer raises while they are still possible (1 is life-threatening).
RED_FLAG_SEVERITY = 2
RED_FLAG_PROBABILITY = 0.02
#: Sets of more conditions than this are no answer.
WIDEST_SET = 10
REASONS = 8
#: Contributions below this, in nats, are no reason.
SMALLEST_REASON = 0.05
_BATCH = 4096


@dataclass(frozen=True)
class _Condition:
    name: str
    icd10: str
    severity: int
    name_en: str
    name_es: str


class CommonPredictor:
    """Predictions of an exported ensemble; holds no state of any request, safe for threads.

    Attributes:
        conditions: names, in the order of the columns.
        icd10: codes, same order; ``severity`` (n_conditions,) 1 (life-threatening) to 5.
        space: columns of the symptom matrix.
        naive_bayes: additive log-likelihood tables.
        metadata: of the ensemble: params, metrics, training (origins, age range).
    """

    def __init__(
        self,
        space: EvidenceSpace,
        conditions: list[dict[str, Any]],
        labels: dict[str, str],
        naive_bayes: AdditiveScores,
        decision: Decision,
        session: onnxruntime.InferenceSession | None,
        outputs: dict[str, str],
        inputs: dict[str, np.ndarray],
        metadata: dict[str, Any],
    ) -> None:
        self._conditions = [_Condition(**condition) for condition in conditions]
        self.conditions = [condition.name for condition in self._conditions]
        self.icd10 = [condition.icd10 for condition in self._conditions]
        self.severity = np.array([condition.severity for condition in self._conditions])
        self.space, self.labels, self.naive_bayes, self.metadata = space, labels, naive_bayes, metadata
        self._decision, self._session, self._outputs = decision, session, outputs
        self._details = np.array([(detail.start, detail.stop) for detail in space.details])
        self._columns = {
            name.removesuffix("_columns"): columns
            for name, columns in inputs.items()
            if name.endswith("_columns") and name != "differential_columns"
        }
        self._head = None
        if "differential_columns" in inputs:
            columns = ModelInputs(inputs["differential_columns"], inputs["differential_sizes"])
            self._head = DifferentialInputs(columns, inputs["pictured"], inputs["symptoms"])

    @classmethod
    def load(cls, directory: Path) -> CommonPredictor:
        """Load what ``CommonEnsemble.export_bundle`` wrote.

        Raises:
            FileNotFoundError: a file of the part is missing.
        """
        content = json.loads((directory / "common.json").read_text(encoding="utf-8"))
        graph = directory / "models.onnx"
        return cls(
            EvidenceSpace.from_json((directory / "space.json").read_text(encoding="utf-8")),
            content["conditions"],
            content["labels"],
            AdditiveScores.load(directory / "naive_bayes.npz"),
            Decision.from_arrays(_arrays(directory / "decision.npz")),
            _session(graph) if content["outputs"] else None,
            content["outputs"],
            _arrays(directory / "inputs.npz"),
            content["metadata"],
        )

    @property
    def coverage(self) -> float:
        """Nominal coverage of the conformal sets."""
        return self._decision.conformal.coverage

    def predict_matrix(self, matrix: np.ndarray) -> CommonPrediction:
        """Predict for rows of a symptom matrix.

        Args:
            matrix: (n, n_features) int8 of ``space``.

        Raises:
            ValueError: another number of columns.
        """
        matrix = np.atleast_2d(matrix)
        if matrix.shape[1] != self.space.n_features:
            raise ValueError(
                f"symptom matrix has {matrix.shape[1]} columns, expected {self.space.n_features}"
            )
        if len(matrix) > _BATCH:
            parts = [self.predict_matrix(matrix[i : i + _BATCH]) for i in range(0, len(matrix), _BATCH)]
            return CommonPrediction(
                probabilities=np.concatenate([part.probabilities for part in parts]),
                differential=np.concatenate([part.differential for part in parts]),
                sets=np.concatenate([part.sets for part in parts]),
                shown=np.concatenate([part.shown for part in parts]),
                models={
                    name: np.concatenate([part.models[name] for part in parts]) for name in parts[0].models
                },
            )
        bayes = log_softmax(self.naive_bayes.score(matrix))
        log_proba, head = {"naive_bayes": bayes}, None
        if self._session is not None:
            feeds = {}
            if self._columns:
                # The base models share one choice of columns, and so one input.
                feeds["inputs"] = matrix[:, next(iter(self._columns.values()))].astype(np.float32)
            if self._head is not None:
                feeds["differential_inputs"] = self._head.transform(matrix, bayes)
            found = dict(zip(self._outputs, self._session.run(list(self._outputs), feeds), strict=True))
            for name in self._columns:
                raw = found[name].astype(np.float64)
                log_proba[name] = (
                    log_softmax(raw) if self._outputs[name] == "margin" else np.log(np.maximum(raw, 1e-12))
                )
            head = (found["member"], found["mass"]) if self._head is not None else None
        unknown = (matrix[:, self.space.base] == UNKNOWN).mean(axis=1)
        return self._decision.predict(log_proba, unknown, head)

    def predict(self, table: pa.Table) -> dict[str, np.ndarray]:
        """Predict for rows of ``clinical/common_patients``.

        Returns:
            ``probabilities``, ``differential`` (n, n_conditions); ``sets`` bool, the conformal rule as
            calibrated; ``shown_sets`` bool, the same with the most probable condition always kept.
        """
        made = self.predict_matrix(self.space.encode_table(table))
        return {
            "probabilities": made.probabilities,
            "differential": made.differential,
            "sets": made.sets,
            "shown_sets": made.shown,
        }

    def answer(
        self,
        evidence: list[str],
        unknown: list[str],
        absent: list[str] | None,
        age: float | None,
        sex: str | None,
        top: int = 5,
    ) -> dict[str, Any]:
        """Answer for one person.

        Args:
            evidence: what is present.
            unknown: base codes without an answer.
            absent: what is absent; None: everything that is not named.
            age: years, or None.
            sex: ``M``, ``F``, ``unknown`` or None.
            top: how many candidates.

        Returns:
            ``candidates`` (with reasons), ``conformal_set``, ``coverage``, ``red_flags``, ``abstain``,
            ``reason``, ``confidence`` and ``notes``.

        Raises:
            EvidenceError: an answer, age or sex that cannot be used.
        """
        row = self.space.encode(evidence, unknown, age, sex, absent=absent)
        made = self.predict_matrix(row[None])
        p, shown = made.probabilities[0], np.flatnonzero(made.shown[0])
        order = np.argsort(-p, kind="stable")
        reason = self._abstention(row, len(shown))
        weights = self.naive_bayes.contributions(row)
        return {
            "candidates": [
                {
                    "condition": self.conditions[c],
                    "icd10": self.icd10[c],
                    "severity": int(self.severity[c]),
                    "probability": float(p[c]),
                    "explanation": self._reasons(row, weights, int(c), made.models["naive_bayes"][0]),
                }
                for c in order[:top]
            ],
            "conformal_set": [self.conditions[c] for c in order if made.shown[0, c]],
            "coverage": self.coverage,
            "red_flags": [
                {
                    "condition": self.conditions[c],
                    "severity": int(self.severity[c]),
                    "probability": float(p[c]),
                }
                for c in order
                if self.severity[c] <= RED_FLAG_SEVERITY and p[c] >= RED_FLAG_PROBABILITY
            ],
            "abstain": reason is not None,
            "reason": reason,
            "confidence": _confidence(float(p.max()), len(shown), reason),
            "notes": self._notes(row),
        }

    def _abstention(self, row: np.ndarray, size: int) -> str | None:
        base = row[self.space.base]
        if not (base == PRESENT).any():
            return "no finding is present: nothing tells the conditions apart but how common they are"
        if size > WIDEST_SET:
            return f"{size} conditions are needed for the stated coverage: too little is known"
        return None

    def _notes(self, row: np.ndarray) -> list[str]:
        low, high = self.metadata["training"]["age_range"]
        age, sex = int(row[self.space.age]), int(row[self.space.sex])
        notes = []
        if age == UNKNOWN:
            notes.append("age is not known")
        elif not low <= age <= high:
            notes.append(f"age {age} is outside the training range of {low} to {high} years")
        if sex == UNKNOWN:
            notes.append("sex is not known")
        share = float((row[self.space.base] == UNKNOWN).mean())
        if share > 0.5:
            notes.append(f"{share:.0%} of the questions have no answer")
        return notes

    def _reasons(
        self, row: np.ndarray, weights: np.ndarray, condition: int, posterior: np.ndarray
    ) -> list[dict[str, Any]]:
        """What each question adds to the log-odds of a condition against the others, largest first."""
        others = posterior.copy()
        others[condition] = 0
        others = others / max(float(others.sum()), 1e-300)
        against = weights[:, condition] - weights @ others
        # A question's own column and those of its details; details lie side by side.
        before = np.concatenate([[0.0], np.cumsum(against)])
        values = against[: len(self._details)] + before[self._details[:, 1]] - before[self._details[:, 0]]
        known = row[: len(self._details)] != UNKNOWN
        found: list[dict[str, Any]] = [
            {
                "evidence": self.space.shapes[column].code,
                "label": self.labels.get(self.space.shapes[column].code, self.space.shapes[column].code),
                "state": "present" if row[column] == PRESENT else "absent",
                "direction": "for" if values[column] > 0 else "against",
                "contribution": float(values[column]),
            }
            for column in np.flatnonzero(known & (np.abs(values) >= SMALLEST_REASON)).tolist()
        ]
        found.sort(key=lambda item: -abs(item["contribution"]))
        return found[:REASONS]


def _session(path: Path) -> onnxruntime.InferenceSession:
    """One thread, one operator after another: a patient is too little work to share."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _confidence(best: float, size: int, reason: str | None) -> str:
    if reason is None and best >= 0.9 and size == 1:
        return "high"
    return "moderate" if reason is None and best >= 0.5 else "low"
