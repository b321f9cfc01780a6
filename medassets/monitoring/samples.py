"""What drift compares: patients of the training data and of a window of the log, in one form.

What belongs here: turning tables into samples with the same columns. What does not: the comparison
(``drift``) and which version of the training data is the reference (the served bundle's manifest says, see
``orchestration.monitoring``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from medassets.evaluation.fairness import age_group_names
from medassets.features.cases import CaseSet
from medassets.features.common import UNKNOWN, EvidenceError, EvidenceSpace
from medassets.knowledge.ontology import Ontology
from medassets.serving.requests import DAYS_PER_YEAR

#: Most findings of rare cases that are compared, the most frequent ones.
MOST_TERMS = 120
#: Most rows of the reference; a seeded draw beyond.
MOST_ROWS = 4000


@dataclass(frozen=True)
class Sample:
    """Patients as drift sees them.

    Attributes:
        features: names of the columns.
        labels: what each means, in words.
        values: (n, len(features)) float32: 1 present, 0 absent, NaN unknown.
        age: (n,) years, NaN where unknown.
        groups: (n,) object each: ``sex``, ``age``, ``site``.
        first: (n,) object, first candidate of the answer, None where nothing was asked.
        probability: (n,) its probability, NaN without one.
    """

    features: tuple[str, ...]
    labels: tuple[str, ...]
    values: np.ndarray
    age: np.ndarray
    groups: Mapping[str, np.ndarray]
    first: np.ndarray
    probability: np.ndarray

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray) -> Sample:
        """These rows (indices or a mask)."""
        return replace(
            self,
            values=self.values[rows],
            age=self.age[rows],
            groups={name: of[rows] for name, of in self.groups.items()},
            first=self.first[rows],
            probability=self.probability[rows],
        )

    def columns(self, chosen: Sequence[int]) -> Sample:
        """These features."""
        return replace(
            self,
            features=tuple(self.features[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
            values=self.values[:, list(chosen)],
        )


def common_reference(
    patients: pa.Table,
    space: EvidenceSpace,
    words: Mapping[str, str],
    conditions: Sequence[str] = (),
    predict: Callable[[np.ndarray], np.ndarray] | None = None,
    seed: int = 0,
) -> Sample:
    """Patients of the training data, with what the served model says of them.

    Args:
        patients: rows of ``clinical/common_patients`` at the bundle's version.
        space: evidence space of the bundle.
        words: what each evidence is called.
        conditions: names of the columns of what ``predict`` gives.
        predict: (n, n_features) matrix to (n, n_conditions) probabilities of the served bundle.
        seed: of the draw where there are more than ``MOST_ROWS`` rows.
    """
    if patients.num_rows > MOST_ROWS:
        chosen = np.random.default_rng(seed).choice(patients.num_rows, MOST_ROWS, replace=False)
        patients = patients.take(pa.array(np.sort(chosen)))
    matrix = space.encode_table(patients)
    first, probability = _nothing(len(matrix))
    if predict is not None and len(matrix):
        p = predict(matrix)
        first = np.array(conditions, dtype=object)[p.argmax(1)]
        probability = p.max(1)
    ages = np.array([np.nan if a is None else a for a in patients.column("age").to_pylist()], dtype=float)
    sexes = np.array(patients.column("sex").to_pylist(), dtype=object)
    return _common(matrix, space, words, ages, _groups(sexes, ages, None), first, probability)


def common_window(log: pa.Table, space: EvidenceSpace, words: Mapping[str, str]) -> Sample:
    """Rows of the log that asked for common conditions; rows that the space cannot read are left out."""
    rows, encoded = [], []
    for row in log.to_pylist():
        if not row["common_candidates"]:
            continue
        absent = None if row["complete"] else row["absent"]
        try:
            vector = space.encode(
                row["present"], row["unanswered"], row["age_years"], row["sex"], absent=absent
            )
        except EvidenceError:
            continue  # an answer of an earlier bundle's space
        rows.append(row)
        encoded.append(vector)
    matrix = np.array(encoded, dtype=np.int8).reshape(len(rows), space.n_features)
    ages = _ages(rows)
    return _common(matrix, space, words, ages, _logged_groups(rows, ages), *_answers(rows, "common"))


def rare_reference(cases: CaseSet, ontology: Ontology) -> Sample:
    """Cases that the served memory was learned from; the model's own answers to them would tell nothing."""
    ages = cases.age_days / DAYS_PER_YEAR
    groups = _groups(np.array(cases.sex, dtype=object), ages, None)
    return _rare(cases.implied_matrix(ontology).toarray(), ontology, ages, groups, *_nothing(len(cases)))


