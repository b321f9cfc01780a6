"""What is known of each candidate disease: annotation rows, and the sparse profiles that follow from them.

What belongs here: ``RareKnowledge`` and profiles of terms. What does not: likelihood ratios
(``rare_ratios``), known cases (``rare_memory``) and anything learned (``learners.rare``). It is on the
serving path: numpy, scipy and pyarrow only.

Sources: the annotations of the HPO project; a disease that shows a term shows each of its ancestors at
least as often (the true-path rule).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.knowledge.annotations import UNSTATED_FREQUENCY
from medassets.knowledge.ontology import Ontology


class Equivalences(Protocol):
    """What is needed of a crosswalk: one canonical id for all ids that mean the same disease."""

    def canonical(self, disease_id: str) -> str:
        """Return the canonical id of a disease, the id itself where no equivalence is known."""


class Identity:
    """The crosswalk that merges nothing."""

    def canonical(self, disease_id: str) -> str:
        """Return the id itself."""
        return disease_id


@dataclass(frozen=True, eq=False)
class RareKnowledge:
    """What the annotations say of each candidate disease.

    Attributes:
        ontology: the ontology whose terms the indices mean.
        candidates: canonical ids of the diseases that are ranked, sorted.
        names: name of each candidate.
        equivalents: all ids that mean each candidate.
        genes: symbols of the genes tied to each candidate, may be empty.
        disease: int32 (n_rows,), candidate of each annotation row.
        term: int32 (n_rows,), term of each row.
        frequency: float32 (n_rows,), share of patients, 0 for NOT.
        counted: bool (n_rows,), whether the frequency was counted in patients.
        foreign: bool (n_rows,), whether the row comes from an equivalent entry of another catalogue
            (Orphanet).
        references: publications of each row.
    """

    ontology: Ontology
    candidates: list[str]
    names: list[str]
    equivalents: list[tuple[str, ...]]
    genes: list[tuple[str, ...]]
    disease: np.ndarray
    term: np.ndarray
    frequency: np.ndarray
    counted: np.ndarray
    foreign: np.ndarray
    references: list[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def index(self) -> dict[str, int]:
        """Column of each candidate, under its canonical id and all its equivalents."""
        columns = {other: i for i, ids in enumerate(self.equivalents) for other in ids}
        columns.update({disease: i for i, disease in enumerate(self.candidates)})
        return columns

    @property
    def has_annotation(self) -> np.ndarray:
        """Bool array (n_candidates,): whether an annotation row of the disease's own entry is known."""
        return np.bincount(self.disease[~self.foreign], minlength=len(self)) > 0

    @classmethod
    def build(
        cls,
        ontology: Ontology,
        annotations: pa.Table,
        cases: CaseSet | None = None,
        *,
        crosswalk: Equivalences | None = None,
        labels: Mapping[str, str] | None = None,
        genes: Mapping[str, Iterable[str]] | None = None,
        databases: Collection[str] | None = None,
    ) -> RareKnowledge:
        """Gather what is known of every annotated disease and every disease of ``cases``.

        Args:
            ontology: resolves the term ids.
            annotations: table of ``knowledge.annotations.read_annotations``; only phenotype rows (aspect P)
                count.
            cases: cases whose diseases are candidates as well.
            crosswalk: merges equivalent diseases; without it each id is its own disease.
            labels: names of diseases that the annotations do not name.
            genes: symbols of genes by disease id.
            databases: prefixes to keep, for example ``("OMIM",)``; all when None. A disease of another
                database that is equivalent to a kept one still gives its rows.
        """
        same = crosswalk or Identity()
        rows = annotations.filter(pa.compute.equal(annotations["aspect"], "P"))
        sources = rows["disease_id"].to_pylist()
        ids = sorted(set(sources) | {d for d in (cases.disease_ids if cases else ()) if d is not None})
        canonical = {d: same.canonical(d) for d in ids}
        members: dict[str, list[str]] = {}
        for d in ids:
            members.setdefault(canonical[d], []).append(d)
        kept = sorted(c for c in members if databases is None or c.split(":")[0] in databases)
        column = {c: i for i, c in enumerate(kept)}
        named = dict(labels or {}) | {
            d: n for d, n in zip(sources, rows["name"].to_pylist(), strict=True) if n
        }
        disease = np.array([column.get(canonical[d], -1) for d in sources], np.int32)
        term = np.array([ontology.index[t] for t in rows["hpo_id"].to_pylist()], np.int32)
        frequency = np.array(rows["frequency"].fill_null(UNSTATED_FREQUENCY).to_numpy(), np.float32)
        counted = rows["n_patients"].is_valid().to_numpy()
        foreign = np.array([canonical[d].split(":")[0] != d.split(":")[0] for d in sources], bool)
        references = [tuple(r) for r in rows["references"].to_pylist()]
        keep = np.flatnonzero(disease >= 0)
        by_gene = genes or {}
        return cls(
            ontology,
            kept,
            [named.get(c) or next((named[m] for m in members[c] if named.get(m)), c) for c in kept],
            [tuple(sorted({c, *members[c]})) for c in kept],
            [tuple(sorted({g for m in {c, *members[c]} for g in by_gene.get(m, ())})) for c in kept],
            disease[keep], term[keep], frequency[keep], counted[keep], foreign[keep],
            [references[i] for i in keep],
        )  # fmt: skip

    def cites(self, pmids: Collection[str]) -> bool:
        """Whether an annotation row cites one of ``pmids``."""
        publications = frozenset(pmids)
        return not all(publications.isdisjoint(r) for r in self.references)

    def without_publications(self, pmids: Collection[str]) -> RareKnowledge:
        """Return the knowledge without the rows that cite one of ``pmids``; the candidates stay."""
        left_out = frozenset(pmids)
        return self._keep(np.flatnonzero([left_out.isdisjoint(r) for r in self.references]))

    def without_diseases(self, left_out: np.ndarray) -> RareKnowledge:
        """Return the knowledge without the rows of some diseases; the candidates stay.

        Args:
            left_out: bool (n_candidates,).
        """
        return self._keep(np.flatnonzero(~left_out[self.disease]))

    def _keep(self, rows: np.ndarray) -> RareKnowledge:
        return replace(
            self, disease=self.disease[rows], term=self.term[rows], frequency=self.frequency[rows],
            counted=self.counted[rows], foreign=self.foreign[rows],
            references=[self.references[i] for i in rows],
        )  # fmt: skip

    def labels(self, cases: CaseSet) -> np.ndarray:
        """Return int64 (n_cases,): the candidate of each case's diagnosis, -1 where it is none."""
        columns = self.index
        return np.array([columns.get(d or "", -1) for d in cases.disease_ids], dtype=np.int64)

    def raw_profiles(self, *, foreign: bool = False) -> sp.csr_matrix:
        """Return float32 (n_candidates, n_terms): mean frequency of annotated terms, NOT as a stored 0."""
        rows = np.flatnonzero(self.foreign == foreign)
        shape = (len(self), len(self.ontology))
        key = self.disease[rows].astype(np.int64) * shape[1] + self.term[rows]
        unique, position = np.unique(key, return_inverse=True)
        mean = np.bincount(position, self.frequency[rows]) / np.maximum(np.bincount(position), 1)
        return _from_keys(unique, mean.astype(np.float32), shape)

    def publication_profiles(self) -> tuple[sp.csr_matrix, sp.csr_matrix, np.ndarray]:
        """Return what each source of a disease lists: one row a disease and reference, sorted by disease.

        Returns:
            Two float32 (n_sources, n_terms) matrices, 1 at each term assessed and the frequency of each
            term seen, and int32 (n_sources,) the candidate of each row.
        """
        number: dict[tuple[int, str], int] = {}
        owners = self.disease.tolist()
        pairs = [(i, (owners[i], r)) for i in range(len(owners)) for r in self.references[i]]
        for source in sorted({source for _, source in pairs}):
            number[source] = len(number)
        rows = np.array([i for i, _ in pairs], np.int64)
        source_of = np.array([number[source] for _, source in pairs], np.int64)
        shape = (len(number), len(self.ontology))
        unique, position = np.unique(source_of * shape[1] + self.term[rows], return_inverse=True)
        frequency = np.zeros(len(unique), np.float32)
        np.maximum.at(frequency, position, self.frequency[rows])
        candidate = np.fromiter((disease for disease, _ in number), np.int32, len(number))
        seen = _from_keys(unique, frequency, shape)
        assessed = _from_keys(unique, np.ones_like(frequency), shape)
        return assessed, seen, candidate

    def profiles(self, *, foreign: bool = False) -> sp.csr_matrix:
        """Return float32 (n_candidates, n_terms): frequencies, carried up to the ancestors."""
        return true_path(self.raw_profiles(foreign=foreign), self.ontology)


