"""Making the interview that the bundle carries: answer tables, wording and stopping rule.

What belongs here: counting training patients into tables and choosing where to stop. What does not: the
interview itself (``serving.inquiry``), which is all that a service loads.

The stopping rule is chosen on patients that the tables were not counted from: tables from three quarters of
the training rows, the choice on the fourth, then tables from all. Without rows of a source, simulated
patients serve.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from medassets.evaluation.inquiry import choose_settings
from medassets.features.answer_tables import fit_answer_tables
from medassets.features.inquiry import InquirySettings
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.serving.inquiry import Inquiry, make_engine

SIMULATED = "simulated"
#: Fewer training rows than this cannot be split for the choice of a stopping rule.
MIN_ROWS = 200
#: Rows that are enough to choose a stopping rule from.
ENOUGH_ROWS = 3000


def build_inquiry(
    knowledge: CommonKnowledge, patients: pa.Table | None = None, settings: InquirySettings | None = None
) -> Inquiry:
    """Make the interview from the knowledge and, where the source has them, training patients.

    Args:
        knowledge: figures and wording.
        patients: training part of ``clinical/common_patients``; simulated rows add nothing that the figures
            do not say, so pass only rows of a source.
        settings: stopping rule; ``evaluation.inquiry.choose_settings`` finds one for a budget of questions.
    """
    questions = {
        e.code: {
            "type": e.type,
            "default": e.default,
            "group": e.group,
            "red_flag": e.red_flag,
            "sex": e.sex,
            "label": {"en": e.label_en, "es": e.label_es},
            "question": {"en": e.question_en, "es": e.question_es},
            "values": list(e.value_codes),
        }
        for e in knowledge.evidences
    }
    wording = {
        "questions": questions,
        "values": {
            v.code: {"en": v.label_en, "es": v.label_es} for e in knowledge.evidences for v in e.values
        },
        "conditions": {
            c.name: {"en": c.name_en, "es": c.name_es, "severity": c.severity} for c in knowledge.conditions
        },
        "training_origin": sorted(set(patients.column("origin").to_pylist())) if patients is not None else [],
    }
    return Inquiry(
        make_engine(fit_answer_tables(knowledge, patients), wording, settings or InquirySettings()), wording
    )


def fit_inquiry(
    knowledge: CommonKnowledge,
    patients: pa.Table,
    *,
    budget: float = 6.5,
    seed: int = 0,
    settings: InquirySettings | None = None,
) -> Inquiry:
    """Make the interview and choose its stopping rule.

    Args:
        knowledge: figures and wording.
        patients: training part of ``clinical/common_patients``, simulated rows allowed: they choose the
            stopping rule where there are too few others, and never enter the tables.
        budget: mean questions that an interview may take.
        seed: of the split.
        settings: what the choice leaves as it is.

    Raises:
        ValueError: no patients.
    """
    simulated = np.array(patients.column("origin").to_pylist(), dtype=object) == SIMULATED
    recorded = patients.filter(pa.array(~simulated))
    order = np.random.default_rng(seed).permutation(max(recorded.num_rows, 1))[: recorded.num_rows]
    if recorded.num_rows >= MIN_ROWS:
        choice, counted = np.sort(order[::4]), np.sort(np.delete(order, slice(None, None, 4)))
        trial = build_inquiry(knowledge, recorded.take(pa.array(counted)), settings)
        chosen = choose_settings(trial.engine, recorded.take(pa.array(choice[:ENOUGH_ROWS])), budget=budget)
    else:
        trial = build_inquiry(knowledge, None, settings)
        chosen = choose_settings(trial.engine, _sample(patients, ENOUGH_ROWS, seed), budget=budget)
    return build_inquiry(knowledge, recorded if recorded.num_rows else None, chosen)


def _sample(patients: pa.Table, n: int, seed: int) -> pa.Table:
    rows = np.random.default_rng(seed).permutation(patients.num_rows)[:n]
    return patients.take(pa.array(np.sort(rows)))
