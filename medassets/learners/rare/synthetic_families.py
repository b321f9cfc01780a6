"""Disease families as binary phenotype tables, and generated rows back as clinical tables.

What belongs here: which diseases stand together, which terms are the table's columns, and turning generated
rows into ``clinical/rare_cases`` and ``clinical/case_phenotypes``. What does not: the generators
(``synthetic_sdv``, ``synthetic_oversampling``).

A family is an organ system: the one that most of a disease's observed terms lie in. A generator then sees
enough rows to learn how findings go together, which one rare disease alone never has.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from medassets.cohorts.tables import TABLES, conform
from medassets.features.cases import CaseSet
from medassets.knowledge.ontology import Ontology


@dataclass(frozen=True, eq=False)
class Family:
    """The known cases of related diseases as a table of yes and no.

    Attributes:
        name: organ system.
        terms: int (n_columns,), indices of the terms that are columns.
        present: bool (n_cases, n_columns), observed or implied.
        diseases: disease of each row.
        sexes: sex of each row.
        ages: age of each row in days, nan where unknown.
    """

    name: str
    terms: np.ndarray
    present: np.ndarray
    diseases: list[str]
    sexes: list[str]
    ages: np.ndarray


@dataclass(frozen=True)
class SyntheticCases:
    """Generated cases in the schemas of ``clinical/rare_cases`` and ``clinical/case_phenotypes``.

    ``notes`` says which families gave none, and why.
    """

    cases: pa.Table
    phenotypes: pa.Table
    notes: tuple[str, ...] = ()


def families(
    cases: CaseSet, ontology: Ontology, *, largest: int, min_disease_cases: int = 10, max_terms: int = 40
) -> list[Family]:
    """Return the largest families, most cases first.

    Args:
        cases: training cases.
        ontology: whose terms the indices mean.
        largest: how many families.
        min_disease_cases: diseases with fewer cases take no part.
        max_terms: columns of a family: its most frequent observed terms.
    """
    names = np.array([d or "" for d in cases.disease_ids], dtype=object)
    distinct, counts = np.unique(names, return_counts=True)
    members: dict[str, list[int]] = {}
    for disease in distinct[(counts >= min_disease_cases) & (distinct != "")]:
        rows = np.flatnonzero(names == disease)
        systems = [s for i in rows for t in cases.observed[i] for s in ontology.organ_systems(int(t))]
        if systems:
            system, seen = np.unique(systems, return_counts=True)
            members.setdefault(ontology.names[system[seen.argmax()]], []).extend(rows.tolist())
    implied = cases.implied_matrix(ontology)
    observed = cases.matrix(len(ontology))
    chosen = sorted(members, key=lambda name: (-len(members[name]), name))[:largest]
    return [_family(name, np.array(members[name]), cases, implied, observed, max_terms) for name in chosen]


def to_tables(
    family: Family,
    present: np.ndarray,
    diseases: list[str],
    sexes: list[str],
    ages: np.ndarray,
    ontology: Ontology,
    *,
    origin: str,
) -> SyntheticCases:
    """Return generated rows as clinical tables; only the most specific terms of a row are kept.

    Args:
        family: whose columns the rows have.
        present: bool (n_rows, n_columns).
        diseases: disease of each row.
        sexes: sex of each row.
        ages: age of each row in days, nan where none.
        ontology: whose terms the columns mean.
        origin: generator, written in every row.
    """
    case_rows: list[dict[str, object]] = []
    finding_rows: list[dict[str, object]] = []
    for number, row in enumerate(present):
        case_id = f"{origin}:{family.name}:{number}"
        terms = ontology.most_specific([int(t) for t in family.terms[row]])
        if not terms:
            continue
        age = None if not np.isfinite(ages[number]) else int(ages[number])
        case_rows.append(
            {
                "case_id": case_id,
                "cohort": family.name,
                "subject_id": None,
                "sex": sexes[number],
                "age_days": age,
                "disease_id": diseases[number],
                "disease_label": None,
                "genes": [],
                "pmids": [],
                "hpo_version": ontology.version,
                "n_observed": len(terms),
                "n_excluded": 0,
                "completeness": 1.0,
                "complete_enough": True,
                "origin": origin,
                "source_file": "generated",
            }
        )
        finding_rows += [
            {
                "case_id": case_id,
                "hpo_id": ontology.terms[t],
                "source_hpo_id": ontology.terms[t],
                "label": ontology.names[t],
                "excluded": False,
                "onset_days": None,
                "origin": origin,
            }
            for t in terms
        ]
    tables = []
    for key, rows in (("clinical/rare_cases", case_rows), ("clinical/case_phenotypes", finding_rows)):
        schema = TABLES[key].schema
        tables.append(conform(pa.Table.from_pylist(rows, schema=schema), TABLES[key]))
    return SyntheticCases(tables[0], tables[1])


def join(parts: list[SyntheticCases]) -> SyntheticCases:
    """Return all parts as one; empty tables where there are none."""
    if not parts:
        return nothing("no family is large enough")
    return SyntheticCases(
        pa.concat_tables([p.cases for p in parts]),
        pa.concat_tables([p.phenotypes for p in parts]),
        tuple(note for p in parts for note in p.notes),
    )


def nothing(note: str) -> SyntheticCases:
    """Return empty tables and the reason."""
    empty = [TABLES[key].schema.empty_table() for key in ("clinical/rare_cases", "clinical/case_phenotypes")]
    return SyntheticCases(empty[0], empty[1], (note,))


def _family(
    name: str, rows: np.ndarray, cases: CaseSet, implied: object, observed: object, max_terms: int
) -> Family:
    """Cut one family's table out of all cases."""
    seen = np.asarray(observed[rows].sum(axis=0)).ravel()  # type: ignore[index]
    terms = np.sort(np.argsort(-seen, kind="stable")[:max_terms])
    terms = terms[seen[terms] > 1]
    present = implied[rows][:, terms].toarray() > 0  # type: ignore[index]
    return Family(
        name,
        terms,
        present,
        [cases.disease_ids[i] or "" for i in rows],
        [cases.sex[i] for i in rows],
        cases.age_days[rows],
    )
