"""How close generated cases are to published ones, and whether training with them helps.

What belongs here: marginal and pairwise error, the two-sample classifier test, distance to the nearest real
patient, the ablation on real held-out cases and the verdict. What does not: generators
(``learners.rare.synthetic_*``).

The classifier test follows Lopez-Paz and Oquab (ICLR 2017): an AUC of 0.5 means that real and generated
cannot be told apart, 1 that they always can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from medassets.evaluation.few_shot import paired_difference
from medassets.evaluation.figures import Finding
from medassets.evaluation.metrics import ranks_of
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.knowledge.ontology import Ontology
from medassets.learners.rare.synthetic_privacy import nearest_distance

_FOLDS = 5
_MOST_TERMS = 60


@dataclass(frozen=True)
class Fidelity:
    """How generated cases compare with real ones.

    Attributes:
        n_real: real cases compared with.
        n_synthetic: generated cases.
        marginal_error: mean absolute difference in a term's share of patients.
        pairwise_error: mean absolute difference in the share of patients with two terms together.
        two_sample_auc: how well a classifier tells real from generated, 0.5 to 1 is the useful range.
        nearest_distance: median share of differing findings (Jaccard) between a generated and its nearest
            real case. real_nearest_distance: the same between real cases, for comparison. copied: generated
            cases whose findings all equal those of a real case.
    """

    n_real: int
    n_synthetic: int
    marginal_error: float
    pairwise_error: float
    two_sample_auc: float
    nearest_distance: float
    real_nearest_distance: float
    copied: int


@dataclass(frozen=True)
class Verdict:
    """Whether generated cases go into training; ``difference`` in reciprocal rank, 95 % interval."""

    use: bool
    difference: float
    low: float
    high: float
    n: int
    reason: str


def fidelity(real: CaseSet, synthetic: CaseSet, ontology: Ontology, *, seed: int = 20260101) -> Fidelity:
    """Compare generated with real cases of the same diseases.

    Args:
        real: the cases that the generator was fitted to.
        synthetic: its cases.
        ontology: whose terms the indices mean.
        seed: of the classifier's folds.

    Raises:
        ValueError: one of the sets is empty or they share no disease.
    """
    shared = set(synthetic.disease_ids) & set(real.disease_ids)
    real = real[np.flatnonzero([d in shared for d in real.disease_ids])]
    if not len(real) or not len(synthetic):
        raise ValueError(f"{len(real)} real and {len(synthetic)} generated cases of shared diseases")
    x, y = (_rows(part, ontology) for part in (real, synthetic))
    copied = int((nearest_distance(y, x) == 0).sum())
    # Only terms that generators can express: those that a generated case shows.
    columns = np.flatnonzero(y.sum(axis=0) > 0)
    columns = columns[np.argsort(-x[:, columns].sum(axis=0), kind="stable")[:_MOST_TERMS]]
    x, y = x[:, columns], y[:, columns]
    together = [part.T @ part / len(part) for part in (x, y)]
    off = ~np.eye(len(columns), dtype=bool)
    near, real_near = nearest_distance(y, x), nearest_distance(x, x, same=True)
    return Fidelity(
        n_real=len(x),
        n_synthetic=len(y),
        marginal_error=float(np.abs(x.mean(axis=0) - y.mean(axis=0)).mean()),
        pairwise_error=float(np.abs(together[0] - together[1])[off].mean()) if off.any() else 0.0,
        two_sample_auc=_two_sample_auc(x, y, seed),
        nearest_distance=float(np.median(near)),
        real_nearest_distance=float(np.median(real_near)),
        copied=copied,
    )


def ablation(
    fit: Callable[[RareKnowledge, CaseSet], Any],
    knowledge: RareKnowledge,
    train: CaseSet,
    held_out: CaseSet,
    synthetic: CaseSet,
    groups: Sequence[str],
    *,
    seed: int = 20260101,
) -> Verdict:
    """Fit with and without generated cases, and compare on real held-out cases inside the training part.

    Args:
        fit: fits a method and returns it; it must have ``score``.
        knowledge: annotations without the rows that cite the held-out publications.
        train: real cases; the generator must have been fitted to no others.
        held_out: real cases of other publications.
        synthetic: generated cases.
        groups: publication group of each held-out case, for the interval.
        seed: of the interval.

    Returns:
        ``use`` is true where the whole interval of the gain lies above 0.
    """
    truth = knowledge.labels(held_out)
    without = 1 / ranks_of(fit(knowledge, train).score(held_out), truth)
    with_synthetic = 1 / ranks_of(fit(knowledge, train.concatenate(synthetic)).score(held_out), truth)
    gain = paired_difference(with_synthetic, without, groups, seed=seed)
    use = gain.low > 0
    if use:
        reason = "real held-out cases are ranked better with generated cases"
    elif gain.high < 0:
        reason = "generated cases make the ranking of real held-out cases worse: left out"
    else:
        reason = "no gain on real held-out cases that stands out from chance: left out"
    return Verdict(use, gain.difference, gain.low, gain.high, gain.n, reason)


def as_rows(generator: str, measured: Fidelity, verdict: Verdict | None = None) -> list[dict[str, Any]]:
    """Return one row a figure: generator, metric, value, low, high, n."""
    rows = [
        {
            "generator": generator,
            "metric": name,
            "value": float(value),
            "low": None,
            "high": None,
            "n": measured.n_synthetic,
        }
        for name, value in asdict(measured).items()
    ]
    if verdict is not None:
        rows.append(
            {
                "generator": generator,
                "metric": "gain_in_reciprocal_rank",
                "value": verdict.difference,
                "low": verdict.low,
                "high": verdict.high,
                "n": verdict.n,
            }
        )
    return rows


def check_no_copies(rows: Sequence[Mapping[str, Any]], generators: Collection[str]) -> Finding:
    """Fail where a generator that learned from patients gave one of them back.

    Args:
        rows: of :func:`as_rows`.
        generators: those that learned from patients; cases simulated from frequencies may coincide by chance.
    """
    copied = {
        row["generator"]: int(row["value"])
        for row in rows
        if row["metric"] == "copied" and row["generator"] in generators
    }
    said = ", ".join(f"{name} {n}" for name, n in sorted(copied.items())) or "no generated cases"
    return Finding(not any(copied.values()), f"cases that equal a published one: {said}", copied)


def _rows(cases: CaseSet, ontology: Ontology) -> np.ndarray:
    """Return float32 (n_cases, n_terms): implied terms."""
    return cases.implied_matrix(ontology).toarray()


def _two_sample_auc(real: np.ndarray, synthetic: np.ndarray, seed: int) -> float:
    """Return the cross-validated AUC of a forest that tells generated rows from real ones."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = np.concatenate([real, synthetic])
    generated = np.r_[np.zeros(len(real)), np.ones(len(synthetic))]
    folds = min(_FOLDS, len(real), len(synthetic))
    if folds < 2:
        raise ValueError("the two-sample test needs two real and two generated cases")
    forest = RandomForestClassifier(100, min_samples_leaf=2, random_state=seed, n_jobs=1)
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    score = cross_val_predict(forest, rows, generated, cv=splitter, method="predict_proba")[:, 1]
    return float(roc_auc_score(generated, score))
