"""Patients as unit vectors: the forward pass of the learned set encoders, in numpy alone.

What belongs here: turning findings, age and sex into tokens, and the weighted sum over tokens that encodes a
patient. What does not: how the vectors were learned (``learners.rare.encoder``). It is on the serving path:
numpy and scipy only.

A patient is a set (Zaheer et al., Deep Sets, 2017): the sum of one learned vector for each observed term and
each of its ancestors, minus one for each excluded term, plus one for age and sex, scaled to length 1.
Information content and the learned attention of a term are folded into its vector, so encoding is one sparse
product.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from medassets.features.cases import CaseSet
from medassets.features.rare_arrays import load_array, save_array, scale_columns
from medassets.features.rare_arrays import unit_rows as unit_rows_sparse
from medassets.knowledge.ontology import Ontology

#: Upper ends of the age groups in days: newborn, infant, 1-5, 6-11, 12-17, 18-39, 40-59, 60 and above.
AGE_ENDS = np.array([28, 365.25, 6 * 365.25, 12 * 365.25, 18 * 365.25, 40 * 365.25, 60 * 365.25])
SEXES = ("F", "M")
N_DEMOGRAPHIC = len(AGE_ENDS) + 1 + len(SEXES)
_EPSILON = 1e-6
#: Score of a candidate without any known case: the lowest cosine.
NO_CASE = -1.0


def tokens(cases: CaseSet, ontology: Ontology) -> sp.csr_matrix:
    """Return float32 (n_cases, 2 * n_terms + N_DEMOGRAPHIC): the tokens of each case, 1 where present.

    Columns: observed terms with their ancestors; excluded terms that no observed one implies; age group; sex.
    """
    n_terms = len(ontology)
    implied = cases.implied_matrix(ontology)
    excluded = cases.matrix(n_terms, excluded=True)
    excluded = (excluded - excluded.multiply(implied)).tocsr()
    excluded.eliminate_zeros()
    demographic = np.zeros((len(cases), N_DEMOGRAPHIC), np.float32)
    aged = np.flatnonzero(np.isfinite(cases.age_days))
    demographic[aged, np.searchsorted(AGE_ENDS, cases.age_days[aged], side="right")] = 1.0
    for i, sex in enumerate(cases.sex):
        if sex in SEXES:
            demographic[i, len(AGE_ENDS) + 1 + SEXES.index(sex)] = 1.0
    joined = sp.hstack([implied, excluded, sp.csr_matrix(demographic)], format="csr", dtype=np.float32)
    joined.sort_indices()
    return joined


def unit_rows(matrix: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length 1, as float32; a row of zeros stays zero."""
    norms = np.sqrt((matrix.astype(np.float32) ** 2).sum(axis=1, keepdims=True))
    return (matrix / np.maximum(norms, _EPSILON)).astype(np.float32)


def nearest_scores(similarity: np.ndarray, labels: np.ndarray, n_candidates: int) -> np.ndarray:
    """Return float32 (n, n_candidates): mean of the best and of the mean of the three best known cases.

    A candidate without a known case gets ``NO_CASE``.

    Args:
        similarity: (n, n_known), cosines.
        labels: int (n_known,), candidate of each known case, ascending.
        n_candidates: number of candidates.
    """
    scores = np.full((len(similarity), n_candidates), NO_CASE, np.float32)
    candidates, starts, counts = np.unique(labels, return_index=True, return_counts=True)
    if not len(candidates):
        return scores
    # Cosines lie within 1 of zero, so keys 4 apart keep the candidates apart and sort each by similarity.
    keys = np.sort(4.0 * labels[None, :] - similarity.astype(np.float64), axis=1)
    ranked = 4.0 * labels[None, :] - keys
    best = ranked[:, starts]
    second = ranked[:, starts + np.minimum(counts - 1, 1)]
    third = ranked[:, starts + np.minimum(counts - 1, 2)]
    taken = np.minimum(counts, 3)
    total = best + np.where(taken > 1, second, 0) + np.where(taken > 2, third, 0)
    scores[:, candidates] = 0.5 * (best + total / taken)
    return scores


def prototypes(
    annotation: np.ndarray, case_sum: np.ndarray, shots: np.ndarray, annotation_cases: float
) -> np.ndarray:
    """Return float32 (n_candidates, dimension): annotated vectors moved by known cases, length 1 or 0.

    Bayesian shrinkage of the mean: the annotation counts as ``annotation_cases`` patients.

    Args:
        annotation: (n_candidates, dimension), zero-shot vectors, 0 where nothing is annotated.
        case_sum: (n_candidates, dimension), sum of the encoded known cases.
        shots: (n_candidates,), number of known cases.
        annotation_cases: weight of the annotation in patients.
    """
    weight = annotation_cases * (np.abs(annotation).sum(axis=1) > 0)
    total = np.maximum(weight + shots, _EPSILON)
    return unit_rows((weight[:, None] * annotation + case_sum) / total[:, None])


@dataclass(frozen=True, eq=False)
class PhenotypeEncoder:
    """A learned encoder, frozen.

    Attributes:
        ontology: whose terms the tokens mean.
        weights: float32 (2 * n_terms + N_DEMOGRAPHIC, dimension), one vector for each token.
        annotation_weights: float32 (n_terms, dimension), one vector for each annotated term of a disease
            profile.
    """

    ontology: Ontology
    weights: np.ndarray
    annotation_weights: np.ndarray
    information: np.ndarray

    def __post_init__(self) -> None:
        expected = 2 * len(self.ontology) + N_DEMOGRAPHIC
        if len(self.weights) != expected or len(self.annotation_weights) != len(self.ontology):
            raise ValueError(
                f"encoder holds {len(self.weights)} token and {len(self.annotation_weights)} annotation "
                f"vectors, but HPO {self.ontology.version} needs {expected} and {len(self.ontology)}"
            )

    @property
    def dimension(self) -> int:
        """Length of an encoded patient."""
        return self.weights.shape[1]

    def encode(self, cases: CaseSet) -> np.ndarray:
        """Return float32 (n_cases, dimension), rows of length 1 (0 for a case without any token)."""
        return unit_rows(tokens(cases, self.ontology) @ self.weights)

    def encode_profiles(self, profiles: sp.csr_matrix) -> np.ndarray:
        """Return float32 (n_diseases, dimension): zero-shot vectors of annotated profiles, length 1 or 0.

        Args:
            profiles: (n_diseases, n_terms) frequencies, closed under the true-path rule.
        """
        return unit_rows(profiles @ self.annotation_weights)

    def spread(self, profiles: sp.csr_matrix) -> sp.csr_matrix:
        """Return the sparse view: float32 (n, n_terms), implied terms weighted by information, length 1 or 0.

        A few hundred learned dimensions cannot keep every rare term apart, so scores take the mean of the
        cosines of both views: the learned one generalises, this one forgets nothing.

        Args:
            profiles: (n, n_terms) implied terms of cases or annotated frequencies.
        """
        return unit_rows_sparse(scale_columns(profiles, self.information))

    def save(self, directory: Path) -> None:
        """Write the vectors and weights as ``encoder.*.npy``."""
        save_array(directory, "encoder.weights", self.weights)
        save_array(directory, "encoder.annotation_weights", self.annotation_weights)
        save_array(directory, "encoder.information", self.information)

    @classmethod
    def load(cls, directory: Path, ontology: Ontology) -> PhenotypeEncoder:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: a table is missing.
            ValueError: the encoder was learned with another release of the ontology.
        """
        parts = ("weights", "annotation_weights", "information")
        return cls(ontology, *(load_array(directory, f"encoder.{part}") for part in parts))
