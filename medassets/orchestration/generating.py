"""Generated cases and whether they are worth training with.

What belongs here: what each generator may see, and gathering its figures. What does not: generators
(``learners.rare.synthetic_*``) and measures (``evaluation.fidelity``). No generator sees a case of a test
publication.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from medassets.orchestration.training import RareData

if TYPE_CHECKING:
    from medassets.features.cases import CaseSet
    from medassets.learners.rare.config import FewShotConfig
    from medassets.learners.rare.synthetic_families import SyntheticCases

#: Folds of publication groups inside the training part; one is held out for the ablation.
FOLDS = 5
#: Cases of each kind that are compared: they stand in memory as dense rows over all terms.
COMPARED = 2000
#: Generators that learned from published cases; simulation reads frequencies alone.
LEARNED = ("ctgan", "smote")


def generate(data: RareData, config: FewShotConfig) -> SyntheticCases:
    """Generate cases with CTGAN from published training cases; none where there are only simulated ones."""
    from medassets.learners.rare.synthetic_families import nothing
    from medassets.learners.rare.synthetic_sdv import synthesize

    if data.origin == "simulated":
        return nothing("no published cases to learn from")
    return synthesize(data.train, data.ontology, config, generator="ctgan")


def fidelity_rows(
    inputs: Mapping[str, Any], data: RareData, config: FewShotConfig
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Measure simulated, CTGAN and SMOTE cases against published ones, and what training with them gains.

    Returns:
        Rows of ``synthetic/synthetic_fidelity``, and a sentence a generator on whether it goes into training.
    """
    from medassets.evaluation.fidelity import as_rows, fidelity
    from medassets.learners.rare.synthetic_oversampling import oversample

    if data.origin == "simulated":
        return [], {"simulated": "this installation has no published cases to compare with"}
    inner, held = _inner_split(data)
    oversampled = oversample(inner, data.ontology, config, method="smote")
    made = {
        "simulated": _cases(data, inputs["simulated_rare_cases"], inputs["simulated_case_phenotypes"]),
        "ctgan": _cases(data, inputs["ctgan_cases"], inputs["ctgan_case_phenotypes"]),
        "smote": _cases(data, oversampled.cases, oversampled.phenotypes),
    }
    rows: list[dict[str, Any]] = []
    verdicts: dict[str, str] = {}
    for name, cases in made.items():
        cases = _like(cases, data.train, config.seed)
        if not len(cases):
            verdicts[name] = "no case of a disease that published cases have"
            continue
        # CTGAN saw the whole training part: only what saw the inner part alone can be judged on the rest of
        # it.
        verdict = _verdict(data, inner, held, cases) if name != "ctgan" else None
        verdicts[name] = verdict.reason if verdict else "kept out of training: its gain was not measured"
        real = _like(data.train, cases, config.seed)
        rows += as_rows(name, fidelity(real, cases, data.ontology, seed=config.seed), verdict)
    return [{"group": "overall", "origin": name_of(row["generator"]), **row} for row in rows], verdicts


def name_of(generator: str) -> str:
    """Give the origins of the rows behind a generator's figures."""
    return f"published_case+{generator}"


def _cases(data: RareData, cases: pa.Table, findings: pa.Table) -> CaseSet:
    from medassets.features.cases import CaseSet

    return CaseSet.from_tables(cases, findings, data.ontology)


def _like(cases: CaseSet, others: CaseSet, seed: int) -> CaseSet:
    """Give cases of diseases that the others have too, at most ``COMPARED`` of them."""
    shared = set(others.disease_ids)
    own = np.flatnonzero([disease in shared for disease in cases.disease_ids])
    chosen = np.sort(np.random.default_rng(seed).permutation(own)[:COMPARED])
    return cases[chosen]


def _inner_split(data: RareData) -> tuple[CaseSet, CaseSet]:
    """Hold one fold of publication groups out of the training part."""
    from medassets.cohorts.splits import group_folds, publication_groups

    groups = publication_groups(data.train.case_ids, data.train.pmids)
    fold = np.asarray(group_folds(groups, FOLDS, 0))
    return data.train[fold != 0], data.train[fold == 0]


def _verdict(data: RareData, inner: CaseSet, held: CaseSet, made: CaseSet) -> Any:
    from medassets.cohorts.splits import publication_groups
    from medassets.evaluation.fidelity import ablation
    from medassets.learners.rare.likelihood import RareLikelihood

    own = {pmid for pmids in held.pmids for pmid in pmids}
    return ablation(
        lambda knowledge, cases: RareLikelihood(use_cases=True).fit(knowledge, cases),
        data.clean_knowledge.without_publications(own),
        inner,
        held,
        made,
        publication_groups(held.case_ids, held.pmids),
    )
