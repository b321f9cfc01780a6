"""Two ways to train the common models again, on the same rows: on from where they stand, or anew.

What belongs here: the comparison and the choice. What does not: the learners, and whether the chosen one
may serve.

Both ways are judged on the test part of the training data, which neither saw, and on every fourth newly
confirmed patient, held out of both. Continuing costs seconds and retraining minutes, so continuing is
chosen unless retraining is better on those patients together by more than chance (paired bootstrap).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from medassets.evaluation.metrics import ranks_of
from medassets.evaluation.promotion import no_new_critical_miss, not_worse, paired_difference
from medassets.evaluation.safety import missed
from medassets.learners.common.base import BASE_NAMES, train_base
from medassets.learners.common.config import CommonConfig
from medassets.learners.common.ensemble import CommonEnsemble
from medassets.learners.common.incremental import continue_ensemble, with_fresh
from medassets.learners.common.patients import CommonPatients
from medassets.learners.common.training import TrainingData

#: One in so many newly confirmed patients is held out.
HELD_OUT = 4
CONTINUED, RETRAINED, SERVED = "continued", "retrained", "champion"


@dataclass(frozen=True)
class Comparison:
    """What was compared.

    Attributes:
        rows: of ``retraining/common_comparison``.
        chosen: name of the better way; None where there was nothing new to learn from.
        ensemble: its ensemble.
    """

    rows: list[dict[str, Any]]
    chosen: str | None = None
    ensemble: CommonEnsemble | None = None

    def with_version(self, version: str) -> Comparison:
        """The same with the registered version of the chosen way."""
        rows = [row | {"version": version if row["way"] == self.chosen else None} for row in self.rows]
        return replace(self, rows=rows)


def compare(
    champion: CommonEnsemble,
    data: TrainingData,
    confirmed: pa.Table,
    config: CommonConfig,
    seed: int,
) -> Comparison:
    """Train both ways and compare them with the champion.

    Args:
        champion: the served ensemble.
        data: what it was trained on.
        confirmed: ``clinical/confirmed_patients``.
        config: of its training.
        seed: of the bootstrap.
    """
    known = [name in data.knowledge.condition_index for name in confirmed.column("condition").to_pylist()]
    everyone = CommonPatients.from_table(
        confirmed.filter(pa.array(known, pa.bool_())), data.space, data.knowledge
    )
    held = np.array([_held_out(str(patient)) for patient in everyone.ids], dtype=bool)
    fresh, aside = everyone.take(~held), everyone.take(held)
    # Without new patients (a retraining by drift or schedule) there is nothing to continue on.
    ways: dict[str, Callable[[], CommonEnsemble]] = {RETRAINED: lambda: _anew(data, fresh, config)}
    if len(fresh):
        ways = {CONTINUED: lambda: continue_ensemble(champion, data, fresh, config)} | ways
    trained, seconds = {SERVED: champion}, {SERVED: 0.0}
    for name, train in ways.items():
        began = time.process_time()
        trained[name] = train()
        seconds[name] = time.process_time() - began
    judged = CommonPatients.concat([data.test, aside])
    right = {name: _right(of, judged) for name, of in trained.items()}
    chosen = RETRAINED
    if CONTINUED in trained:
        difference = paired_difference(right[CONTINUED], right[RETRAINED], seed=seed)
        chosen = RETRAINED if difference["ci95"][0] > 0 else CONTINUED
    rows = []
    for name, ensemble in trained.items():
        findings = _findings(champion, ensemble, judged, data, seed) if name != SERVED else {}
        for group, rows_of in (
            ("test part", slice(0, len(data.test))),
            ("confirmed", slice(len(data.test), None)),
        ):
            hits = right[name][rows_of]
            rows.append(
                _row(
                    name,
                    name == chosen,
                    group,
                    float(hits.mean()) if len(hits) else None,
                    len(hits),
                    seconds[name],
                )
            )
        for finding, found in findings.items():
            rows.append(
                _row(name, name == chosen, "all", None, len(judged), seconds[name])
                | {"finding": finding, "passed": found.passed, "message": found.message}
            )
    return Comparison(rows, chosen, trained[chosen])


def _anew(data: TrainingData, fresh: CommonPatients, config: CommonConfig) -> CommonEnsemble:
    joined = with_fresh(data, fresh) if len(fresh) else data
    bases = {name: train_base(name, joined, config) for name in BASE_NAMES}
    return CommonEnsemble.fit(bases, joined, config)


def _findings(
    champion: CommonEnsemble, other: CommonEnsemble, rows: CommonPatients, data: TrainingData, seed: int
) -> dict[str, Any]:
    old, new = (of.predict(rows.matrix).probabilities for of in (champion, other))
    severity = np.array([condition.severity for condition in data.knowledge.conditions])
    before, after = ((ranks_of(p, rows.labels) <= 1).astype(float) for p in (old, new))
    misses = [missed(p, rows.labels, severity)[1] for p in (old, new)]
    return {
        "accuracy": not_worse(paired_difference(before, after, seed=seed)),
        "critical misses": no_new_critical_miss(misses[0], misses[1], [str(i) for i in rows.ids]),
    }


def _right(ensemble: CommonEnsemble, rows: CommonPatients) -> np.ndarray:
    return (ensemble.predict(rows.matrix).probabilities.argmax(1) == rows.labels).astype(float)


def _row(way: str, chosen: bool, group: str, value: float | None, n: int, seconds: float) -> dict[str, Any]:
    return {
        "way": way,
        "chosen": chosen,
        "group": group,
        "top1": value,
        "n": n,
        "cpu_seconds": seconds,
        "finding": "",
        "passed": True,
        "message": "",
        "version": None,
    }


def _held_out(patient: str) -> bool:
    """By the id, so that a patient stays on its side in later comparisons."""
    return hashlib.blake2b(patient.encode(), digest_size=2).digest()[0] % HELD_OUT == 0
