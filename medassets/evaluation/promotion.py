"""Champion and challenger: may a newly trained model take over?

What belongs here: the comparison on the same patients and the decision with its reasons. What does not:
registry aliases, which orchestration moves after the decision.

A challenger takes over when a paired bootstrap does not show it to be worse by more than a margin, when it
misses no severe condition that the champion finds (within the first three), and when its fairness check
passed. Without a champion the first two compare with nothing and hold; the safety threshold then still
decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medassets.evaluation.figures import Finding
from medassets.evaluation.metrics import mean_ci, ranks_of
from medassets.evaluation.safety import missed

#: Accuracy that a challenger may lose before it counts as worse.
MARGIN = 0.002


@dataclass(frozen=True)
class PromotionDecision:
    """Whether the challenger takes over, and why; ``findings`` by the name of each condition."""

    promote: bool
    findings: dict[str, Finding]

    @property
    def reasons(self) -> list[str]:
        """One line a condition, failed ones first."""
        ordered = sorted(self.findings.items(), key=lambda item: item[1].passed)
        return [f"{name}: {'holds' if f.passed else 'FAILS'} - {f.message}" for name, f in ordered]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for asset metadata and model versions."""
        return {
            "promote": self.promote,
            "findings": {
                name: {"passed": f.passed, "message": f.message, "figures": dict(f.figures)}
                for name, f in self.findings.items()
            },
        }


def paired_difference(
    champion: NDArray[Any],
    challenger: NDArray[Any],
    *,
    groups: Sequence[Any] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Mean of challenger minus champion on the same rows, with a 95 % bootstrap interval.

    Args:
        champion, challenger: (n,) a number a row, for example 1 where the first answer is right.
        groups: clusters that are drawn whole (publications), or None.
        resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        ``{"n", "champion", "challenger", "difference", "ci95": [low, high]}``.

    Raises:
        ValueError: no rows, or different lengths.
    """
    a, b = np.asarray(champion, dtype=np.float64), np.asarray(challenger, dtype=np.float64)
    if a.shape != b.shape or not a.size:
        raise ValueError(f"paired comparison needs the same rows: {a.shape} and {b.shape}")
    mean, interval = mean_ci((b - a)[:, None], groups=groups, resamples=resamples, seed=seed)
    return {
        "n": int(a.size),
        "champion": float(a.mean()),
        "challenger": float(b.mean()),
        "difference": float(mean[0]),
        "ci95": interval[0].tolist(),
    }


def not_worse(comparison: dict[str, Any], *, margin: float = MARGIN) -> Finding:
    """Fail where the interval of the difference lies below ``-margin``, or its mean below twice that."""
    low, high = comparison["ci95"]
    passed = high >= -margin and comparison["difference"] >= -2 * margin
    message = (
        f"{comparison['challenger']:.4f} against the champion's {comparison['champion']:.4f} on "
        f"{comparison['n']} rows, difference {comparison['difference']:+.4f} ({low:+.4f} to {high:+.4f}), "
        f"margin {margin:.4f}"
    )
    return Finding(passed, message, comparison)


def no_new_critical_miss(
    champion: NDArray[np.bool_], challenger: NDArray[np.bool_], patient_ids: Sequence[str]
) -> Finding:
    """Pass where the challenger misses no severe patient that the champion does not miss."""
    new = np.flatnonzero(np.asarray(challenger) & ~np.asarray(champion))
    names = [patient_ids[int(i)] for i in new]
    if not names:
        return Finding(True, f"no new critical miss ({int(np.sum(challenger))} in all)", {"new": []})
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return Finding(False, f"{len(names)} severe patients are newly missed: {shown}", {"new": names})


def decide_common(
    champion: NDArray[np.floating] | None,
    challenger: NDArray[np.floating],
    truth: NDArray[np.integer],
    severity: NDArray[np.integer],
    patient_ids: Sequence[str],
    *,
    safety: Finding,
    fairness: Finding,
    margin: float = MARGIN,
    seed: int = 0,
) -> PromotionDecision:
    """Decide on a model of common conditions.

    Args:
        champion: (n, c) probabilities of the model in service on rows that neither was trained on, or None.
        challenger: (n, c) of the new model, same rows.
        truth: (n,) columns.
        severity: (c,).
        patient_ids: (n,), to name new misses.
        safety: outcome of ``safety.check_critical_misses`` of the challenger.
        fairness: outcome of ``fairness.check_fairness`` of the challenger.
        margin: accuracy that may be lost.
        seed: of the bootstrap.
    """
    findings = {"safety": safety, "fairness": fairness}
    if champion is None:
        findings["accuracy"] = Finding(True, "there is no champion to compare with")
    else:
        old, new = ((ranks_of(p, truth) <= 1).astype(float) for p in (champion, challenger))
        findings["accuracy"] = not_worse(paired_difference(old, new, seed=seed), margin=margin)
        old_miss, new_miss = (missed(p, truth, severity)[1] for p in (champion, challenger))
        findings["critical misses"] = no_new_critical_miss(old_miss, new_miss, patient_ids)
    return PromotionDecision(all(f.passed for f in findings.values()), findings)


def decide_rare(
    champion_ranks: NDArray[np.floating] | None,
    challenger_ranks: NDArray[np.floating],
    *,
    groups: Sequence[Any] | None = None,
    margin: float = MARGIN,
    seed: int = 0,
) -> PromotionDecision:
    """Decide on a ranker of rare diseases by its reciprocal ranks; publications are drawn whole.

    Args:
        champion_ranks: (n,) ranks of the true disease by the ranker in service, or None.
        challenger_ranks: (n,) by the new one, same cases.
        groups: (n,) publication of each case.
        margin: mean reciprocal rank that may be lost.
        seed: of the bootstrap.
    """
    if champion_ranks is None:
        finding = Finding(True, "there is no champion to compare with")
    else:
        old, new = (1 / np.asarray(r, dtype=np.float64) for r in (champion_ranks, challenger_ranks))
        finding = not_worse(paired_difference(old, new, groups=groups, seed=seed), margin=margin)
    return PromotionDecision(finding.passed, {"mean reciprocal rank": finding})
