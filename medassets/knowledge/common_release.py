"""Conditions and evidences of a site's own DDXPlus release.

What belongs here: reading ``release_conditions.json``, ``release_evidences.json`` and, where a site has it,
``evidence_given_condition.csv``. What does not: the bundled table (``common_conditions``) and patients.
Codes, types, values, severities and ICD-10 ids are the release's; labels and questions are the bundled ones
where the code is known.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from medassets.knowledge.common_conditions import (
    SOURCE,
    CommonKnowledge,
    Condition,
    Evidence,
    Value,
    code_order,
    figures_matrix,
    ordered_values,
)
from medassets.knowledge.quarantine import SourceError

CONDITIONS_FILE = "release_conditions.json"
EVIDENCES_FILE = "release_evidences.json"
FIGURES_FILE = "evidence_given_condition.csv"


def read_release(directory: Path) -> CommonKnowledge:
    """Read the files of a release; see ``CommonKnowledge.from_release``.

    Raises:
        SourceError: a file is missing, is not JSON, lacks a field or has a condition without figures.
    """
    base = CommonKnowledge.bundled()
    raw_conditions = _read_json(directory / CONDITIONS_FILE)
    raw_evidences = _read_json(directory / EVIDENCES_FILE)
    evidences = tuple(
        sorted(
            (_release_evidence(directory, raw, base) for raw in raw_evidences.values()),
            key=lambda evidence: code_order(evidence.code),
        )
    )
    figures_path = directory / FIGURES_FILE
    figures, patients = _read_figures(figures_path) if figures_path.is_file() else _figures_of(base)
    conditions = tuple(
        sorted(
            (_release_condition(directory, raw, base, patients) for raw in raw_conditions.values()),
            key=lambda condition: condition.name,
        )
    )
    source = f"{directory.name}: {SOURCE}"
    return CommonKnowledge(
        conditions, evidences, figures_matrix(conditions, evidences, figures), source=source
    )


def _figures_of(knowledge: CommonKnowledge) -> tuple[dict[tuple[str, str], float], dict[str, int]]:
    rows, columns = np.nonzero(knowledge.recorded)
    names, codes = knowledge.condition_names, knowledge.codes
    figures = {
        (names[i], codes[j]): float(knowledge.recorded[i, j]) for i, j in zip(rows, columns, strict=True)
    }
    return figures, {c.name: c.patients for c in knowledge.conditions}


def _read_json(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise SourceError(
            f"{path}: file is missing; a DDXPlus release has {CONDITIONS_FILE} and {EVIDENCES_FILE}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise SourceError(f"{path}: expected one JSON object of objects, keyed by name")
    return content


def _need(path: Path, raw: dict[str, Any], key: str) -> Any:
    if key not in raw:
        name = raw.get("condition_name") or raw.get("name") or "?"
        raise SourceError(f"{path}: entry {name!r} has no field {key!r}")
    return raw[key]


def _release_evidence(directory: Path, raw: dict[str, Any], base: CommonKnowledge) -> Evidence:
    path = directory / EVIDENCES_FILE
    code, kind = str(_need(path, raw, "name")), _need(path, raw, "data_type")
    if kind not in ("B", "C", "M"):
        raise SourceError(f"{path}: {code}: data_type {kind!r} is not one of B, C, M")
    known = base.evidences[base.evidence_index[code]] if code in base.evidence_index else None
    worded = {value.code: value for value in known.values} if known else {}
    meaning = raw.get("value_meaning") or {}
    values = []
    for item in _need(path, raw, "possible-values"):
        name = str(item)
        wording = meaning.get(name, {})
        values.append(worded.get(name) or Value(name, wording.get("en", name), wording.get("en", name)))
    parent = str(raw.get("code_question", code))
    fact = {
        "code": code, "type": kind, "is_antecedent": bool(_need(path, raw, "is_antecedent")),
        "default": str(_need(path, raw, "default_value")), "parent": None if parent == code else parent,
        "values": ordered_values(values, str(raw["default_value"])),
    }  # fmt: skip
    if known:
        return replace(known, **fact)
    question = str(raw.get("question_en", code))
    return Evidence(
        **fact,
        label_en=question,
        label_es=question,
        question_en=question,
        question_es=question,
        group="other",
    )


def _release_condition(
    directory: Path, raw: dict[str, Any], base: CommonKnowledge, patients: dict[str, int]
) -> Condition:
    path = directory / CONDITIONS_FILE
    name = str(_need(path, raw, "condition_name"))
    if name not in patients:
        raise SourceError(f"{path}: no figures for condition {name!r}: add {FIGURES_FILE} beside the file")
    known = base.conditions[base.condition_index[name]] if name in base.condition_index else None
    return Condition(
        name=name,
        icd10=str(_need(path, raw, "icd10-id")).upper(),
        severity=int(_need(path, raw, "severity")),
        patients=patients[name],
        name_en=known.name_en if known else str(raw.get("cond-name-eng", name)),
        name_es=known.name_es if known else name,
        symptoms=tuple(_need(path, raw, "symptoms")),
        antecedents=tuple(_need(path, raw, "antecedents")),
    )


def _read_figures(path: Path) -> tuple[dict[tuple[str, str], float], dict[str, int]]:
    figures: dict[tuple[str, str], float] = {}
    patients: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                condition, code = row["condition"], row["evidence"]
                figures[condition, code] = float(row["probability"])
                patients[condition] = int(row["patients"])
            except (KeyError, TypeError, ValueError) as error:
                needed = "condition, patients, evidence, probability"
                raise SourceError(f"{path}: line {number}: {error!r}; columns: {needed}") from error
    return figures, patients
