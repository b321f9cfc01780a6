"""How few questions reach the answer: simulated interviews with patients whose answers are known.

What belongs here: the interview protocol, its figures, and the choice of the stopping rule. What does not:
the choice of questions (``features.inquiry``) and plots (``evaluation.plots``).

The protocol is DDXPlus's (Fansi Tchango et al., NeurIPS 2022): an interview starts from sex, age and the
initial evidence, each question is answered from the patient's record, the questions after the initial
evidence are counted, and the condition that leads at the end is compared with the patient's. A question is
one evidence code; its answer names all its values. Accuracy is thus GTPA@1.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medassets.evaluation.metrics import mean_ci, ranks_of
from medassets.features.inquiry import InquiryEngine, InquirySettings

#: Published results of the same protocol on the DDXPlus test part: name, mean questions, GTPA@1.
PUBLISHED = (("AARLC (preprint)", 7.27, 0.9886), ("BASD", 17.85, 0.9665))
#: Certainties among which a stopping rule is chosen, and that the curve is drawn through.
CERTAINTIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.993, 0.995, 0.997, 0.999)
#: Highest certainty that a stopping rule is given: beyond, questions confirm what is already said.
MAX_CERTAINTY = 0.995
#: Patients interviewed at once; bounds the memory at about 200 MB.
_CHUNK = 1000


@dataclass(frozen=True)
class Interviews:
    """Interviews of n patients, recorded after 0, 1, ... s questions whatever the stopping rule says.

    Attributes:
        truth: (n,) column of each patient's condition.
        certainty: (s + 1, n) posterior of the leading condition.
        top: (s + 1, n) the leading condition.
        rank: (s + 1, n) rank of the patient's condition.
        information: (s + 1, n) expected nats of the best next question, -1 where none is left.
        question: (s, n) the question asked.
        answered: (n,) answers known before the first question (the initial evidence).
    """

    truth: NDArray[np.int64]
    certainty: NDArray[np.float64]
    top: NDArray[np.int64]
    rank: NDArray[np.float64]
    information: NDArray[np.float64]
    question: NDArray[np.int64]
    answered: NDArray[np.int64]

    def stopped(self, settings: InquirySettings) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
        """Questions asked until each interview stops, and why; the last recorded step where no rule fires."""
        certain = self.certainty >= settings.certainty
        exhausted = self.information < settings.min_information
        steps = np.arange(len(self.certainty))[:, None]
        limit = steps + self.answered >= settings.max_questions
        limit[-1] = True
        count = (certain | exhausted | limit).argmax(0)
        who = np.arange(len(self.truth))
        reason = np.where(
            certain[count, who], "certain", np.where(exhausted[count, who], "nothing_left", "limit")
        )
        return count.astype(np.int64), reason


def interview_patients(engine: InquiryEngine, patients: pa.Table, *, max_questions: int = 40) -> Interviews:
    """Interview every patient for ``max_questions`` questions, or until no question is left.

    Args:
        engine: tables, choice of questions and settings (``safety_first`` decides the order).
        patients: rows of ``clinical/common_patients``; ``unknown`` answers cost a question and tell nothing.
        max_questions: length of the record.

    Raises:
        ValueError: no patients, or a condition that the engine does not know.
        InquiryInputError: an evidence that the engine does not know.
    """
    if not patients.num_rows:
        raise ValueError("no patients to interview")
    names = {name: c for c, name in enumerate(engine.tables.conditions)}
    conditions = patients.column("condition").to_pylist()
    strangers = sorted({str(c) for c in conditions if c not in names})
    if strangers:
        raise ValueError(f"condition {strangers[0]!r} is unknown to the inquiry")
    truth = np.array([names[c] for c in conditions])
    parts = [
        _interview(engine, patients.slice(at, _CHUNK), truth[at : at + _CHUNK], max_questions)
        for at in range(0, patients.num_rows, _CHUNK)
    ]
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=-1)
        for name in Interviews.__dataclass_fields__
    }
    return Interviews(**joined)


def _interview(
    engine: InquiryEngine, patients: pa.Table, truth: NDArray[np.int64], max_questions: int
) -> Interviews:
    ages = patients.column("age").to_numpy(zero_copy_only=False).astype(np.float64)
    state = engine.start(ages, patients.column("sex").to_pylist())
    answers = engine.encode(
        patients.column("evidence").to_pylist(), [u or [] for u in patients.column("unknown").to_pylist()]
    )
    first = patients.column("initial_evidence").to_pylist()
    told = np.array([i for i, code in enumerate(first) if code], dtype=np.int64)
    engine.tell(state, answers, np.array([engine.code_index[first[i]] for i in told], dtype=np.int64), told)
    answered = np.zeros(len(truth), dtype=np.int64)
    answered[told] = 1
    record: list[tuple[np.ndarray, ...]] = []
    asked = []
    for step in range(max_questions + 1):
        posterior, information = state.posterior, engine.information(state)
        best = information.max(1)
        record.append((posterior.max(1), posterior.argmax(1), ranks_of(posterior, truth), best))
        if step < max_questions:
            question, _ = engine.choose(state, information)
            open_rows = np.flatnonzero(best >= 0)
            engine.tell(state, answers, question[open_rows], open_rows)
            asked.append(np.where(best >= 0, question, -1))
    certainty, top, rank, information = (np.stack(column) for column in zip(*record, strict=True))
    return Interviews(truth, certainty, top, rank, information, np.stack(asked), answered)


def inquiry_figures(
    interviews: Interviews, settings: InquirySettings, *, seed: int = 0, resamples: int = 1000
) -> dict[str, Any]:
    """Accuracy and length of interviews under a stopping rule.

    Returns:
        ``{"n", "top1", "top3", "mean_questions", "median_questions", "p95_questions", "ci95": {...},
        "stopped": {reason: share}, "settings": {...}}``.
    """
    count, reason = interviews.stopped(settings)
    rank = interviews.rank[count, np.arange(len(count))]
    values = np.stack([rank <= 1, rank <= 3, count], axis=1)
    means, intervals = mean_ci(values, seed=seed, resamples=resamples)
    names = ("top1", "top3", "mean_questions")
    shares = Counter(reason.tolist())
    return {
        "n": len(count),
        **dict(zip(names, means.tolist(), strict=True)),
        "median_questions": float(np.median(count)),
        "p95_questions": float(np.quantile(count, 0.95)),
        "ci95": dict(zip(names, intervals.tolist(), strict=True)),
        "stopped": {name: shares[name] / len(count) for name in sorted(shares)},
        "settings": {
            "certainty": settings.certainty,
            "min_information": settings.min_information,
            "safety_first": settings.safety_first,
        },
    }


def inquiry_metrics(engine: InquiryEngine, patients: pa.Table, *, seed: int = 0) -> dict[str, Any]:
    """Figures of the engine, with and without red-flag questions first.

    Args:
        engine: as the API uses it.
        patients: rows held apart from the engine's tables.
        seed: of the intervals.

    Returns:
        ``{"top1", "mean_questions", "n", "ci95", ...}`` of the interview that asks for information only, as
        the published results do, and under ``safety_first`` the same figures with red-flag questions first.
    """
    figures = {}
    for safety in (False, True):
        settings = replace(engine.settings, safety_first=safety)
        interviews = interview_patients(
            engine.with_settings(settings), patients, max_questions=settings.max_questions
        )
        figures[safety] = inquiry_figures(interviews, settings, seed=seed)
    return {**figures[False], "safety_first": figures[True]}


def accuracy_curve(
    interviews: Interviews, *, min_information: float = 0.0, certainties: tuple[float, ...] = CERTAINTIES
) -> list[dict[str, float]]:
    """Accuracy over mean questions as the certainty asked for grows, one point a certainty."""
    points = []
    for certainty in certainties:
        settings = InquirySettings(certainty, min_information, len(interviews.certainty), False)
        figures = inquiry_figures(interviews, settings, resamples=300)
        low, high = figures["ci95"]["top1"]
        points.append(
            {
                "certainty": certainty,
                "mean_questions": figures["mean_questions"],
                "top1": figures["top1"],
                "low": low,
                "high": high,
            }
        )
    return points


def choose_settings(
    engine: InquiryEngine, patients: pa.Table, *, budget: float = 6.6, max_questions: int = 25
) -> InquirySettings:
    """Choose the certainty to stop at: the highest that the budget allows, up to ``MAX_CERTAINTY``.

    Args:
        engine: its tables and other settings are kept.
        patients: training or simulated patients, never the ones that are reported on. Patients that the
            tables
            were counted from look easier than others: hold some of the training part apart for this choice.
        budget: mean questions that interviews may take; simulated patients need about 0.4 more than official
            ones.
        max_questions: longest interview tried.

    Returns:
        The engine's settings with the chosen certainty; the lowest certainty where the budget allows none.
    """
    information_only = replace(engine.settings, safety_first=False)
    interviews = interview_patients(
        engine.with_settings(information_only), patients, max_questions=max_questions
    )
    curve = accuracy_curve(interviews, min_information=engine.settings.min_information)
    affordable = [p["certainty"] for p in curve if p["mean_questions"] <= budget]
    certainty = min(max(affordable, default=CERTAINTIES[0]), MAX_CERTAINTY)
    return replace(engine.settings, certainty=certainty)