def rare_window(log: pa.Table, ontology: Ontology) -> Sample:
    """Rows of the log that asked for rare diseases."""
    rows = [row for row in log.to_pylist() if row["rare_candidates"]]
    implied = np.zeros((len(rows), len(ontology)), dtype=np.float32)
    for place, row in enumerate(rows):
        found = [ontology.index[term] for term in map(ontology.resolve, row["observed"]) if term]
        implied[place, sorted(ontology.implied(found))] = 1
    ages = _ages(rows)
    return _rare(implied, ontology, ages, _logged_groups(rows, ages), *_answers(rows, "rare"))


def most_frequent(reference: Sample, current: Sample, most: int = MOST_TERMS) -> list[int]:
    """Columns that are present most often in either sample, in their order."""
    share = np.maximum(_present(reference), _present(current))
    order = np.argsort(-share, kind="stable")[:most]
    return sorted(int(i) for i in order if share[i] > 0)


def _present(sample: Sample) -> np.ndarray:
    if not len(sample):
        return np.zeros(len(sample.features))
    return np.nan_to_num(sample.values).mean(axis=0)


def _common(
    matrix: np.ndarray,
    space: EvidenceSpace,
    words: Mapping[str, str],
    ages: np.ndarray,
    groups: Mapping[str, np.ndarray],
    first: np.ndarray,
    probability: np.ndarray,
) -> Sample:
    base = matrix[:, space.base].astype(np.float32)
    base[base == UNKNOWN] = np.nan
    labels = tuple(words.get(code, code) for code in space.codes)
    return Sample(tuple(space.codes), labels, base, ages, groups, first, probability)


def _rare(
    implied: np.ndarray,
    ontology: Ontology,
    ages: np.ndarray,
    groups: Mapping[str, np.ndarray],
    first: np.ndarray,
    probability: np.ndarray,
) -> Sample:
    # Everyone has a phenotypic abnormality; what implies nothing more says nothing.
    roots = {"HP:0000001", "HP:0000118"}
    kept = [i for i in np.flatnonzero(ontology.is_phenotype) if ontology.terms[i] not in roots]
    names = tuple(ontology.terms[i] for i in kept)
    labels = tuple(ontology.names[i] for i in kept)
    return Sample(names, labels, implied[:, kept].astype(np.float32), ages, groups, first, probability)


def _groups(sexes: np.ndarray, ages: np.ndarray, sites: np.ndarray | None) -> dict[str, np.ndarray]:
    groups = {"sex": sexes, "age": age_group_names(np.floor(ages)).astype(object)}
    return groups if sites is None else groups | {"site": sites}


def _logged_groups(rows: Sequence[Mapping[str, Any]], ages: np.ndarray) -> dict[str, np.ndarray]:
    sexes, sites = (np.array([row[name] for row in rows], dtype=object) for name in ("sex", "site"))
    return _groups(sexes, ages, sites)


def _ages(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    return np.array([np.nan if row["age_years"] is None else row["age_years"] for row in rows], dtype=float)


def _answers(rows: Sequence[Mapping[str, Any]], part: str) -> tuple[np.ndarray, np.ndarray]:
    first = np.full(len(rows), None, dtype=object)
    first[:] = [row[f"{part}_candidates"][0] for row in rows]
    return first, np.array([row[f"{part}_probability"] for row in rows], dtype=float)


def _nothing(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(n, None, dtype=object), np.full(n, np.nan)
