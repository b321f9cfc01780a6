"""Champion and challenger: which version of a model may serve.

What belongs here: letting both answer the same rows and moving the registry's alias. What does not: the
conditions of promotion (``evaluation.promotion``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from medassets.orchestration.judging import answer_common, common_findings, severity_of
from medassets.orchestration.tracking import NEWEST, MlflowTracking
from medassets.orchestration.training import CommonData

#: Alias of the version that serves.
CHAMPION = "champion"
#: Registered model that this is about.
MODEL = "common_ensemble"


def promote(inputs: Mapping[str, Any], data: CommonData, tracking: MlflowTracking, seed: int) -> pa.Table:
    """Judge the newest ensemble against the champion, and make it the champion where every condition holds.

    Args:
        inputs: ``common_ensemble`` (the challenger), ``fairness_report`` and ``robustness_report``.
        data: rows that neither was trained on.
        tracking: the registry.
        seed: of the bootstrap.

    Returns:
        ``evaluation/promotion``: one row a condition, and the version that serves after the decision.
    """
    from medassets.evaluation.promotion import decide_common

    challenger, champion = tracking.newest(MODEL, NEWEST), tracking.newest(MODEL, CHAMPION)
    if challenger is None:
        raise LookupError(f"no model {MODEL} with alias {NEWEST}: train it first")
    made, truth = answer_common(inputs[MODEL], data)
    findings = common_findings(
        made.probabilities, truth, data, inputs["fairness_report"], inputs["robustness_report"]
    )
    other = champion is not None and champion.version != challenger.version
    before = answer_common(tracking.load(MODEL, alias=CHAMPION), data)[0] if other else None
    decision = decide_common(
        before.probabilities if before else None,
        made.probabilities,
        truth,
        severity_of(data),
        data.test.column("patient_id").to_pylist(),
        safety=findings["critical misses"],
        fairness=findings["fairness"],
        seed=seed,
    )
    if decision.promote:
        tracking.client().set_registered_model_alias(MODEL, CHAMPION, challenger.version)
        champion = challenger
    return pa.Table.from_pylist(
        [
            {
                "model": MODEL,
                "finding": name,
                "passed": finding.passed,
                "message": finding.message,
                "challenger": challenger.version,
                "champion": champion.version if champion else None,
            }
            for name, finding in decision.findings.items()
        ]
    )
