"""What clinicians confirmed, as cases: rare ones for the memory, common ones for the next training.

What belongs here: turning verdicts into cases with their provenance, and cases into what the rare-disease
memory reads. What does not: reading feedback (``log``) and the memory itself (``features.rare_memory``).

Only a confirmation makes a case. A rejection says what it was not; it counts for accuracy, never as a
label.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from medassets.cohorts.schema import conform
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.ingest.common_patients import base_code, with_completeness
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.monitoring.log import latest_verdicts
from medassets.monitoring.tables import CONFIRMED_CASES, CONFIRMED_PATIENTS
from medassets.serving.requests import DAYS_PER_YEAR

ORIGIN = "ehr"


@dataclass(frozen=True)
class NewCases:
    """Cases that the memory can take, and why others were left out.

    Attributes:
        cases: to be added.
        left_out: case id and reason.
    """

    cases: CaseSet
    left_out: list[tuple[str, str]]


def confirmed_cases(feedback: pa.Table) -> pa.Table:
    """Rows of ``clinical/confirmed_cases`` from ``monitoring/clinician_feedback``."""
    rows = [
        {
            "case_id": f"feedback:{row['prediction_id']}",
            "disease_id": row["diagnosis"],
            "observed": sorted(set(row["observed"])),
            "excluded": sorted(set(row["excluded"])),
            "age_days": None if row["age_years"] is None else row["age_years"] * DAYS_PER_YEAR,
            "sex": row["sex"],
            "origin": ORIGIN,
            "provenance": f"prediction:{row['prediction_id']}",
        }
        for row in _confirmed(feedback, "rare")
        if row["observed"]
    ]
    return conform(pa.Table.from_pylist(rows, schema=CONFIRMED_CASES.schema), CONFIRMED_CASES)


def confirmed_patients(feedback: pa.Table, knowledge: CommonKnowledge) -> pa.Table:
    """Rows of ``clinical/confirmed_patients``: confirmed common conditions in the form of common patients."""
    bases = [evidence.code for evidence in knowledge.evidences]
    rows = []
    for number, row in enumerate(_confirmed(feedback, "common"), start=1):
        if row["diagnosis"] not in knowledge.condition_index or not row["present"]:
            continue
        named = {base_code(code) for code in row["present"]} | set(row["absent"])
        unknown = row["unanswered"] if row["complete"] else [code for code in bases if code not in named]
        rows.append(
            {
                "patient_id": f"prediction:{row['prediction_id']}",
                "age": None if row["age_years"] is None else int(row["age_years"]),
                "sex": row["sex"],
                "condition": row["diagnosis"],
                "evidence": sorted(set(row["present"])),
                "unknown": sorted(set(unknown)),
                "initial_evidence": None,
                "differential": None,
                "completeness": 0.0,
                "complete_enough": False,
                "origin": ORIGIN,
                "source_file": "clinician_feedback",
                "source_row": number,
            }
        )
    table = pa.Table.from_pylist(rows, schema=CONFIRMED_PATIENTS.schema)
    return conform(with_completeness(table, len(bases)), CONFIRMED_PATIENTS)


def new_cases(tables: Iterable[pa.Table], knowledge: RareKnowledge, known: Collection[str]) -> NewCases:
    """Cases of ``clinical/confirmed_cases`` and its likes that the memory does not hold yet.

    Args:
        tables: with the columns of ``clinical/confirmed_cases``.
        knowledge: of the memory that they shall join: its candidates and its ontology.
        known: ids of the cases that it holds.
    """
    ontology, seen = knowledge.ontology, set(known)
    kept: list[dict[str, Any]] = []
    left_out: list[tuple[str, str]] = []
    for row in (row for table in tables for row in table.to_pylist()):
        if row["case_id"] in seen:
            continue
        seen.add(row["case_id"])
        observed = [term for term in row["observed"] if ontology.resolve(term)]
        if row["disease_id"] not in knowledge.index:
            left_out.append((row["case_id"], f"{row['disease_id']} is no candidate of the ranker"))
        elif not observed:
            left_out.append((row["case_id"], f"no finding is a term of HPO {ontology.version}"))
        else:
            excluded = [term for term in row["excluded"] if ontology.resolve(term)]
            kept.append({**row, "observed": observed, "excluded": excluded})
    ages = [np.nan if row["age_days"] is None else row["age_days"] for row in kept]
    cases = CaseSet(
        case_ids=[row["case_id"] for row in kept],
        disease_ids=[row["disease_id"] for row in kept],
        observed=[_indices(row["observed"], knowledge) for row in kept],
        excluded=[_indices(row["excluded"], knowledge) for row in kept],
        age_days=np.array(ages, dtype=np.float64),
        sex=[row["sex"] for row in kept],
        pmids=[()] * len(kept),
        origins=[row["origin"] for row in kept],
    )
    return NewCases(cases, left_out)


def _confirmed(feedback: pa.Table, part: str) -> list[dict[str, Any]]:
    rows = latest_verdicts(feedback.to_pylist())
    return [row for row in rows if row["verdict"] == "confirmed" and row["part"] == part]


def _indices(terms: Iterable[str], knowledge: RareKnowledge) -> np.ndarray:
    ontology = knowledge.ontology
    return np.array(sorted({ontology.index[str(ontology.resolve(term))] for term in terms}), dtype=np.int32)
