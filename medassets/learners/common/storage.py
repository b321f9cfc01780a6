"""Storing arrays of fitted models without pickle, the same bytes for the same content.

What belongs here: the few files that every learner of this package shares. What does not: each model's own
format.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medassets.features.model_inputs import ModelInputs
from medassets.knowledge.common_conditions import CommonKnowledge, Condition, Evidence, Value


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write named arrays as ``.npz``."""
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays; pickled content is refused."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def save_inputs(inputs: ModelInputs, directory: Path) -> None:
    """Write a model's columns."""
    save_arrays(directory / "inputs.npz", {"columns": inputs.columns, "sizes": inputs.sizes})


def load_inputs(directory: Path) -> ModelInputs:
    """Read a model's columns."""
    return ModelInputs(**load_arrays(directory / "inputs.npz"))


def save_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys."""
    path.write_text(json.dumps(content, sort_keys=True, indent=1), encoding="utf-8")


def load_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def save_knowledge(path: Path, knowledge: CommonKnowledge) -> None:
    """Write the reference table that a model was trained with."""
    content = {
        "conditions": [asdict(condition) for condition in knowledge.conditions],
        "evidences": [asdict(evidence) for evidence in knowledge.evidences],
        "recorded": knowledge.recorded.tolist(),
        "source": knowledge.source,
        "licence": knowledge.licence,
        "citation": knowledge.citation,
    }
    path.write_text(json.dumps(content, sort_keys=True, ensure_ascii=False), encoding="utf-8")


def load_knowledge(path: Path) -> CommonKnowledge:
    """Read what ``save_knowledge`` wrote."""
    content = load_json(path)
    conditions = tuple(
        Condition(**{**raw, "symptoms": tuple(raw["symptoms"]), "antecedents": tuple(raw["antecedents"])})
        for raw in content.pop("conditions")
    )
    evidences = tuple(
        Evidence(**{**raw, "values": tuple(Value(**value) for value in raw["values"])})
        for raw in content.pop("evidences")
    )
    return CommonKnowledge(conditions, evidences, np.array(content.pop("recorded")), **content)
