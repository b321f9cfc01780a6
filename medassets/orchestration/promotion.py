"""Champion and challenger: which version of a model may serve.

What belongs here: letting both answer the same rows and moving the registry's alias. What does not: the
conditions of promotion (``evaluation.promotion``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from medassets.evaluation.figures import Finding
from medassets.evaluation.promotion import PromotionDecision
from medassets.orchestration.judging import answer_common, clean_ranks, common_findings, severity_of
from medassets.orchestration.tracking import NEWEST, MlflowTracking, ModelVersion
from medassets.orchestration.training import CommonData, RareData

#: Alias of the version that serves.
CHAMPION = "champion"
#: Registered models that this is about.
MODEL, RARE_MODEL = "common_ensemble", "rare_ranker"


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
    return _decided(MODEL, decision, challenger, champion, tracking)


def promote_rare(ranker: Any, data: RareData, tracking: MlflowTracking, seed: int) -> pa.Table:
    """Judge the newest ranker of rare diseases against the champion by reciprocal ranks, clean.

    Args:
        ranker: the challenger.
        data: cases of the test part, which neither learned from.
        tracking: the registry.
        seed: of the bootstrap.

    Returns:
        ``evaluation/rare_promotion``, as :func:`promote` gives it.
    """
    from medassets.cohorts.splits import publication_groups
    from medassets.evaluation.promotion import decide_rare

    challenger, champion = tracking.newest(RARE_MODEL, NEWEST), tracking.newest(RARE_MODEL, CHAMPION)
    if challenger is None:
        raise LookupError(f"no model {RARE_MODEL} with alias {NEWEST}: train it first")
    other = champion is not None and champion.version != challenger.version
    ranks, unreadable = None, ""
    if other:
        try:
            ranks = clean_ranks(tracking.load(RARE_MODEL, alias=CHAMPION), data)
        except ValueError as error:  # learned on features that this version of the software does not compute
            unreadable = str(error)
    groups = publication_groups(data.test.case_ids, data.test.pmids)
    # Ranking takes a good part of a minute: not done where there is nothing to compare with.
    challenged = clean_ranks(ranker, data) if ranks is not None else np.empty(0)
    decision = decide_rare(ranks, challenged, groups=groups, seed=seed)
    if unreadable:
        decision.findings["champion"] = Finding(True, f"it cannot be asked and gives way: {unreadable}")
    return _decided(RARE_MODEL, decision, challenger, champion, tracking)


def _decided(
    model: str,
    decision: PromotionDecision,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    tracking: MlflowTracking,
) -> pa.Table:
    """Move the alias where the challenger takes over, and give one row a condition."""
    if decision.promote:
        tracking.client().set_registered_model_alias(model, CHAMPION, challenger.version)
        champion = challenger
    return pa.Table.from_pylist(
        [
            {
                "model": model,
                "finding": name,
                "passed": finding.passed,
                "message": finding.message,
                "challenger": challenger.version,
                "champion": champion.version if champion else None,
            }
            for name, finding in decision.findings.items()
        ]
    )
