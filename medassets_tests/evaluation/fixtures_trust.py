"""Predictions and patients of known quality, for the tests of what judges models."""

import numpy as np
import pyarrow as pa

from medassets.cohorts.simulate_common import simulate
from medassets.knowledge.common_conditions import CommonKnowledge

KNOWLEDGE = CommonKnowledge.bundled()
SEVERITY = KNOWLEDGE.severity


def some_patients(n: int = 400, seed: int = 7) -> tuple[pa.Table, np.ndarray]:
    """Simulated patients and the column of each one's condition."""
    patients = simulate(KNOWLEDGE, seed=seed, total=n)
    truth = np.array([KNOWLEDGE.condition_index[c] for c in patients.column("condition").to_pylist()])
    return patients, truth


def calibrated(truth: np.ndarray, *, certainty: float = 0.9, seed: int = 1) -> np.ndarray:
    """Probabilities of one stated certainty that are right that often; wrong ones name the next column."""
    rng = np.random.default_rng(seed)
    p = np.full((len(truth), len(SEVERITY)), (1 - certainty) / (len(SEVERITY) - 1))
    right = rng.random(len(truth)) < certainty
    named = np.where(right, truth, (truth + 1) % len(SEVERITY))
    p[np.arange(len(truth)), named] = certainty
    return p


def bury(p: np.ndarray, truth: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Give the truth of these rows the least probability."""
    worse = p.copy()
    worse[rows, truth[rows]] = 0.0
    return worse / worse.sum(1, keepdims=True)
