"""Synthetic cases by CTGAN and by a Gaussian copula, one generator a disease family.

What belongs here: fitting sdv's generators to a family's table and sampling from them. What does not:
families and clinical tables (``synthetic_families``), and judging the result (``evaluation.fidelity``).

CTGAN: Xu et al., NeurIPS 2019. Gaussian copula: Patki et al., DSAA 2016. Both through sdv 2 (Business Source
License). The generated rows carry ``origin`` ``ctgan`` or ``gaussian_copula`` and must never pass for
published cases.
"""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np

from medassets.features.cases import CaseSet
from medassets.knowledge.ontology import Ontology
from medassets.learners.rare.config import FewShotConfig
from medassets.learners.rare.synthetic_families import Family, SyntheticCases, families, join, to_tables
from medassets.learners.rare.synthetic_privacy import no_copies

Generator = Literal["ctgan", "gaussian_copula"]
_TABLE = "cases"
#: Above this many seconds no further family is begun in the quick setting.
_QUICK_SECONDS = 60.0
#: How often rows are drawn again for those that were too near to a real case.
_ROUNDS = 5


def synthesize(
    cases: CaseSet, ontology: Ontology, config: FewShotConfig, *, generator: Generator = "ctgan"
) -> SyntheticCases:
    """Generate as many cases as each family has, for the config's number of families.

    Args:
        cases: training cases, never of a test publication.
        ontology: whose terms the indices mean.
        config: families, epochs, seed; the quick profile stops beginning families after a minute.
        generator: ``ctgan`` or ``gaussian_copula``, which becomes the rows' origin.

    Raises:
        ValueError: an unknown generator.
    """
    began = time.monotonic()
    parts = []
    for family in families(cases, ontology, largest=config.synthesis_families):
        if config.profile == "quick" and time.monotonic() - began > _QUICK_SECONDS:
            break
        parts.append(synthesize_family(family, ontology, config, generator=generator))
    return join(parts)


def synthesize_family(
    family: Family, ontology: Ontology, config: FewShotConfig, *, generator: Generator, n: int | None = None
) -> SyntheticCases:
    """Fit one generator to one family and sample ``n`` cases (as many as the family has when None).

    What equals a real case, or stands nearer to one than real ones stand to each other, is drawn again.

    Raises:
        ValueError: an unknown generator.
    """
    import pandas as pd
    import torch
    from sdv.metadata import Metadata

    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    np.random.seed(config.seed)  # sdv's generators draw from numpy's global state
    columns = [ontology.terms[t] for t in family.terms]
    frame = pd.DataFrame(np.where(family.present, "yes", "no"), columns=columns)
    frame["disease"] = family.diseases
    frame["sex"] = family.sexes
    frame["age_days"] = family.ages
    metadata = Metadata.detect_from_dataframes({_TABLE: frame})
    for column in (*columns, "disease", "sex"):
        metadata.update_column(table_name=_TABLE, column_name=column, sdtype="categorical")
    metadata.update_column(table_name=_TABLE, column_name="age_days", sdtype="numerical")
    metadata.remove_primary_key(table_name=_TABLE)
    synthesizer = _synthesizer(generator, metadata, config)
    synthesizer.fit({_TABLE: frame})
    rows = _sample(synthesizer, family, n or len(frame), columns, ontology)
    return to_tables(
        family,
        (rows[columns] == "yes").to_numpy(),
        rows["disease"].tolist(),
        [sex if sex in ("F", "M") else "unknown" for sex in rows["sex"]],
        rows["age_days"].to_numpy(dtype=float, na_value=np.nan).clip(min=0),
        ontology,
        origin=generator,
    )


def _sample(synthesizer: Any, family: Family, n: int, columns: list[str], ontology: Ontology) -> Any:
    """Draw until ``n`` rows are no real case's copies, or the rounds are over: then there are fewer."""
    import pandas as pd

    kept: list[Any] = []
    missing = n
    for _ in range(_ROUNDS):
        sampled = synthesizer.sample(num_rows=missing)
        rows = sampled[_TABLE] if isinstance(sampled, dict) else sampled
        kept.append(rows[no_copies(family, (rows[columns] == "yes").to_numpy(), ontology)])
        missing -= len(kept[-1])
        if missing <= 0:
            break
    return pd.concat(kept, ignore_index=True)


def _synthesizer(generator: Generator, metadata: Any, config: FewShotConfig) -> Any:
    """Return the unfitted generator of sdv.

    Raises:
        ValueError: an unknown generator.
    """
    from sdv.single_table import CTGANSynthesizer, GaussianCopulaSynthesizer

    if generator == "ctgan":
        return CTGANSynthesizer(metadata, epochs=config.synthesis_epochs, enable_gpu=False, verbose=False)
    if generator == "gaussian_copula":
        return GaussianCopulaSynthesizer(metadata)
    raise ValueError(f"generator {generator!r} is unknown: allowed are ctgan and gaussian_copula")
