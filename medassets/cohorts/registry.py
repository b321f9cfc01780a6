"""Orphanet's files and PubMed's articles as declared tables.

What belongs here: from files and what the platform knows to tables. What does not: the formats
(``ingest.orphanet``, ``ingest.pubmed``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from medassets.cohorts.tables import TABLES
from medassets.cohorts.tables_live import table_of
from medassets.ingest.notes import phenotypes_in
from medassets.ingest.orphanet import read_orphadata
from medassets.ingest.pubmed import DiseaseNames, read_reports, text_read
from medassets.ingest.quarantine import quarantine_table
from medassets.ingest.text import TextMatcher
from medassets.knowledge.ontology import Ontology

#: Outputs of ``orphanet_tables`` and ``report_tables``: name to table.
ORPHANET_TABLES = {
    **{
        name: f"clinical/orphanet_{name}"
        for name in ("diseases", "references", "phenotypes", "genes", "prevalences")
    },
    "rejected": "clinical/orphanet_quarantine",
}
REPORT_TABLES = {
    "reports": "clinical/case_reports",
    "phenotypes": "clinical/report_phenotypes",
    "rejected": "clinical/report_quarantine",
}


def orphanet_tables(paths: Iterable[Path], ontology: Ontology) -> dict[str, pa.Table]:
    """Read Orphadata: the tables of ``ORPHANET_TABLES`` by name.

    Raises:
        IngestError: a file is not well-formed XML.
    """
    found = read_orphadata(paths, ontology)
    tables = {name: table_of(TABLES[ORPHANET_TABLES[name]], rows) for name, rows in found.rows.items()}
    return tables | {"rejected": quarantine_table(found.rejected)}


def report_tables(
    paths: Iterable[Path], catalogue: pa.Table, ontology: Ontology
) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """Read case reports and what they name: the tables of ``REPORT_TABLES`` by name, and the counts.

    Args:
        paths: PubMed XML files.
        catalogue: ``clinical/disease_catalogue``.
        ontology: terms and their names.

    Raises:
        IngestError: a file is not well-formed XML.
    """
    found = read_reports(paths, DiseaseNames(_names(catalogue)))
    matcher = TextMatcher.from_ontology(ontology)
    phenotypes = (
        {**{name: row[name] for name in ("pmid", "language", "origin")}, **phenotype}
        for row in found.rows
        for phenotype in phenotypes_in(matcher, text_read(row), row["language"])
    )
    tables = {
        "reports": table_of(TABLES["clinical/case_reports"], found.rows),
        "phenotypes": table_of(TABLES["clinical/report_phenotypes"], phenotypes),
        "rejected": quarantine_table(found.rejected),
    }
    return tables, found.counts


def empty_tables(tables: Mapping[str, str]) -> dict[str, pa.Table]:
    """Give empty tables by name, for a source that this installation does not have."""
    return {name: TABLES[key].empty() for name, key in tables.items()}


def _names(catalogue: pa.Table) -> Iterator[tuple[str, str]]:
    return zip(catalogue.column("disease_id").to_pylist(), catalogue.column("name").to_pylist(), strict=True)
