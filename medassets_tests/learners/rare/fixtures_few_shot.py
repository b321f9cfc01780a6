"""A made-up ontology, its diseases and cases, large enough for episodes and small enough for seconds."""

from __future__ import annotations

import numpy as np

from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.knowledge.ontology import Ontology, Term
from medassets.learners.rare.config import FewShotConfig

SYSTEMS, LEAVES = 6, 8
N_DISEASES, PUBLICATIONS, CASES_EACH = 8, 4, 3


def tiny_config(**changes: object) -> FewShotConfig:
    """A budget of a second or two."""
    small: dict[str, object] = {
        "encoder_steps": 25, "dimension": 16, "queries": 24, "negatives": 4, "inner_folds": 3, "dropout": 0.1,
        "way": 3, "meta_iterations": 6, "min_support": 2, "max_episode_support": 3, "min_query": 2,
        "max_query": 4, "synthesis_families": 1, "synthesis_epochs": 2,
    }  # fmt: skip
    return FewShotConfig(**(small | changes))


def made_up_ontology() -> Ontology:
    """Six organ systems under HP:0000118 with eight terms each; ids from HP:9100000 are invented."""

    def term(term_id: str, name: str, *parents: str) -> Term:
        return Term(term_id, name, f"Definition of {name}.", (), parents, (), False, (), ())

    terms = [term("HP:0000001", "All"), term("HP:0000118", "Phenotypic abnormality", "HP:0000001")]
    for s in range(SYSTEMS):
        terms.append(term(f"HP:91{s:02d}000", f"System {s}", "HP:0000118"))
        terms += [
            term(f"HP:91{s:02d}{x + 1:03d}", f"Finding {s}-{x}", f"HP:91{s:02d}000") for x in range(LEAVES)
        ]
    return Ontology(terms, "made-up")


def made_up_knowledge(ontology: Ontology) -> RareKnowledge:
    """Ten diseases with five annotated terms, citing PMID:ann<disease>; the first eight have cases."""
    rng = np.random.default_rng(5)
    leaves = np.array(
        [i for i, t in enumerate(ontology.terms) if t.startswith("HP:91") and not t.endswith("000")]
    )
    n = N_DISEASES + 2
    terms = np.concatenate([rng.choice(leaves, 5, replace=False) for _ in range(n)]).astype(np.int32)
    disease = np.repeat(np.arange(n, dtype=np.int32), 5)
    names = [f"OMIM:{100 + i}" for i in range(n)]
    rows = len(terms)
    return RareKnowledge(
        ontology, names, [f"Disease {i}" for i in range(n)], [(d,) for d in names],
        [(f"GENE{i // 2}",) for i in range(n)], disease, terms, np.full(rows, 0.8, np.float32),
        np.zeros(rows, bool), np.zeros(rows, bool), [(f"PMID:ann{d}",) for d in disease],
    )  # fmt: skip


def made_up_cases(knowledge: RareKnowledge, *, seed: int = 3) -> CaseSet:
    """Twelve cases of each of eight diseases, three a publication: terms with omissions and a stray one."""
    rng = np.random.default_rng(seed)
    ids, diseases, observed, excluded, pmids = [], [], [], [], []
    for d in range(N_DISEASES):
        own = knowledge.term[knowledge.disease == d]
        for p in range(PUBLICATIONS):
            for c in range(CASES_EACH):
                shown = own[rng.random(len(own)) < 0.75]
                stray = rng.choice(knowledge.term, 1)
                ids.append(f"case:{d}:{p}:{c}")
                diseases.append(knowledge.candidates[d])
                observed.append(np.unique(np.concatenate([shown, stray, own[:1]])).astype(np.int32))
                excluded.append(np.setdiff1d(rng.choice(knowledge.term, 2), observed[-1]).astype(np.int32))
                pmids.append((f"PMID:{d}{p}",))
    n = len(ids)
    ages = np.where(np.arange(n) % 3 == 0, np.nan, 400.0 * (1 + np.arange(n) % 20))
    return CaseSet(
        ids,
        diseases,
        observed,
        excluded,
        ages,
        ["F", "M", "unknown"] * (n // 3),
        pmids,
        ["published_case"] * n,
    )
