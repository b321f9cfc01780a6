"""Rare-disease cases of a hospital's records: a coded diagnosis, with the findings that stand in the record.

What belongs here: putting conditions, notes' phenotypes and patients together as cases. What does not:
reading records (``ingest.fhir``) and phenotypes in notes (``ingest.text``).

Only codes that name a disease or a phenotype themselves count: OMIM and Orphanet for the diagnosis, HPO for
a finding. A condition that is refuted or entered in error makes no case, and what a note says of relatives
or leaves open is no finding. A patient with two rare diagnoses is left out: nobody knows which finding is
whose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from medassets.cohorts.schema import conform
from medassets.monitoring.tables import EHR_CASES
from medassets.serving.crosswalk import HPO_SYSTEMS
from medassets.serving.requests import DAYS_PER_YEAR

#: Code systems of rare diseases, as FHIR servers name them, to the prefix of our ids.
DISEASE_SYSTEMS = {
    "http://www.omim.org": "OMIM",
    "https://www.omim.org": "OMIM",
    "http://omim.org": "OMIM",
    "https://omim.org": "OMIM",
    "urn:oid:2.16.840.1.113883.6.174": "OMIM",
    "http://www.orpha.net": "ORPHA",
    "https://www.orpha.net": "ORPHA",
    "http://www.orpha.net/ORDO": "ORPHA",
}
#: Only these verdicts on a condition make it a diagnosis; none is read as FHIR's default.
VERIFIED = (None, "confirmed")
#: Confidence of a note's phenotype below which it is no finding.
SURE = 0.6


def ehr_cases(
    patients: Iterable[Mapping[str, Any]],
    conditions: Iterable[Mapping[str, Any]],
    note_phenotypes: Iterable[Mapping[str, Any]],
) -> pa.Table:
    """Rows of ``clinical/ehr_cases``.

    Args:
        patients: rows of ``clinical/ehr_patients``; a later day replaces an earlier one.
        conditions: rows of ``clinical/ehr_conditions``.
        note_phenotypes: rows of ``clinical/note_phenotypes``.
    """
    sexes = {row["patient_id"]: row["sex"] for row in sorted(patients, key=lambda row: row["day"])}
    observed: dict[str, set[str]] = defaultdict(set)
    excluded: dict[str, set[str]] = defaultdict(set)
    diagnoses: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for row in sorted(conditions, key=lambda row: (row["day"], row["condition_id"])):
        for system, code in _codings(row):
            if system in HPO_SYSTEMS:
                denied = row["verification_status"] == "refuted"
                (excluded if denied else observed)[row["patient_id"]].add(code.replace("_", ":"))
            elif system in DISEASE_SYSTEMS and row["verification_status"] in VERIFIED:
                prefix = DISEASE_SYSTEMS[system]
                disease = f"{prefix}:{code.split(':')[-1].removeprefix('Orphanet_')}"
                diagnoses[row["patient_id"]][disease] = row
    for row in note_phenotypes:
        if row["uncertain"] or row["family"] or row["confidence"] < SURE:
            continue
        (excluded if row["negated"] else observed)[row["patient_id"]].add(row["hpo_id"])
    rows = []
    for patient, found in sorted(diagnoses.items()):
        if len(found) != 1 or not observed[patient]:
            continue
        ((disease, condition),) = found.items()
        age = condition["age"]
        rows.append(
            {
                "case_id": f"ehr:{patient}",
                "disease_id": disease,
                "observed": sorted(observed[patient]),
                "excluded": sorted(excluded[patient] - observed[patient]),
                "age_days": None if age is None else age * DAYS_PER_YEAR,
                "sex": sexes.get(patient, "unknown"),
                "origin": condition["origin"],
                "provenance": f"{condition['source_file']}#{condition['condition_id']}",
            }
        )
    return conform(pa.Table.from_pylist(rows, schema=EHR_CASES.schema), EHR_CASES)


def _codings(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(system, code) for system, _, code in (text.partition("|") for text in row["codings"])]
