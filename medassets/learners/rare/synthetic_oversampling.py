"""SMOTE and ADASYN: the plain alternative to generative models, by interpolating between cases.

What belongs here: oversampling the diseases of a family up to its largest. What does not: judging the result
(``evaluation.fidelity``).

SMOTE: Chawla et al., JAIR 2002. ADASYN: He et al., IJCNN 2008. Both through imbalanced-learn. Interpolated
values above one half count as a finding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from medassets.features.cases import CaseSet
from medassets.knowledge.ontology import Ontology
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.synthetic_families import (
    Family,
    SyntheticCases,
    families,
    join,
    nothing,
    to_tables,
)
from medassets.learners.rare.synthetic_privacy import no_copies

Oversampler = Literal["smote", "adasyn"]
_NEIGHBOURS = 3


def oversample(
    cases: CaseSet, ontology: Ontology, config: FewShotConfig, *, method: Oversampler = "smote"
) -> SyntheticCases:
    """Generate cases for the rarer diseases of each family; a family of one disease gives none.

    Args:
        cases: training cases, never of a test publication.
        ontology: whose terms the indices mean.
        config: number of families and seed.
        method: ``smote`` or ``adasyn``, which becomes the rows' origin.

    Raises:
        ValueError: an unknown method.
    """
    chosen = families(cases, ontology, largest=config.synthesis_families)
    return join([oversample_family(family, ontology, config, method=method) for family in chosen])


def oversample_family(
    family: Family, ontology: Ontology, config: FewShotConfig, *, method: Oversampler
) -> SyntheticCases:
    """Generate cases of one family's diseases until all have as many as the largest.

    Raises:
        ValueError: an unknown method.
    """
    from imblearn.over_sampling import ADASYN, SMOTE

    if method not in ("smote", "adasyn"):
        raise ValueError(f"method {method!r} is unknown: allowed are smote and adasyn")
    if len(set(family.diseases)) < 2:
        return nothing(f"{family.name}: one disease only, nothing to level")
    sampler = (
        SMOTE(k_neighbors=_NEIGHBOURS, random_state=config.seed)
        if method == "smote"
        else ADASYN(n_neighbors=_NEIGHBOURS, random_state=config.seed, sampling_strategy="minority")
    )
    try:
        values, diseases = sampler.fit_resample(family.present.astype(np.float64), np.array(family.diseases))
    except (RuntimeError, ValueError) as error:
        # Both refuse families whose diseases are too small or too far apart to have neighbours.
        return nothing(f"{family.name}: {method} is not suited: {error}")
    made = values[len(family.diseases) :] > 0.5
    if not len(made):
        return nothing(f"{family.name}: its diseases have equally many cases, nothing to level")
    kept = no_copies(family, made, ontology)
    n = int(kept.sum())
    cases = to_tables(
        family,
        made[kept],
        [str(d) for d in diseases[len(family.diseases) :][kept]],
        ["unknown"] * n,
        np.full(n, np.nan),
        ontology,
        origin=method,
    )
    # Interpolation is fixed by its neighbours: what copies a patient is left out, not drawn again.
    return replace(cases, notes=(f"{family.name}: {len(made) - n} of {len(made)} were too like a real case",))
