"""The catalogue of diseases: one row a disease, however many terminologies hold it.

What belongs here: building ``clinical/disease_catalogue`` from annotations, crosswalk, cases and common
conditions. What does not: deciding what is equivalent (``medassets.knowledge.crosswalk``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

import pyarrow as pa

from medassets.cohorts.tables import TABLES, conform
from medassets.knowledge.crosswalk import Crosswalk


class CommonCondition(Protocol):
    """What the catalogue needs of a common condition."""

    @property
    def name(self) -> str:
        """English name."""

    @property
    def icd10(self) -> str:
        """ICD-10 code."""


def common_id(name: str) -> str:
    """Return the catalogue id of a common condition, for example ``common:acute-otitis-media``."""
    return "common:" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def disease_catalogue(
    annotations: pa.Table,
    crosswalk: Crosswalk,
    case_diseases: Mapping[str, str | None] | None = None,
    common_conditions: Iterable[CommonCondition] = (),
) -> pa.Table:
    """Return ``clinical/disease_catalogue``, sorted by id.

    Args:
        annotations: table of ``medassets.knowledge.annotations.read_annotations``.
        crosswalk: equivalences; its origin stands in every row.
        case_diseases: ids and names of diseases that cases have; those without annotation are catalogued too.
        common_conditions: common conditions, under ``common:<name>`` with their ICD-10 code as equivalent.
    """
    ids = annotations.column("disease_id").to_pylist()
    names = dict(zip(ids, annotations.column("name").to_pylist(), strict=True))
    counts: Counter[str] = Counter()
    for disease_id, n in Counter(ids).items():
        counts[crosswalk.canonical(disease_id)] += n
    for disease_id, label in (case_diseases or {}).items():
        counts.setdefault(crosswalk.canonical(disease_id), 0)
        names.setdefault(disease_id, label)
    rows = []
    for disease_id, n in counts.items():
        equivalents = crosswalk.equivalents(disease_id)
        name = next((names[other] for other in equivalents if names.get(other)), disease_id)
        rows.append(
            (disease_id, name, list(equivalents), crosswalk.mondo(disease_id), "rare", n, crosswalk.origin)
        )
    for condition in common_conditions:
        code = f"ICD10:{condition.icd10.upper()}" if condition.icd10 else None
        identifier = common_id(condition.name)
        known = [identifier, code] if code else [identifier]
        rows.append((identifier, condition.name, known, None, "common", 0, crosswalk.origin))
    spec = TABLES["clinical/disease_catalogue"]
    columns = zip(*sorted(rows), strict=True) if rows else [[] for _ in spec.schema]
    arrays = [
        pa.array(list(values), type=field.type) for values, field in zip(columns, spec.schema, strict=True)
    ]
    return conform(pa.Table.from_arrays(arrays, names=spec.schema.names), spec)
