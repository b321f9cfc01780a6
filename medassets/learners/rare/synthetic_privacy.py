"""No generated case may be a patient: which generated rows stand too near to a real one.

What belongs here: distance to the nearest real case, and rejecting what copies one. What does not: the
generators (``synthetic_sdv``, ``synthetic_oversampling``), which draw again for what was rejected, and the
report on what is left (``evaluation.fidelity``).

Distance to the closest record, against that between real records, is the usual measure of copying by
generators (Zhao et al., CTAB-GAN, ACML 2021).
"""

from __future__ import annotations

import numpy as np

from medassets.knowledge.ontology import Ontology
from medassets.learners.rare.synthetic_families import Family

#: Real cases that stand nearer to another real one than all but this share set the bound.
_QUANTILE = 0.05


def nearest_distance(rows: np.ndarray, others: np.ndarray, *, same: bool = False) -> np.ndarray:
    """Return the Jaccard distance of each row to its nearest other; ``same``: a row is not its own.

    Args:
        rows: (n, n_terms) 1 where a finding is shown.
        others: (m, n_terms).
        same: whether both are the same rows.
    """
    rows, others = rows.astype(np.float32), others.astype(np.float32)
    common = rows @ others.T
    union = rows.sum(axis=1)[:, None] + others.sum(axis=1)[None, :] - common
    # Two rows without any finding are equal.
    distance = np.where(union > 0, 1 - common / np.maximum(union, 1), 0)
    if same:
        np.fill_diagonal(distance, np.inf)
    return np.asarray(distance.min(axis=1, initial=np.inf))


def no_copies(family: Family, present: np.ndarray, ontology: Ontology) -> np.ndarray:
    """Return bool (n_rows,): generated rows that equal no real case and stand no nearer than real ones do.

    Args:
        family: the real cases.
        present: bool (n_rows, n_columns) generated findings in the family's columns.
        ontology: a finding implies its ancestors, so rows are compared with these.
    """
    implies = ontology.closure[family.terms][:, family.terms].toarray() > 0
    made = (present.astype(np.float32) @ implies.astype(np.float32)) > 0
    distance = nearest_distance(made, family.present)
    between = nearest_distance(family.present, family.present, same=True)
    between = between[np.isfinite(between)]
    bound = float(np.quantile(between, _QUANTILE)) if len(between) else 0.0
    return np.asarray((distance > 0) & (distance >= bound) & made.any(axis=1))
