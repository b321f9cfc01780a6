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

from medassets.cohorts.simulate_common import simulate
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
SIMULATION_SEED = 0
#: Rates of wrong answers to allow for, the cautious one first.
ERROR_RATES = (5e-3, 5e-4)
#: Certainty that the budget must buy for a rate to be chosen.
SURE_ENOUGH = 0.98


def build_inquiry(
    knowledge: CommonKnowledge,
    patients: pa.Table | None = None,
    settings: InquirySettings | None = None,
    *,
    error_rate: float = ERROR_RATES[0],
) -> Inquiry:
    """Make the interview from the knowledge and, where the source has them, training patients.

    Args:
        knowledge: figures and wording.
        patients: training part of ``clinical/common_patients``; simulated rows add nothing that the figures
            do not say, so pass only rows of a source.
        settings: stopping rule; ``evaluation.inquiry.choose_settings`` finds one for a budget of questions.
        error_rate: chance that an answer is wrong.
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
    tables = fit_answer_tables(knowledge, patients, error_rate=error_rate)
    return Inquiry(make_engine(tables, wording, settings or InquirySettings()), wording)


def fit_inquiry(
    knowledge: CommonKnowledge,
    patients: pa.Table,
    *,
    budget: float = 6.6,
    seed: int = 0,
    settings: InquirySettings | None = None,
) -> Inquiry:
    """Make the interview, and choose its stopping rule and how many wrong answers it allows for.

    The rate of wrong answers is the highest of ``ERROR_RATES`` at which the budget still buys
    ``SURE_ENOUGH``: doubt in each answer costs further questions.

    Args:
        knowledge: figures and wording.
        patients: training part of ``clinical/common_patients``; simulated rows never enter the tables. With
            fewer than ``MIN_ROWS`` others the choice is made on patients simulated from the figures.
        budget: mean questions that an interview may take.
        seed: of the split; the simulation has its own, so that the figures alone always give the same rule.
        settings: what the choice leaves as it is.
    """
    simulated = np.array(patients.column("origin").to_pylist(), dtype=object) == SIMULATED
    recorded = patients.filter(pa.array(~simulated))
    counted, judged = recorded, recorded
    if recorded.num_rows < MIN_ROWS:
        counted, judged = recorded.slice(0, 0), simulate(knowledge, seed=SIMULATION_SEED, total=ENOUGH_ROWS)
    else:
        order = np.random.default_rng(seed).permutation(recorded.num_rows)
        held = np.isin(np.arange(recorded.num_rows), order[::4][:ENOUGH_ROWS])
        counted, judged = recorded.filter(pa.array(~held)), recorded.filter(pa.array(held))
    for error_rate in ERROR_RATES:
        trial = build_inquiry(knowledge, counted, settings, error_rate=error_rate)
        chosen = choose_settings(trial.engine, judged, budget=budget)
        if chosen.certainty >= SURE_ENOUGH:
            break
    return build_inquiry(knowledge, recorded, chosen, error_rate=error_rate)
