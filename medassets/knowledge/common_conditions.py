"""Common conditions, the evidences asked for, and how often each evidence stands with each condition.

What belongs here: the reference table that the package carries (49 conditions, 223 evidences, P(evidence
given condition), relative frequencies, labels and questions in English and Spanish) and its counterpart read
from a site's own DDXPlus release. What does not: patients (``medassets.ingest.ddxplus``), their encoding
(``medassets.features.common``) and anything learned.

Source of codes and figures: Fansi Tchango et al., "DDXPlus: A New Dataset For Automatic Medical Diagnosis",
NeurIPS 2022 Datasets and Benchmarks, CC BY 4.0. The figures are counted over its training file (1,025,602
patients, synthesized by its authors). The wording of labels and questions is this project's own.
One ICD-10 id is corrected: the release gives M34, systemic sclerosis, for lupus (M32.9).

What the figures mean: they count the patients whose record *names* an evidence. For a yes/no evidence that is
a "yes". A categorical or multi-choice evidence is also named with its default value ("nowhere", "not
travelled"), so there the figure says no more than that the question was on the condition's form: see
``CommonKnowledge.measured``.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np

EvidenceType = Literal["B", "C", "M"]
VALUE_SEPARATOR = "_@_"

SOURCE = "DDXPlus (English release), figures counted over its training file"
LICENCE = "CC BY 4.0"
CITATION = (
    "Fansi Tchango A, Goel R, Wen Z, Martel J, Ghosn J. DDXPlus: A New Dataset For Automatic Medical "
    "Diagnosis. NeurIPS 2022 Datasets and Benchmarks. https://doi.org/10.6084/m9.figshare.22687585"
)

#: Chance that an applicable categorical question has an answer other than its default. The figures do not say
#: it; these round values are the same for every condition, so that they can tell no condition from another.
ASSUMED_POSITIVE = {
    "E_57": 0.3,  # pain goes somewhere else
    "E_59": 0.9,  # suddenness of the pain above 0 of 10
    "E_131": 0.3,  # lesions that peel
    "E_132": 0.8,  # raised lesions
    "E_134": 0.8,  # painful lesions
    "E_135": 0.5,  # lesions above 1 cm
    "E_136": 0.6,  # itching lesions
    "E_204": 0.05,  # travel abroad
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One common condition; ``severity`` runs from 1 (life-threatening) to 5 (mild)."""

    name: str
    icd10: str
    severity: int
    patients: int
    name_en: str
    name_es: str
    symptoms: tuple[str, ...]
    antecedents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One legal answer to a categorical or multi-choice evidence; ``sex`` where only one sex can give it."""

    code: str
    label_en: str
    label_es: str
    sex: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One question about a person: B yes/no, C one of several values, M any number of several values."""

    code: str
    type: EvidenceType
    is_antecedent: bool
    default: str
    parent: str | None
    values: tuple[Value, ...]
    label_en: str
    label_es: str
    question_en: str
    question_es: str
    group: str
    red_flag: bool = False
    sex: str | None = None

    @property
    def ordinal(self) -> bool:
        """Whether the values are degrees 0, 1, 2, ... (intensity of a pain, for example)."""
        return bool(self.values) and all(value.code.isdigit() for value in self.values)

    @property
    def value_codes(self) -> tuple[str, ...]:
        """Legal values, the default included."""
        return tuple(value.code for value in self.values)

    def answer_codes(self) -> list[str]:
        """Legal ways to name this evidence: the bare code (present, value not known), then one for each
        value.
        """
        return [self.code, *(f"{self.code}{VALUE_SEPARATOR}{value.code}" for value in self.values)]


