"""The case memory of the rare-disease ranker: everything that annotations and known cases say, ready for
scoring.

What belongs here: ``CaseMemory``, fitted by counting and one linear solve from ``RareKnowledge`` and cases.
It holds no learned weight of the ranker, so that it can be refitted on more cases, or without some
publications, in seconds.
What does not: the evidence of a new case (``rare_evidence``). It is on the serving path: numpy and scipy
only.

Sources: information content after Resnik (1995); kernel ridge regression onto diseases after Saunders et
al. (1998).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_arrays import load_array, save_array, scale_columns, unit_rows
from medassets.features.rare_ratios import count_cases, update_with_cases

#: Ways to compare two cases: terms implied by the observed ones, observed, assessed (observed or excluded),
#: signed
#: (observed for, excluded against) and excluded terms.
KERNELS = ("implied", "observed", "assessed", "signed", "excluded")
#: Weight of the kernels that the ridge regression sums.
RIDGE_KERNELS = {"implied": 1.0, "observed": 0.5, "assessed": 0.5}
#: What is known about a candidate, each on a log scale except ``counted`` (share of rows counted in
#: patients).
META = ("shots", "publications", "rows", "references", "counted", "foreign_rows", "excluded_per_case")
_RIDGE = 0.3
#: Cases whose kernel is computed at once.
_BLOCK = 512
#: What an excluded term weighs against an observed one in the signed kernel.
AGAINST = 0.6


@dataclass(frozen=True, eq=False)
class CaseMemory:
    """What is known, as arrays. D candidates, T terms, N known cases, W candidates with a case, A active
    terms.

    Attributes:
        ic: (T,) information content over annotated diseases, nats.
        case_ic: (T,) information content over known cases.
        background: (T,) mean of ``own`` over candidates.
        background_updated: (T,) the same after the cases.
        meta: (D, len(META)) what is known about each candidate.
        own: (D, T) annotated frequencies, closed under the true-path rule.
        foreign: (D, T) the same from equivalent entries of other catalogues.
        links: (D, T) weights of the annotated terms; times information content they sum to 1.
        foreign_links: (D, T) the same for foreign rows.
        listed: (D, T) information content of the annotated terms, rows of length 1.
        assessed: (D, T) 1 at each annotated term, NOT rows included.
        source_assessed: (R, T) 1 at the terms that one source of a disease lists, rows of length 1.
        source_seen: (R, T) information-weighted frequencies of one source, rows of length 1.
        source_start: (S,) first source of each candidate that has some.
        source_candidate: (S,) those candidates, ascending.
        with_cases: (W,) candidates with a case, ascending.
        active: (T,) row of each term in ``updated`` and ``ridge``; the last row, all zero, where it has none.
        updated: (A, W) frequencies of the candidates with cases, after their cases.
        ridge: (len(RIDGE_KERNELS), A, W) weights of the ridge regression on unit query vectors.
        case_position: (N,) position in the fitted CaseSet of each row of the kernels, sorted by candidate.
        case_start: (W,) first row of each candidate's cases.
        kernels: for each of ``KERNELS`` (N, T), rows of length 1.
        sexes: (D, 2) known female and male cases.
    """

    ic: np.ndarray
    case_ic: np.ndarray
    background: np.ndarray
    background_updated: np.ndarray
    meta: np.ndarray
    own: sp.csr_matrix
    foreign: sp.csr_matrix
    links: sp.csr_matrix
    foreign_links: sp.csr_matrix
    listed: sp.csr_matrix
    assessed: sp.csr_matrix
    source_assessed: sp.csr_matrix
    source_seen: sp.csr_matrix
    source_start: np.ndarray
    source_candidate: np.ndarray
    with_cases: np.ndarray
    active: np.ndarray
    updated: np.ndarray
    ridge: np.ndarray
    case_position: np.ndarray
    case_start: np.ndarray
    kernels: dict[str, sp.csr_matrix]
    sexes: np.ndarray

    @classmethod
    def fit(cls, knowledge: RareKnowledge, cases: CaseSet) -> CaseMemory:
        """Count and solve.

        Args:
            knowledge: annotations of the candidates.
            cases: known cases; those whose diagnosis is no candidate are left out.
        """
        labels = knowledge.labels(cases)
        order = np.flatnonzero(labels >= 0)
        order = order[np.argsort(labels[order], kind="stable")]
        known, label = cases[order], labels[order]
        with_cases, start = np.unique(label, return_index=True)
        own, foreign = knowledge.profiles(), knowledge.profiles(foreign=True)
        raw, raw_foreign = knowledge.raw_profiles(), knowledge.raw_profiles(foreign=True)
        counts = count_cases(known, label, len(knowledge), knowledge.ontology)
        updated = update_with_cases(own, counts)
        implied = known.implied_matrix(knowledge.ontology)
        ic = _information(own)
        case_ic = _case_information(implied)
        kernels = case_vectors(known, implied, case_ic)
        active_terms = np.unique(np.concatenate([updated[with_cases].indices, kernels["assessed"].indices]))
        active = np.full(own.shape[1], len(active_terms), np.int32)
        active[active_terms] = np.arange(len(active_terms))
        column = np.searchsorted(with_cases, label)
        source_assessed, source_seen, source_disease = knowledge.publication_profiles()
        source_candidate, source_start = np.unique(source_disease, return_index=True)
        return cls(
            ic=ic,
            case_ic=case_ic,
            background=_mean(own),
            background_updated=_mean(updated),
            meta=_meta(knowledge, known, label, counts.absent),
            own=own,
            foreign=foreign,
            links=_links(raw, ic),
            foreign_links=_links(raw_foreign, ic),
            listed=unit_rows(scale_columns(_ones(raw, positive=True), ic)),
            assessed=_ones(raw),
            source_assessed=unit_rows(source_assessed),
            source_seen=unit_rows(scale_columns(source_seen, ic)),
            source_start=source_start.astype(np.int32),
            source_candidate=source_candidate.astype(np.int32),
            with_cases=with_cases.astype(np.int32),
            active=active,
            updated=_dense_rows(updated[with_cases], active_terms),
            ridge=_ridge_weights(kernels, column, len(with_cases), known.pmids, active_terms),
            case_position=order.astype(np.int32),
            case_start=start.astype(np.int32),
            kernels=kernels,
            sexes=_sexes(known, label, len(knowledge)),
        )

    @property
    def shots(self) -> np.ndarray:
        """Int64 (D,): known cases of each candidate."""
        shots = np.zeros(self.own.shape[0], np.int64)
        shots[self.with_cases] = np.diff(np.append(self.case_start, len(self.case_position)))
        return shots

    def save(self, directory: Path) -> None:
        """Write each array as a file of its own."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "kernels":
                for kernel, matrix in value.items():
                    save_array(directory, f"kernel_{kernel}", matrix)
            else:
                save_array(directory, field.name, value)

    @classmethod
    def load(cls, directory: Path) -> CaseMemory:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: an array is missing.
        """
        arrays = {f.name: load_array(directory, f.name) for f in fields(cls) if f.name != "kernels"}
        return cls(**arrays, kernels={k: load_array(directory, f"kernel_{k}") for k in KERNELS})


def case_vectors(cases: CaseSet, implied: sp.csr_matrix, case_ic: np.ndarray) -> dict[str, sp.csr_matrix]:
    """Return each case as a unit vector over terms, one (n_cases, n_terms) matrix for each of ``KERNELS``.

    Args:
        cases: the cases.
        implied: (n_cases, n_terms) observed terms with their ancestors.
        case_ic: (n_terms,) information content.
    """
    observed = cases.matrix(len(case_ic))
    excluded = excluded_terms(cases, implied)
    vectors = {
        "implied": scale_columns(implied, case_ic),
        "observed": scale_columns(observed, case_ic),
        "assessed": (observed + excluded).tocsr(),
        "signed": (observed - AGAINST * excluded).tocsr(),
        "excluded": excluded,
    }
    return {kernel: unit_rows(vectors[kernel].astype(np.float32)) for kernel in KERNELS}


def excluded_terms(cases: CaseSet, implied: sp.csr_matrix) -> sp.csr_matrix:
    """Return float32 (n_cases, n_terms): excluded terms, without those that an observed term contradicts."""
    excluded = cases.matrix(implied.shape[1], excluded=True)
    kept = (excluded - excluded.multiply(implied)).tocsr()
    kept.eliminate_zeros()
    return kept


def _information(profiles: sp.csr_matrix) -> np.ndarray:
    """Information content of each term: -log(share of candidates that show it), at least one candidate."""
    n = max(profiles.shape[0], 1)
    share = np.bincount(profiles.indices[profiles.data > 0], minlength=profiles.shape[1]) / n
    return (-np.log(np.maximum(share, 1 / n))).astype(np.float32)


def _case_information(implied: sp.csr_matrix) -> np.ndarray:
    """Information content over cases, with half a case added to each term."""
    shown = np.bincount(implied.indices, minlength=implied.shape[1])
    return (-np.log((shown + 0.5) / (implied.shape[0] + 1))).astype(np.float32)


def _mean(profiles: sp.csr_matrix) -> np.ndarray:
    return np.asarray(profiles.mean(axis=0), dtype=np.float32).ravel()


def _ones(matrix: sp.csr_matrix, *, positive: bool = False) -> sp.csr_matrix:
    """Return 1 at each stored entry, or only at the positive ones."""
    values = (matrix.data > 0).astype(np.float32) if positive else np.ones_like(matrix.data)
    result = sp.csr_matrix((values, matrix.indices, matrix.indptr), shape=matrix.shape)
    if positive:
        result.eliminate_zeros()
    return result


def _links(raw: sp.csr_matrix, ic: np.ndarray) -> sp.csr_matrix:
    """Return sqrt(frequency) of each annotated term over its information-weighted sum."""
    root = sp.csr_matrix((np.sqrt(raw.data), raw.indices, raw.indptr), shape=raw.shape)
    total = np.maximum(root @ ic, 1e-6)
    values = (root.data / np.repeat(total, np.diff(root.indptr))).astype(np.float32)
    return sp.csr_matrix((values, root.indices, root.indptr), shape=root.shape)


def _dense_rows(profiles: sp.csr_matrix, terms: np.ndarray) -> np.ndarray:
    """Return float32 (len(terms) + 1, n_profiles), the last row zero."""
    table = np.zeros((len(terms) + 1, profiles.shape[0]), np.float32)
    table[:-1] = profiles[:, terms].T.toarray()
    return table


def _meta(knowledge: RareKnowledge, cases: CaseSet, label: np.ndarray, absent: sp.csr_matrix) -> np.ndarray:
    """Return float32 (n_candidates, len(META))."""
    n = len(knowledge)
    own = ~knowledge.foreign
    rows = np.bincount(knowledge.disease[own], minlength=n)
    counted = np.bincount(knowledge.disease[own & knowledge.counted], minlength=n)
    cited: list[set[str]] = [set() for _ in range(n)]
    for i in np.flatnonzero(own):
        cited[knowledge.disease[i]].update(r for r in knowledge.references[i] if r.startswith("PMID"))
    published: list[set[tuple[str, ...]]] = [set() for _ in range(n)]
    for candidate, pmids in zip(label, cases.pmids, strict=True):
        published[candidate].add(pmids)
    shots = np.bincount(label, minlength=n)
    excluded = np.asarray(absent.sum(axis=1)).ravel() / np.maximum(shots, 1)
    values = [
        np.log1p(shots),
        np.log1p([len(p) for p in published]),
        np.log1p(rows),
        np.log1p([len(c) for c in cited]),
        counted / np.maximum(rows, 1),
        np.log1p(np.bincount(knowledge.disease[knowledge.foreign], minlength=n)),
        np.log1p(excluded),
    ]
    return np.stack(values, axis=1).astype(np.float32)


def _sexes(cases: CaseSet, label: np.ndarray, n: int) -> np.ndarray:
    """Return float32 (n_candidates, 2): known female and male cases."""
    sex = np.array(cases.sex)
    return np.stack([np.bincount(label[sex == s], minlength=n) for s in ("F", "M")], axis=1).astype(
        np.float32
    )


def _ridge_weights(
    kernels: dict[str, sp.csr_matrix], column: np.ndarray, n_diseases: int, pmids: list[tuple[str, ...]],
    active_terms: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Regress the disease on the summed kernels and return the weights over terms.

    Cases of one publication are much alike: each counts with one over the square root of their number.

    Returns:
        float32 (len(RIDGE_KERNELS), len(active_terms) + 1, n_diseases), the last row of each table zero.
    """
    n = len(column)
    weights = np.zeros((len(RIDGE_KERNELS), len(active_terms) + 1, n_diseases), np.float32)
    if n == 0:
        return weights
    size = Counter(pmids)
    weight = np.array([size[p] ** -0.5 for p in pmids])
    gram = np.zeros((n, n), np.float32, order="F")
    for kernel, factor in RIDGE_KERNELS.items():
        across = kernels[kernel].T.tocsr()
        # Cases share some term nearly always: a whole product of sparse matrices would be thrice the table.
        for start in range(0, n, _BLOCK):
            block = slice(start, start + _BLOCK)
            gram[:, block] += factor * (kernels[kernel][block] @ across).toarray().T
    gram[np.diag_indices(n)] += _RIDGE * weight.mean() / weight
    target = np.zeros((n, n_diseases), np.float32, order="F")
    target[np.arange(n), column] = 1
    dual = sl.solve(gram, target, assume_a="pos", overwrite_a=True, overwrite_b=True, check_finite=False)
    for table, (kernel, factor) in zip(weights, RIDGE_KERNELS.items(), strict=True):
        table[:-1] = factor * (kernels[kernel][:, active_terms].T @ dual)
    return weights
