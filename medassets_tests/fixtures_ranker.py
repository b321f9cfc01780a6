"""A made-up ontology, diseases and cases, large enough to learn from and small enough for tests."""

import numpy as np
import pyarrow as pa

from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.knowledge.annotations import SCHEMA
from medassets.knowledge.ontology import Ontology, Term

N_SYSTEMS, N_CHILDREN, N_DISEASES = 6, 12, 16


def made_ontology() -> Ontology:
    """Root, six systems, twelve findings below each, and one special form below each finding."""
    terms = [_term("HP:0000001", "All", ()), _term("HP:0000118", "Phenotypic abnormality", ("HP:0000001",))]
    for s in range(N_SYSTEMS):
        system = f"HP:91{s:05d}"
        terms.append(_term(system, f"System {s}", ("HP:0000118",)))
        for c in range(N_CHILDREN):
            finding = f"HP:92{s:02d}{c:03d}"
            terms.append(_term(finding, f"Finding {s}.{c}", (system,)))
            terms.append(_term(f"HP:93{s:02d}{c:03d}", f"Special finding {s}.{c}", (finding,)))
    return Ontology(terms, "test")


def _term(term_id: str, name: str, parents: tuple[str, ...]) -> Term:
    return Term(term_id, name, "", (), parents, (), False, (), ())


def typical_findings(disease: int) -> list[str]:
    """Six findings that belong to a disease, spread over the systems."""
    rng = np.random.default_rng(1000 + disease)
    return sorted(f"HP:92{rng.integers(N_SYSTEMS):02d}{c:03d}" for c in rng.permutation(N_CHILDREN)[:6])


def made_annotations(*extra: dict[str, object]) -> pa.Table:
    """Each disease's findings, every second row from a publication with cases; Orphanet repeats two."""
    rows: list[dict[str, object]] = []
    for d in range(N_DISEASES):
        for k, finding in enumerate(typical_findings(d)):
            reference = f"PMID:{d * 10 + 1}" if k % 2 else f"OMIM:{900000 + d}"
            rows.append(annotation(f"OMIM:{900000 + d}", finding, reference, frequency=0.8))
    rows += [annotation(f"ORPHA:{d}", typical_findings(d)[0], f"ORPHA:{d}", frequency=0.5) for d in (0, 1)]
    return pa.Table.from_pylist([*rows, *extra], schema=SCHEMA)


def annotation(disease: str, finding: str, reference: str, *, frequency: float | None) -> dict[str, object]:
    """One row of the annotations."""
    return {
        "disease_id": disease, "name": f"Disease {disease}", "hpo_id": finding, "source_hpo_id": finding,
        "qualifier": None, "frequency": frequency, "n_patients": None, "references": [reference],
        "evidence": "PCS", "onset": None, "sex": None, "modifier": [], "aspect": "P",
    }  # fmt: skip


class Crosswalk:
    """Orphanet 0 and 1 mean OMIM 900000 and 900001."""

    def canonical(self, disease_id: str) -> str:
        """Return the OMIM id."""
        return disease_id.replace("ORPHA:", "OMIM:90000") if disease_id.startswith("ORPHA:") else disease_id


def made_cases(ontology: Ontology, *, per_disease: int = 6, diseases: int = 12, seed: int = 0) -> CaseSet:
    """Cases of the first diseases, two a publication, each with most typical findings and a chance one."""
    rng = np.random.default_rng(seed)
    ids, labels, observed, excluded, pmids = [], [], [], [], []
    findings = [t for t in ontology.terms if t.startswith("HP:92")]
    for d in range(diseases):
        typical = typical_findings(d)
        for k in range(per_disease):
            shown = [t for t in typical if rng.random() < 0.75] or typical[:1]
            absent = [t for t in rng.choice(findings, 4, replace=False) if t not in typical]
            ids.append(f"case_{d}_{k}")
            labels.append(f"OMIM:{900000 + d}")
            observed.append(_indices(ontology, [*shown, *rng.choice(findings, 1)]))
            excluded.append(_indices(ontology, absent))
            pmids.append((f"PMID:{d * 10 + k // 2}",))
    n = len(ids)
    return CaseSet(
        ids, labels, observed, excluded, np.full(n, 2000.0), ["F", "M"] * (n // 2) + ["F"] * (n % 2), pmids,
        ["published_case"] * n,
    )  # fmt: skip


def _indices(ontology: Ontology, terms: list[str]) -> np.ndarray:
    return np.array(sorted({ontology.index[t] for t in terms}), dtype=np.int32)


def made_knowledge(ontology: Ontology, cases: CaseSet | None = None) -> RareKnowledge:
    """Knowledge over all diseases."""
    return RareKnowledge.build(ontology, made_annotations(), cases, crosswalk=Crosswalk())