@dataclass(frozen=True)
class CommonKnowledge:
    """Conditions (rows) and evidences (columns) with the figures that tie them.

    Attributes:
        conditions: sorted by name.
        evidences: sorted by number: E_0, E_1, ...
        recorded: (n_conditions, n_evidences) float64, share of a condition's patients whose record names the
            evidence.
    """

    conditions: tuple[Condition, ...]
    evidences: tuple[Evidence, ...]
    recorded: np.ndarray = field(repr=False)
    source: str = SOURCE
    licence: str = LICENCE
    citation: str = CITATION

    def __post_init__(self) -> None:
        shape = (len(self.conditions), len(self.evidences))
        if self.recorded.shape != shape:
            raise ValueError(f"figures have shape {self.recorded.shape}, expected {shape}")
        if not ((self.recorded >= 0) & (self.recorded <= 1)).all():
            raise ValueError("figures outside 0..1")

    @cached_property
    def condition_names(self) -> list[str]:
        """Names in the order of the rows."""
        return [condition.name for condition in self.conditions]

    @cached_property
    def codes(self) -> list[str]:
        """Evidence codes in the order of the columns."""
        return [evidence.code for evidence in self.evidences]

    @cached_property
    def condition_index(self) -> dict[str, int]:
        """Row of a condition's name."""
        return {name: i for i, name in enumerate(self.condition_names)}

    @cached_property
    def evidence_index(self) -> dict[str, int]:
        """Column of an evidence's code."""
        return {code: i for i, code in enumerate(self.codes)}

    @cached_property
    def parents(self) -> np.ndarray:
        """(n_evidences,) int32: column of the question that must be answered "yes" first, -1 where there is
        none.
        """
        index = self.evidence_index
        return np.array([index.get(e.parent, -1) if e.parent else -1 for e in self.evidences], dtype=np.int32)

    @cached_property
    def measured(self) -> np.ndarray:
        """(n_evidences,) bool: the figure is the chance of a positive answer (yes/no evidences).

        For the others it is not, and a method that reads ``probability`` as evidence must leave them out.
        """
        return np.array([evidence.type == "B" for evidence in self.evidences])

    @cached_property
    def probability(self) -> np.ndarray:
        """(n_conditions, n_evidences) float64: P(positive answer given condition).

        Yes/no evidences: the figures. Others: the parent's figure times an assumed share
        (``ASSUMED_POSITIVE``), good enough to simulate with, and marked False in ``measured``.
        """
        result = self.recorded.copy()
        for j, evidence in enumerate(self.evidences):
            if evidence.type != "B":
                parent = self.parents[j]
                applicable = self.recorded[:, parent] if parent >= 0 else 1.0
                result[:, j] *= applicable * ASSUMED_POSITIVE.get(evidence.code, 1.0)
        return result

    @cached_property
    def prior(self) -> np.ndarray:
        """(n_conditions,) float64: relative frequency among the source's patients; sums to 1."""
        counts = np.array([condition.patients for condition in self.conditions], dtype=np.float64)
        return counts / counts.sum()

    @cached_property
    def severity(self) -> np.ndarray:
        """(n_conditions,) int8: 1 (life-threatening) to 5 (mild)."""
        return np.array([condition.severity for condition in self.conditions], dtype=np.int8)

    @cached_property
    def version(self) -> str:
        """Content hash: equal knowledge has an equal version."""
        content = json.dumps(
            [[asdict(c) for c in self.conditions], [asdict(e) for e in self.evidences]], sort_keys=True
        )
        digest = hashlib.sha256(content.encode())
        digest.update(np.ascontiguousarray(self.recorded).tobytes())
        return digest.hexdigest()[:16]

    def condition(self, name: str) -> Condition:
        """Return the condition of this name.

        Raises:
            KeyError: no such condition; the message has near matches.
        """
        return self.conditions[_position(self.condition_index, name, "condition")]

    def evidence(self, code: str) -> Evidence:
        """Return the evidence of this base code (``E_91``, without a value).

        Raises:
            KeyError: no such evidence; the message has near matches.
        """
        return self.evidences[_position(self.evidence_index, code, "evidence")]

    @classmethod
    def bundled(cls) -> CommonKnowledge:
        """Return the table that the package carries."""
        return _bundled()

    @classmethod
    def from_release(cls, directory: Path) -> CommonKnowledge:
        """Read conditions and evidences from the JSON files of a DDXPlus release.

        Codes, types, values, severities and ICD-10 ids are the site's; labels and questions are the bundled
        ones where the code is known, else the release's. Figures come from ``evidence_given_condition.csv``
        in the same folder if it is there, else from the bundled table.

        Raises:
            SourceError: a file is missing, is not JSON, lacks a field or has a condition without figures.
        """
        from medassets.knowledge.common_release import read_release

        return read_release(directory)


def ordered_values(values: Iterable[Value], default: str) -> tuple[Value, ...]:
    """Return values with the default first, the others by number, whatever the order of the release."""
    return tuple(sorted(values, key=lambda value: (value.code != default, *code_order(value.code))))


def code_order(code: str) -> tuple[int, str]:
    """Return a sort key by which E_2 comes before E_10, and codes without a number last."""
    tail = code.rpartition("_")[2]
    return (int(tail) if tail.isdigit() else 10**9, code)


def _position(index: dict[str, int], key: str, what: str) -> int:
    if key not in index:
        near = difflib.get_close_matches(key, index, n=3)
        raise KeyError(f"unknown {what} {key!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return index[key]


def figures_matrix(
    conditions: Iterable[Condition], evidences: Iterable[Evidence], figures: dict[tuple[str, str], float]
) -> np.ndarray:
    """Return figures by (condition, evidence) as a matrix; a pair that is not there has 0."""
    evidences = list(evidences)
    return np.array(
        [[figures.get((c.name, e.code), 0.0) for e in evidences] for c in conditions], dtype=np.float64
    )


@lru_cache(maxsize=1)
def _bundled() -> CommonKnowledge:
    data = files("medassets.knowledge") / "data"
    raw_conditions = json.loads((data / "common_conditions.json").read_text(encoding="utf-8"))
    raw_evidences = json.loads((data / "common_evidences.json").read_text(encoding="utf-8"))
    labels = json.loads((data / "common_values.json").read_text(encoding="utf-8"))
    figures: dict[tuple[str, str], float] = {}
    conditions = []
    for raw in raw_conditions:
        figures.update({(raw["name"], code): p for code, p in raw.pop("evidence").items()})
        conditions.append(
            Condition(**{**raw, "symptoms": tuple(raw["symptoms"]), "antecedents": tuple(raw["antecedents"])})
        )
    evidences = []
    for raw in raw_evidences:
        codes = raw.pop("values", [])
        if raw.pop("value_set", None) == "body_site":
            codes = [code for code, value in labels.items() if value["set"] == "body_site"]
        values = ordered_values((_value(code, labels.get(code)) for code in codes), raw["default"])
        evidences.append(Evidence(values=values, **raw))
    return CommonKnowledge(
        tuple(conditions), tuple(evidences), figures_matrix(conditions, evidences, figures)
    )


def _value(code: str, labels: dict[str, str] | None) -> Value:
    if labels is None:  # a degree: 0, 1, 2, ...
        return Value(code, code, code)
    return Value(code, labels["en"], labels["es"], labels.get("sex"))
