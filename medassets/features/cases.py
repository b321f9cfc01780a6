"""Cases as arrays of term indices: the form that every rare-disease method reads.

What belongs here: ``CaseSet``, built from the clinical tables or from one request. What does not: scores,
frequencies, splits. It is on the serving path: numpy, scipy and pyarrow only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from medassets.knowledge.ontology import Ontology


@dataclass(frozen=True, eq=False)
class CaseSet:
    """A set of cases in a fixed order.

    Attributes:
        case_ids: id of each case.
        disease_ids: diagnosis of each case, None where it is not known.
        observed: for each case the indices of its observed terms (int32, sorted, distinct, ancestors not
            added).
        excluded: the same for terms that were looked for and not found.
        age_days: float64 (n_cases,), age at last encounter in days, nan where unknown.
        sex: ``M``, ``F`` or ``unknown`` for each case.
        pmids: publications of each case, sorted; empty where none is named.
        origins: where each case comes from (``published_case``, ``simulated``, ...).
    """

    case_ids: list[str]
    disease_ids: list[str | None]
    observed: list[np.ndarray]
    excluded: list[np.ndarray]
    age_days: np.ndarray
    sex: list[str]
    pmids: list[tuple[str, ...]]
    origins: list[str]

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(lengths) != 1:
            raise ValueError(f"the fields of a CaseSet must be of one length, got {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.case_ids)

    def __getitem__(self, chosen: Sequence[int] | Sequence[bool] | np.ndarray | slice) -> CaseSet:
        """Return the cases chosen by a boolean mask, an array of positions or a slice, in that order."""
        if isinstance(chosen, slice):
            positions = np.arange(len(self))[chosen]
        else:
            positions = np.asarray(chosen)
            if positions.dtype == bool:
                if len(positions) != len(self):
                    raise IndexError(
                        f"a mask of {len(positions)} values cannot choose among {len(self)} cases"
                    )
                positions = np.flatnonzero(positions)
        positions = positions.astype(np.int64)
        return CaseSet(
            case_ids=[self.case_ids[i] for i in positions],
            disease_ids=[self.disease_ids[i] for i in positions],
            observed=[self.observed[i] for i in positions],
            excluded=[self.excluded[i] for i in positions],
            age_days=self.age_days[positions],
            sex=[self.sex[i] for i in positions],
            pmids=[self.pmids[i] for i in positions],
            origins=[self.origins[i] for i in positions],
        )

    @classmethod
    def from_tables(cls, cases: pa.Table, phenotypes: pa.Table, ontology: Ontology) -> CaseSet:
        """Build from ``clinical/rare_cases`` and ``clinical/case_phenotypes`` (or their simulated likes).

        The order is that of ``cases``; findings of other cases and ids that the ontology cannot resolve are
        left out.
        """
        ids = cases.column("case_id").to_pylist()
        observed, excluded = _grouped_findings(ids, phenotypes, ontology)
        ages = cases.column("age_days").to_numpy(zero_copy_only=False).astype(np.float64)
        return cls(
            case_ids=ids,
            disease_ids=cases.column("disease_id").to_pylist(),
            observed=observed,
            excluded=excluded,
            age_days=ages,
            sex=cases.column("sex").to_pylist(),
            pmids=[tuple(p) for p in cases.column("pmids").to_pylist()],
            origins=cases.column("origin").to_pylist(),
        )

    @classmethod
    def single(
        cls,
        ontology: Ontology,
        observed: Iterable[str],
        excluded: Iterable[str] = (),
        *,
        age_days: float | None = None,
        sex: str = "unknown",
        case_id: str = "request",
        origin: str = "ehr",
    ) -> CaseSet:
        """Build a set of one case from HPO ids, as a request gives them.

        Raises:
            ValueError: an id is not in the ontology or was withdrawn without successor; the message names all
                of them.
        """
        observed, excluded = list(observed), list(excluded)
        unknown = [term for term in (*observed, *excluded) if ontology.resolve(term) is None]
        if unknown:
            raise ValueError(f"not in HPO {ontology.version}: {', '.join(unknown)}")
        return cls(
            [case_id], [None], [_indices(observed, ontology)], [_indices(excluded, ontology)],
            np.array([np.nan if age_days is None else age_days]), [sex], [()], [origin],
        )  # fmt: skip

    def concatenate(self, other: CaseSet) -> CaseSet:
        """Return the cases of both sets, these first."""
        fields = {
            name: getattr(self, name) + getattr(other, name)
            for name in self.__dataclass_fields__
            if name != "age_days"
        }
        return CaseSet(**fields, age_days=np.concatenate([self.age_days, other.age_days]))

    def matrix(self, n_terms: int, *, excluded: bool = False) -> sp.csr_matrix:
        """Return float32 (n_cases, n_terms), 1 for each observed (or excluded) term, ancestors not added."""
        rows = self.excluded if excluded else self.observed
        pointers = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int32)
        columns = np.concatenate([np.empty(0, np.int32), *rows])
        return sp.csr_matrix(
            (np.ones(len(columns), np.float32), columns, pointers), shape=(len(self), n_terms)
        )

    def implied_matrix(self, ontology: Ontology) -> sp.csr_matrix:
        """Return float32 (n_cases, n_terms) with 1 for each observed term and each of its ancestors."""
        implied = self.matrix(len(ontology)) @ ontology.closure.astype(np.float32)
        implied.data[:] = 1.0
        implied.sort_indices()
        return implied


def _indices(term_ids: Iterable[str], ontology: Ontology) -> np.ndarray:
    """Return the sorted distinct indices of the ids that resolve."""
    resolved = (ontology.resolve(term_id) for term_id in term_ids)
    return np.array(sorted({ontology.index[term] for term in resolved if term is not None}), dtype=np.int32)


def _grouped_findings(
    case_ids: list[str], phenotypes: pa.Table, ontology: Ontology
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return observed and excluded term indices of each case, in the order of ``case_ids``."""
    position = {case_id: i for i, case_id in enumerate(case_ids)}
    case = _codes(phenotypes.column("case_id"), lambda text: position.get(text, -1))
    term = _codes(
        phenotypes.column("hpo_id"), lambda text: ontology.index.get(ontology.resolve(text) or "", -1)
    )
    is_excluded = phenotypes.column("excluded").to_numpy(zero_copy_only=False).astype(bool)
    usable = (case >= 0) & (term >= 0)
    return (
        _split_by_case(case, term, usable & ~is_excluded, len(case_ids)),
        _split_by_case(case, term, usable & is_excluded, len(case_ids)),
    )


def _split_by_case(case: np.ndarray, term: np.ndarray, chosen: np.ndarray, n_cases: int) -> list[np.ndarray]:
    """Return for each case its sorted distinct terms among the chosen rows."""
    pairs = (
        np.unique(np.stack([case[chosen], term[chosen]]), axis=1)
        if chosen.any()
        else np.empty((2, 0), np.int64)
    )
    ends = np.searchsorted(pairs[0], np.arange(1, n_cases))
    return [part.astype(np.int32) for part in np.split(pairs[1], ends)][:n_cases]


def _codes(values: pa.ChunkedArray, lookup: Callable[[str], int]) -> np.ndarray:
    """Return ``lookup`` of each text, each distinct text looked up once, as int64."""
    encoded = values.combine_chunks().dictionary_encode()
    table = np.array([lookup(text) for text in encoded.dictionary.to_pylist()], dtype=np.int64)
    return table[encoded.indices.to_numpy(zero_copy_only=False)] if len(table) else np.empty(0, np.int64)
