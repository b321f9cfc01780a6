"""Rare-disease knowledge and cases as files of the serving bundle, and back.

What belongs here: Parquet and ``.npy`` forms of ``RareKnowledge`` and ``CaseSet``. What does not: what is
in them. It is
on the serving path: numpy and pyarrow only. The same content gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medassets.features.cases import CaseSet
from medassets.features.rare import RareKnowledge
from medassets.features.rare_arrays import load_array, read_parquet, save_array
from medassets.knowledge.ontology import Ontology

_ROWS = ("disease", "term", "frequency", "counted", "foreign")
_TEXTS = pa.list_(pa.string())
_TERMS = pa.list_(pa.int32())


def save_knowledge(knowledge: RareKnowledge, directory: Path) -> None:
    """Write ontology, candidates and annotation rows."""
    directory.mkdir(parents=True, exist_ok=True)
    _write(knowledge.ontology.to_table(), directory / "ontology.parquet")
    diseases = {
        "disease_id": pa.array(knowledge.candidates, pa.string()),
        "name": pa.array(knowledge.names, pa.string()),
        "equivalents": pa.array([list(e) for e in knowledge.equivalents], _TEXTS),
        "genes": pa.array([list(g) for g in knowledge.genes], _TEXTS),
    }
    _write(pa.table(diseases), directory / "candidates.parquet")
    for name in _ROWS:
        save_array(directory, f"annotation_{name}", getattr(knowledge, name))
    references = pa.array([list(r) for r in knowledge.references], _TEXTS)
    _write(pa.table({"references": references}), directory / "annotation_references.parquet")


def load_knowledge(directory: Path) -> RareKnowledge:
    """Read what :func:`save_knowledge` wrote."""
    terms = read_parquet(directory / "ontology.parquet")
    metadata = terms.schema.metadata or {}
    ontology = Ontology.from_table(terms, metadata.get(b"hpo_version", b"unknown").decode())
    diseases = read_parquet(directory / "candidates.parquet").to_pydict()
    references = read_parquet(directory / "annotation_references.parquet")["references"].to_pylist()
    disease, term, frequency, counted, foreign = (
        cast(np.ndarray, load_array(directory, f"annotation_{name}")) for name in _ROWS
    )
    return RareKnowledge(
        ontology, diseases["disease_id"], diseases["name"],
        [tuple(e) for e in diseases["equivalents"]], [tuple(g) for g in diseases["genes"]],
        disease, term, frequency, counted, foreign, [tuple(r) for r in references],
    )  # fmt: skip


def save_cases(cases: CaseSet, directory: Path) -> None:
    """Write the cases, one row each."""
    directory.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "case_id": pa.array(cases.case_ids, pa.string()),
            "disease_id": pa.array(cases.disease_ids, pa.string()),
            "observed": pa.array([x.tolist() for x in cases.observed], _TERMS),
            "excluded": pa.array([x.tolist() for x in cases.excluded], _TERMS),
            "age_days": pa.array(cases.age_days, pa.float64()),
            "sex": pa.array(cases.sex, pa.string()),
            "pmids": pa.array([list(p) for p in cases.pmids], _TEXTS),
            "origin": pa.array(cases.origins, pa.string()),
        }
    )
    _write(table, directory / "cases.parquet")


def load_cases(directory: Path) -> CaseSet:
    """Read what :func:`save_cases` wrote."""
    rows = read_parquet(directory / "cases.parquet").to_pydict()
    return CaseSet(
        rows["case_id"], rows["disease_id"],
        [np.array(x, np.int32) for x in rows["observed"]], [np.array(x, np.int32) for x in rows["excluded"]],
        np.array(rows["age_days"], np.float64), rows["sex"],
        [tuple(p) for p in rows["pmids"]], rows["origin"],
    )  # fmt: skip


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")
