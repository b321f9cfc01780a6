"""The evidence of a case for each candidate disease: a short list of candidates, and numbers that compare them.

What belongs here: ``Evidence``, which reads a ``CaseMemory`` and turns cases into candidate lists and feature rows.
Training and serving call the same code. What does not: the learned combination (``rare_network``). It is on the serving
path: numpy and scipy only.

Sources: likelihood ratios after LIRICAL (Robinson et al., 2020); best-match averages after Phenomizer (Köhler et al.,
2009); an observed term that a disease does not list is explained by the ancestors that it does list, in the manner of
BOQA (Bauer et al., 2012).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.features.rare import LogRatios, log_ratios
from medassets.features.rare_arrays import ParentLevels, gather, scale_columns, unit_rows
from medassets.features.rare_memory import KERNELS, META, RIDGE_KERNELS, CaseMemory, case_vectors, excluded_terms
from medassets.knowledge.ontology import Ontology

#: Candidates on a case's list: with known cases, and without.
LIST_WITH, LIST_WITHOUT = 150, 200
_EXPLAINED, _TRUSTED, _FLOOR = 0.98, 0.95, 1e-5
_UNEXPLAINED = 0.03
_CHUNK = 64
#: Up to this many cases the sparse query is multiplied; above, dense columns are faster.
_FEW = 6
_AVERAGED = ("implied", "assessed", "signed")

_PROFILE = ("cosine", "best_match", "mixture")
#: Scores of a candidate, in the order of the feature rows.
SCORES = (
    *(f"own_{s}" for s in ("observed", "excluded", *_PROFILE)),
    *(f"updated_{s}" for s in ("observed", "excluded", *_PROFILE)),
    *(f"foreign_{s}" for s in _PROFILE),
    "own_covered", "foreign_covered", "listed_overlap", "assessed_of_disease", "assessed_of_case", "excluded_listed",
    "source_assessed", "source_seen",
    *(f"nearest_{k}" for k in KERNELS), *(f"average_{k}" for k in _AVERAGED), "ridge", "sex",
)  # fmt: skip
#: All features: scores, their distance to the best on the list, what is known of the candidate, and of the case.
FEATURES = (
    *SCORES, *(f"{s}_gap" for s in SCORES), *META, "has_case", "has_annotation",
    "n_observed", "n_excluded", "best_nearest", "best_cosine",
)  # fmt: skip


@dataclass(frozen=True)
class CandidateList:
    """The candidates of one case that are compared in full.

    Attributes:
        candidates: (k,) columns, those with cases first.
        features: (k, len(FEATURES)) float32.
        short: (D,) the score that the list was chosen by, for all candidates.
    """

    candidates: np.ndarray
    features: np.ndarray
    short: np.ndarray


@dataclass(frozen=True)
class _Query:
    """One case: terms, and their places among ``columns`` (implied and excluded terms)."""

    observed: np.ndarray
    excluded: np.ndarray
    implied: np.ndarray


class Evidence:
    """Computes candidate lists and features against one memory."""

    def __init__(self, memory: CaseMemory, ontology: Ontology) -> None:
        """Prepare the derived tables (a second)."""
        self.memory = memory
        self._closure = ontology.closure
        self._levels = ParentLevels.of(ontology)
        self.ratios: LogRatios = log_ratios(memory.own)
        ic = memory.ic
        self._own_unit = _TwoWay(unit_rows(scale_columns(memory.own, ic)))
        self._foreign_unit = _TwoWay(unit_rows(scale_columns(memory.foreign, ic)))
        self._kernels = {kernel: _TwoWay(memory.kernels[kernel]) for kernel in KERNELS}
        self._own_length = _lengths(memory.own, ic)
        self._foreign_length = _lengths(memory.foreign, ic)
        self._updated_length = np.maximum(np.sqrt(((memory.updated[memory.active] * ic[:, None]) ** 2).sum(0)), 1e-6)
        self._mixing = _mixing(self._closure, ic, memory.background_updated)
        n = memory.own.shape[0]
        self._has_case = np.zeros(n, bool)
        self._has_case[memory.with_cases] = True
        self._without = np.flatnonzero(~self._has_case)
        self._listed_terms = np.maximum(np.diff(memory.assessed.indptr), 1).astype(np.float32)
        self._place = np.full(len(ic), -1, np.int32)
        self._fixed = np.concatenate(
            [memory.meta, self._has_case[:, None], (np.diff(memory.assessed.indptr) > 0)[:, None]], axis=1
        ).astype(np.float32)

    def lists(self, cases: CaseSet) -> Iterator[CandidateList]:
        """Yield the candidate list of each case, in order."""
        for start in range(0, len(cases), _CHUNK):
            yield from self._chunk(cases[start : start + _CHUNK])

    def similar_cases(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, n_known): similarity to each known case, in the order of ``case_position``."""
        vectors = self._vectors(cases)[0]
        return 0.5 * (
            self._kernels["implied"].dot(vectors["implied"]) + self._kernels["signed"].dot(vectors["signed"])
        )

    def frequencies(self, candidates: np.ndarray) -> np.ndarray:
        """Return float32 (k, n_terms): frequency of each term, after known cases where there are some."""
        memory = self.memory
        result = memory.own[candidates].toarray()
        place = np.searchsorted(memory.with_cases, candidates)
        for row in np.flatnonzero(self._has_case[candidates]):
            result[row] = memory.updated[memory.active, place[row]]
        return result

    def term_log_ratios(self, observed: np.ndarray, excluded: np.ndarray, candidate: int) -> np.ndarray:
        """Return float64 (n_observed + n_excluded,): what each term says for (+) or against (-) a candidate, in nats."""
        memory = self.memory
        frequency = self.frequencies(np.array([candidate]))[0]
        explained = np.asarray(self._mixing[observed] @ frequency).ravel()
        chance = memory.background_updated[excluded]
        missing = np.log1p(-_TRUSTED * frequency[excluded]) - np.log1p(-_TRUSTED * chance)
        return np.concatenate([np.log(_UNEXPLAINED + (1 - _UNEXPLAINED) * explained), missing]).astype(np.float64)

    def _vectors(self, cases: CaseSet) -> tuple[dict[str, sp.csr_matrix], sp.csr_matrix, sp.csr_matrix]:
        """Return unit vectors by kernel, implied terms and excluded terms."""
        implied = cases.matrix(len(self.memory.ic)) @ self._closure.astype(np.float32)
        implied.data[:] = 1.0
        implied.sort_indices()
        return case_vectors(cases, implied, self.memory.case_ic), implied, excluded_terms(cases, implied)

    def _chunk(self, cases: CaseSet) -> Iterator[CandidateList]:
        memory = self.memory
        vectors, implied, excluded = self._vectors(cases)
        observed = cases.matrix(len(memory.ic))
        nearest, average = self._case_scores(vectors)
        ridge = self._ridge(vectors)
        wide = self._wide_scores(observed, excluded, implied)
        for i in range(len(cases)):
            query = _Query(
                observed.indices[observed.indptr[i] : observed.indptr[i + 1]],
                excluded.indices[excluded.indptr[i] : excluded.indptr[i + 1]],
                implied.indices[implied.indptr[i] : implied.indptr[i + 1]],
            )
            by_case = {f"nearest_{k}": nearest[k][i] for k in KERNELS}
            by_case |= {f"average_{k}": average[k][i] for k in _AVERAGED} | {"ridge": ridge[i]}
            scores = {name: values[i] for name, values in wide.items()}
            yield self._list(query, by_case, scores, cases.sex[i])

    def _case_scores(
        self, vectors: dict[str, sp.csr_matrix]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return nearest and average similarity to the cases of each candidate that has some: (n_cases, W)."""
        start = self.memory.case_start
        sizes = np.diff(np.append(start, len(self.memory.case_position)))
        nearest, average = {}, {}
        for kernel, table in self._kernels.items():
            similarity = table.dot(vectors[kernel])
            if len(start) == 0:
                nearest[kernel] = average[kernel] = np.zeros((similarity.shape[0], 0), np.float32)
                continue
            nearest[kernel] = np.maximum.reduceat(similarity, start, axis=1)
            if kernel in _AVERAGED:
                square = similarity * similarity
                average[kernel] = np.sqrt(np.sqrt(np.add.reduceat(square * square, start, axis=1) / sizes))
        return nearest, average

    def _ridge(self, vectors: dict[str, sp.csr_matrix]) -> np.ndarray:
        """Return the ridge regression's score of each candidate with cases: (n_cases, W)."""
        active, result = self.memory.active, np.float32(0)
        for table, kernel in zip(self.memory.ridge, RIDGE_KERNELS, strict=True):
            query = vectors[kernel]
            mapped = sp.csr_matrix((query.data, active[query.indices], query.indptr), (query.shape[0], len(table)))
            result = result + mapped @ table
        return np.asarray(result, dtype=np.float32)

    def _wide_scores(
        self, observed: sp.csr_matrix, excluded: sp.csr_matrix, implied: sp.csr_matrix
    ) -> dict[str, np.ndarray]:
        """Return the scores that are computed for every candidate: (n_cases, D) each."""
        memory = self.memory
        for_terms, against = self.ratios.score(observed, excluded)
        weighted = unit_rows(scale_columns(implied, memory.ic))
        above = np.zeros((len(memory.ic), observed.shape[0]), np.float32)
        entries = implied.tocoo()
        above[entries.col, entries.row] = memory.ic[entries.col]
        above = self._levels.largest_above(above)
        assessed = (observed + excluded).T.toarray()
        shared = (memory.assessed @ assessed).T
        n_assessed = np.maximum(assessed.sum(axis=0), 1)[:, None]
        listed = unit_rows(scale_columns(observed, memory.ic))
        assessed /= np.maximum(np.sqrt(assessed.sum(axis=0)), 1)
        return {
            "ratio": for_terms + against,
            "cosine": self._own_unit.dot(weighted),
            "foreign_cosine": self._foreign_unit.dot(weighted),
            "own_covered": (memory.links @ above).T,
            "foreign_covered": (memory.foreign_links @ above).T,
            "listed_overlap": (memory.listed @ listed.T.toarray()).T,
            "assessed_of_disease": shared / self._listed_terms,
            "assessed_of_case": shared / n_assessed,
            "excluded_listed": (memory.assessed @ excluded.T.toarray()).T
            / np.maximum(np.diff(excluded.indptr), 1)[:, None],
            "source_assessed": self._best_source(memory.source_assessed @ assessed),
            "source_seen": self._best_source(memory.source_seen @ listed.T.toarray()),
        }

    def _best_source(self, similarity: np.ndarray) -> np.ndarray:
        """Return the best similarity over the sources of each candidate: (R, n_cases) to (n_cases, D)."""
        memory = self.memory
        result = np.zeros((similarity.shape[1], memory.own.shape[0]), np.float32)
        if len(memory.source_start):
            result[:, memory.source_candidate] = np.maximum.reduceat(similarity, memory.source_start, axis=0).T
        return result

    def _list(
        self, query: _Query, by_case: dict[str, np.ndarray], wide: dict[str, np.ndarray], sex: str
    ) -> CandidateList:
        """Choose the candidates of one case and compute their features."""
        memory = self.memory
        position = _best(
            2 * _standard(by_case["nearest_implied"]) + 1.5 * _standard(by_case["ridge"])
            + _standard(by_case["nearest_signed"]) + 0.5 * _standard(wide["ratio"][memory.with_cases]),
            LIST_WITH,
        )  # fmt: skip
        total = _standard(wide["ratio"]) + 2 * (_standard(wide["cosine"]) + _standard(wide["own_covered"]))
        total += _standard(wide["foreign_cosine"]) + _standard(wide["foreign_covered"])
        half = LIST_WITHOUT // 2
        quarter = half // 3
        parts = [
            _best(total[self._without], half),
            _best(wide["ratio"][self._without], quarter),
            _best((wide["foreign_cosine"] + wide["foreign_covered"])[self._without], quarter),
            _best((wide["source_assessed"] + wide["source_seen"])[self._without], quarter),
        ]
        without = self._without[np.unique(np.concatenate(parts))]
        chosen = np.concatenate([memory.with_cases[position], without]).astype(np.int32)

        columns = np.concatenate([query.implied, np.setdiff1d(query.excluded, query.implied)])
        own = self._block(memory.own, chosen, columns)
        foreign = self._block(memory.foreign, chosen, columns)
        updated = own.copy()
        updated[:, : len(position)] = memory.updated[memory.active[columns]][:, position]
        lengths = self._own_length[chosen]
        updated_lengths = lengths.copy()
        updated_lengths[: len(position)] = self._updated_length[position]

        scores = np.zeros((len(SCORES), len(chosen)), np.float32)
        profile_scores = _ProfileScores(self, query, columns)
        scores[0:5] = profile_scores.full(own, lengths, memory.background)
        scores[5:10] = profile_scores.full(updated, updated_lengths, memory.background_updated)
        scores[10:13] = profile_scores.similarity(foreign, self._foreign_length[chosen])
        for row, name in enumerate(SCORES[13:21], start=13):
            scores[row] = wide[name][chosen]
        for row, name in enumerate(SCORES[21:-1], start=21):
            scores[row, : len(position)] = by_case[name][position]
        if sex != "unknown":
            seen = memory.sexes[chosen]
            scores[-1] = np.log((seen[:, int(sex == "M")] + 2) / (seen.sum(axis=1) + 4) / 0.5)
        return CandidateList(chosen, self._rows(scores, chosen, query), total)

    def _rows(self, scores: np.ndarray, chosen: np.ndarray, query: _Query) -> np.ndarray:
        """Return the feature rows from scores (len(SCORES), k)."""
        best = scores.max(axis=1, keepdims=True)
        case = np.array(
            [
                np.log1p(len(query.observed)), np.log1p(len(query.excluded)),
                best[SCORES.index("nearest_implied"), 0], best[SCORES.index("own_cosine"), 0],
            ],
            np.float32,
        )  # fmt: skip
        return np.concatenate(
            [scores.T, (scores - best).T, self._fixed[chosen], np.broadcast_to(case, (len(chosen), 4))], axis=1
        ).astype(np.float32)

    def _block(self, profiles: sp.csr_matrix, chosen: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return profiles of the chosen candidates at the given terms, float32 (len(columns), len(chosen))."""
        self._place[columns] = np.arange(len(columns))
        positions, owner = gather(profiles.indptr, chosen)
        place = self._place[profiles.indices[positions]]
        hit = place >= 0
        block = np.zeros((len(columns), len(chosen)), np.float32)
        block[place[hit], owner[hit]] = profiles.data[positions[hit]]
        self._place[columns] = -1
        return block


class _ProfileScores:
    """Scores of one case against blocks of profiles."""

    def __init__(self, evidence: Evidence, query: _Query, columns: np.ndarray) -> None:
        memory = evidence.memory
        place = evidence._place
        place[columns] = np.arange(len(columns))
        self._observed, self._excluded = place[query.observed], place[query.excluded]
        closure, mixing = evidence._closure, evidence._mixing
        positions, _ = gather(closure.indptr, query.observed)
        self._implied = place[closure.indices[positions]]
        lengths = np.diff(closure.indptr)[query.observed]
        self._starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
        self._mix = np.zeros((len(query.observed), len(columns)), np.float32)
        self._mix[np.repeat(np.arange(len(lengths)), lengths), self._implied] = mixing.data[positions]
        place[columns] = -1
        self._columns = columns
        self._ic = memory.ic[columns]
        weight = memory.ic[query.observed].sum()
        self._weight = max(float(weight), 1e-6)
        square = np.zeros(len(columns), np.float32)
        implied = memory.ic[query.implied]
        square[: len(implied)] = implied**2 / max(float(np.sqrt((implied**2).sum())), 1e-6)
        self._square = square

    def similarity(self, block: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return cosine, best match and mixture: (3, k)."""
        cosine = (self._square @ block) / lengths
        informative = np.sqrt(block)
        informative *= self._ic[:, None]
        best = np.maximum.reduceat(informative[self._implied], self._starts, axis=0).sum(axis=0) / self._weight
        mixture = np.log(_UNEXPLAINED + self._mix @ block).sum(axis=0)
        return np.stack([cosine, best, mixture])

    def full(self, block: np.ndarray, lengths: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Return log ratios of observed and of excluded terms before the similarities: (5, k)."""
        base = background[self._columns][:, None]
        share, chance = block[self._observed], base[self._observed]
        observed = np.log(_EXPLAINED * share + (1 - _EXPLAINED) * chance + _FLOOR) - np.log(chance + _FLOOR)
        share, chance = block[self._excluded], base[self._excluded]
        excluded = np.log1p(-_TRUSTED * share) - np.log1p(-_TRUSTED * chance)
        return np.concatenate([observed.sum(0)[None], excluded.sum(0)[None], self.similarity(block, lengths)])


class _TwoWay:
    """A matrix that is multiplied from the cheaper side."""

    def __init__(self, rows: sp.csr_matrix) -> None:
        self._rows, self._columns = rows, rows.T.tocsr()

    def dot(self, query: sp.csr_matrix) -> np.ndarray:
        """Return float32 (n_queries, n_rows)."""
        if query.shape[0] <= _FEW:
            return (query @ self._columns).toarray()
        return np.ascontiguousarray((self._rows @ query.T.toarray()).T)


def _best(values: np.ndarray, k: int) -> np.ndarray:
    """Return the positions of the k largest values, in no order."""
    return np.argpartition(-values, k - 1)[:k] if len(values) > k else np.arange(len(values))


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / (values.std() + 1e-6) if len(values) else values


def _lengths(profiles: sp.csr_matrix, ic: np.ndarray) -> np.ndarray:
    """Return the length of each information-weighted row, at least 1e-6."""
    weighted = scale_columns(profiles, ic)
    return np.maximum(np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel()), 1e-6).astype(np.float32)


def _mixing(closure: sp.csr_matrix, ic: np.ndarray, background: np.ndarray) -> sp.csr_matrix:
    """Return for each term how its ancestors explain it: nearness in information content over background frequency."""
    term = np.repeat(np.arange(len(ic)), np.diff(closure.indptr))
    near = np.exp(ic[closure.indices] - ic[term])
    total = np.add.reduceat(near, closure.indptr[:-1])
    values = near / total[term] / (background[closure.indices] + 1e-4)
    return sp.csr_matrix((values.astype(np.float32), closure.indices, closure.indptr), shape=closure.shape)
