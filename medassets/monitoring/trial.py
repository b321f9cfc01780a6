"""May a challenger serve, and does a new champion keep its promise?

What belongs here: the shadow replay, the comparison of verdicts, the conditions of promotion and of taking
back. What does not: models on rows held back (``evaluation.promotion``), moving pointers
(``serving.bundle``).

In the shadow a challenger answers requests of the log that the champion answered before; nobody sees its
answers. Verdicts on answers of either bundle, where the service lets both answer, are the A/B comparison. A
new champion is on trial for some days, in which it is taken back where it does worse than its predecessor
did.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from scipy import stats

from medassets.evaluation.figures import Finding
from medassets.evaluation.promotion import decide_rare, not_worse, paired_difference
from medassets.features.cases import CaseSet
from medassets.features.rare_model import RareModel
from medassets.monitoring.log import NAMES
from medassets.monitoring.performance import judged
from medassets.serving.predictor import Diagnoser
from medassets.serving.requests import DiagnosisRequest, RequestError

#: Error of the one-sided tests.
ALPHA = 0.05
#: A challenger may take this many times as long as the champion.
SLOWER = 1.5
#: Replays below which times say nothing.
TIMED = 20
#: Known cases that both memories rank after their publications were left out.
RANKED = 60


@dataclass(frozen=True)
class Replay:
    """One logged request answered by both bundles.

    Attributes:
        prediction_id: of the log.
        part: common or rare.
        champion, challenger: first candidate of each, None where it gave none.
        champion_seconds, challenger_seconds: processor time of the whole answer.
        truth: confirmed diagnosis, None while nobody confirmed one.
        champion_right, challenger_right: whether the first candidate is the truth.
    """

    prediction_id: str
    part: str
    champion: str | None
    challenger: str | None
    champion_seconds: float
    challenger_seconds: float
    truth: str | None

    @property
    def champion_right(self) -> bool:
        """Whether the champion puts the truth first."""
        return self.truth is not None and self.champion == self.truth

    @property
    def challenger_right(self) -> bool:
        """Whether the challenger puts the truth first."""
        return self.truth is not None and self.challenger == self.truth


def replay(
    log: Sequence[Mapping[str, Any]],
    verdicts: Iterable[Mapping[str, Any]],
    champion: Diagnoser,
    challenger: Diagnoser,
) -> list[Replay]:
    """Let both bundles answer requests of the log.

    Args:
        log: rows of ``monitoring/prediction_log``.
        verdicts: ``log.latest_verdicts``; confirmed ones are the truth.
        champion, challenger: the two bundles.
    """
    truth = {
        (row["prediction_id"], row["part"]): row["diagnosis"]
        for row in verdicts
        if row["verdict"] == "confirmed"
    }
    found = []
    for row in log:
        request = request_of(row)
        try:
            answers = [_timed(diagnoser, request) for diagnoser in (champion, challenger)]
        except RequestError:
            continue  # a term that only an earlier bundle knew
        for part in NAMES:
            if not row[f"{part}_candidates"]:
                continue
            first = [_first(answer, part) for answer, _ in answers]
            label = truth.get((row["prediction_id"], part))
            found.append(
                Replay(row["prediction_id"], part, first[0], first[1], answers[0][1], answers[1][1], label)
            )
    return found


def request_of(row: Mapping[str, Any]) -> DiagnosisRequest:
    """The request that a row of the log stands for."""
    evidence = {"present": row["present"], "absent": row["absent"], "unknown": row["unanswered"]}
    return DiagnosisRequest.model_validate(
        {
            "observed": row["observed"],
            "excluded": row["excluded"],
            "evidence": evidence | {"complete": row["complete"]},
            "age": row["age_years"],
            "sex": row["sex"],
            "top": 5,
        }
    )


def shadow_findings(replays: Sequence[Replay], agreement: float) -> dict[str, Finding]:
    """Judge a replay: agreement with the champion, verdicts so far, and speed."""
    if not replays:
        return {"shadow": Finding(True, "nothing was asked yet that a challenger could answer again")}
    # Where the champion was wrong, a change is what the challenger is for.
    unlabelled = [r for r in replays if r.truth is None]
    found = {}
    if unlabelled:
        same = sum(r.champion == r.challenger for r in unlabelled)
        share = same / len(unlabelled)
        found["shadow agreement"] = Finding(
            share >= agreement,
            f"first candidate kept in {same} of {len(unlabelled)} replayed answers, {agreement:g} wanted",
            {"n": len(unlabelled), "agreement": share},
        )
    labelled = [r for r in replays if r.truth is not None]
    if labelled:
        before, after = (
            np.array([r.champion_right for r in labelled], dtype=float),
            np.array([r.challenger_right for r in labelled], dtype=float),
        )
        found["shadow accuracy"] = not_worse(paired_difference(before, after))
    old, new = (float(np.median([r.champion_seconds for r in replays])),
                float(np.median([r.challenger_seconds for r in replays])))  # fmt: skip
    found["shadow speed"] = Finding(
        len(replays) < TIMED or new <= SLOWER * old + 0.005,
        f"median {1000 * new:.1f} ms against {1000 * old:.1f} ms, {SLOWER:g} times is allowed",
        {"n": len(replays), "champion_ms": 1000 * old, "challenger_ms": 1000 * new},
    )
    return found


def ab_finding(verdicts: Sequence[Mapping[str, Any]], champion: str, challenger: str, wanted: int) -> Finding:
    """Compare verdicts on answers that each bundle gave itself.

    Args:
        verdicts: ``log.latest_verdicts``, of the time in which both answered.
        champion, challenger: versions.
        wanted: verdicts on the challenger's answers that promotion waits for.
    """
    old, new = (_right(verdicts, version) for version in (champion, challenger))
    figures = {"champion_n": len(old), "challenger_n": len(new)}
    if len(new) < wanted:
        return Finding(False, f"{len(new)} verdicts on the challenger's answers, {wanted} wanted", figures)
    if not old or not new:
        return Finding(True, "no verdicts on answers of both bundles; none are asked for", figures)
    p_value = worse(old, new)
    message = (
        f"right in {sum(new)} of {len(new)} answers, the champion in {sum(old)} of {len(old)}; "
        f"p={p_value:.3f} that it is worse by chance alone"
    )
    return Finding(p_value > ALPHA, message, figures | {"p_value": p_value})


def rare_finding(champion: RareModel, challenger: RareModel, seed: int) -> Finding:
    """Rank known cases by both memories, without the publications of those cases.

    Raises:
        ValueError: the champion's memory holds no case.
    """
    known = champion.cases
    chosen = np.random.default_rng(seed).permutation(len(known))[:RANKED]
    cases: CaseSet = known[np.sort(chosen)]
    pmids = {pmid for of in cases.pmids for pmid in of}
    ranks = []
    for model in (champion, challenger):
        without = model.without_publications(pmids)
        truth = without.knowledge.labels(cases)
        scores = without.score(cases)
        own = scores[np.arange(len(cases)), truth][:, None]
        ranks.append(1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2)
    groups = [of[0] if of else case for of, case in zip(cases.pmids, cases.case_ids, strict=True)]
    return decide_rare(*ranks, groups=groups, seed=seed).findings["mean reciprocal rank"]


def judge_trial(
    verdicts: Sequence[Mapping[str, Any]],
    log: Sequence[Mapping[str, Any]],
    champion: str,
    predecessor: str,
    *,
    labels: int,
    margin: float,
) -> Finding:
    """Pass where the new champion does as well as its predecessor did, or too little is known.

    Args:
        verdicts: ``log.latest_verdicts``.
        log: rows of the log, for abstentions.
        champion, predecessor: versions.
        labels: verdicts on the champion's answers below which its accuracy is not judged.
        margin: accuracy, and share of answers without abstention, that may be lost.
    """
    reasons: list[str] = []
    figures: dict[str, dict[str, float]] = {}
    for name, old, new, enough in (
        ("accuracy", _right(verdicts, predecessor), _right(verdicts, champion), labels),
        ("answers without abstention", _answered(log, predecessor), _answered(log, champion), 2 * labels),
    ):
        figures[name] = {"predecessor_n": len(old), "champion_n": len(new)}
        if not old or len(new) < enough:
            continue
        before, after, p_value = sum(old) / len(old), sum(new) / len(new), worse(old, new)
        figures[name] |= {"predecessor": before, "champion": after, "p_value": p_value}
        if after < before - margin and p_value <= ALPHA:
            reasons.append(
                f"{name} {after:.3f} (n={len(new)}) after {before:.3f} (n={len(old)}), p={p_value:.2g}"
            )
    if reasons:
        return Finding(False, f"{champion} does worse than {predecessor}: {'; '.join(reasons)}", figures)
    return Finding(True, f"nothing shows that {champion} does worse than {predecessor}", figures)


def on_trial(promoted_at: datetime, now: datetime, days: int) -> bool:
    """Whether a bundle promoted then is still on trial."""
    return 0 <= (now - promoted_at).total_seconds() < days * 86_400


def worse(old: Sequence[bool], new: Sequence[bool]) -> float:
    """One-sided Fisher p-value that ``new`` is right less often than ``old``."""
    table = [[sum(new), len(new) - sum(new)], [sum(old), len(old) - sum(old)]]
    return float(min(1.0, stats.fisher_exact(table, alternative="less")[1]))


def _right(verdicts: Iterable[Mapping[str, Any]], version: str) -> list[bool]:
    told = (judged(row) for row in verdicts if row["bundle"] == version)
    return [outcome for outcome in told if outcome is not None]


def _answered(log: Iterable[Mapping[str, Any]], version: str) -> list[bool]:
    return [
        not row[f"{part}_abstain"]
        for row in log
        if row["bundle"] == version
        for part in NAMES
        if row[f"{part}_candidates"]
    ]


def _timed(diagnoser: Diagnoser, request: DiagnosisRequest) -> tuple[dict[str, Any], float]:
    # Of this thread: the clock on the wall is everyone's.
    began = time.thread_time()
    answer = diagnoser.diagnose(request, bento="shadow")
    return answer, time.thread_time() - began


def _first(answer: Mapping[str, Any], part: str) -> str | None:
    candidates = (answer.get(part) or {}).get("candidates")
    return candidates[0][NAMES[part]] if candidates else None