def _from_keys(keys: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """Return the CSR matrix of sorted distinct flat positions."""
    pointers = np.searchsorted(keys, np.arange(shape[0] + 1, dtype=np.int64) * shape[1])
    return sp.csr_matrix((values, (keys % shape[1]).astype(np.int32), pointers.astype(np.int32)), shape=shape)


def true_path(raw: sp.csr_matrix, ontology: Ontology) -> sp.csr_matrix:
    """Carry each positive value up to the ancestors of its term, keeping the largest.

    Args:
        raw: (n, n_terms).
        ontology: whose terms the columns are.

    Returns:
        float32 (n, n_terms), sorted indices, no explicit zeros.
    """
    entries = raw.tocoo()
    positive = entries.data > 0
    rows, terms, values = entries.row[positive], entries.col[positive], entries.data[positive]
    closure = ontology.closure
    lengths = np.diff(closure.indptr)[terms]
    starts = np.repeat(closure.indptr[terms] - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    implied = closure.indices[np.arange(lengths.sum()) + starts] if len(terms) else np.empty(0, np.int32)
    key = np.repeat(rows, lengths).astype(np.int64) * raw.shape[1] + implied
    value = np.repeat(values, lengths)
    order = np.argsort(key, kind="stable")
    key, value = key[order], value[order]
    first = (
        np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.empty(0, np.int64)
    )
    largest = np.maximum.reduceat(value, first) if len(first) else value
    return _from_keys(key[first], largest.astype(np.float32), raw.shape)
