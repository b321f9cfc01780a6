"""Declared tables of registries and literature: Orphanet's knowledge files, and case reports of PubMed.

What belongs here: schema, key and description of each table. What does not: how a table is filled
(``ingest.orphanet``, ``ingest.pubmed``).
"""

from __future__ import annotations

import pyarrow as pa

from medassets.cohorts.schema import Table, column
from medassets.cohorts.tables_live import PHENOTYPE_COLUMNS, STRINGS

_ORPHA = column("orpha_id", pa.string(), "Orphanet's id, ORPHA:<number>")
_ORIGIN = column("origin", pa.string(), "orphanet")
_FILE = column("source_file", pa.string(), "file that the row was read from")
_PMIDS = column("pmids", STRINGS, "publications that the entry names, sorted")
_PMID = column("pmid", pa.string(), "PubMed's id, PMID:<number>")
_PUBMED = column("origin", pa.string(), "pubmed: a published text, not a patient's record")


def _orphanet(name: str, primary_key: tuple[str, ...], description: str, *columns: pa.Field) -> Table:
    """Declare one table of Orphanet."""
    return Table(
        f"clinical/orphanet_{name}",
        pa.schema([_ORPHA, *columns, _ORIGIN, _FILE]),
        ("orpha_id", *primary_key),
        description,
    )


REGISTRY_TABLES: tuple[Table, ...] = (
    _orphanet(
        "diseases",
        (),
        "One row an entry of Orphanet's nomenclature (product 1).",
        column("name", pa.string(), "preferred name"),
        column("synonyms", STRINGS, "other names, sorted"),
        column("type", pa.string(), "disease, malformation syndrome, ...", required=False),
        column("group", pa.string(), "disorder, subtype, or group of disorders", required=False),
    ),
    _orphanet(
        "references",
        ("source", "code"),
        "One row a cross-reference of an entry to another terminology (product 1).",
        column("source", pa.string(), "terminology: OMIM, ICD-10, ICD-11, UMLS, MeSH, MONDO, ..."),
        column("code", pa.string(), "code there"),
        column("relation", pa.string(), "E exact, NTBT narrower to broader, BTNT, ...", required=False),
        column("validated", pa.bool_(), "whether Orphanet has validated it"),
    ),
    _orphanet(
        "phenotypes",
        ("hpo_id",),
        "One row a phenotype of a disease with its frequency (product 4).",
        column("hpo_id", pa.string(), "current HPO id"),
        column("source_hpo_id", pa.string(), "HPO id as the file wrote it"),
        column("frequency_class", pa.string(), "frequency in Orphanet's words"),
        column("frequency", pa.float64(), "middle of the class, as share of patients; 0 excluded"),
        column("criteria", pa.string(), "diagnostic, pathognomonic or exclusion criterion", required=False),
    ),
    _orphanet(
        "genes",
        ("symbol", "association"),
        "One row a gene of a disease in one role (product 6).",
        column("symbol", pa.string(), "symbol of the gene"),
        column("association", pa.string(), "role: disease-causing, modifying, candidate, ..."),
        column("hgnc", pa.string(), "number at HGNC", required=False),
        column("ensembl", pa.string(), "id at Ensembl", required=False),
        column("assessed", pa.bool_(), "whether Orphanet has assessed it"),
        _PMIDS,
    ),
    _orphanet(
        "prevalences",
        ("number",),
        "One row a statement of how frequent a disease is (product 9).",
        column("number", pa.int32(), "position among the disease's statements, from 1"),
        column("type", pa.string(), "point prevalence, birth prevalence, annual incidence, cases/families",
               required=False),
        column("qualification", pa.string(), "value and class, class only, case(s), family(ies)",
               required=False),
        column("class", pa.string(), "class in Orphanet's words", required=False),
        column("low", pa.float64(), "lower bound of the class, per million", required=False),
        column("high", pa.float64(), "upper bound of the class, per million", required=False),
        column("per_million", pa.float64(), "mean value, per million people or births", required=False),
        column("geography", pa.string(), "where it was measured", required=False),
        column("validated", pa.bool_(), "whether Orphanet has validated it"),
        _PMIDS,
    ),
    Table(
        "clinical/case_reports",
        pa.schema(
            [
                _PMID,
                column("title", pa.string(), "title"),
                column("abstract", pa.string(), "abstract, its sections one after the other"),
                column("language", pa.string(), "language of the abstract: en or es"),
                column("year", pa.int32(), "year of publication", required=False),
                column("journal", pa.string(), "journal", required=False),
                column("publication_types", STRINGS, "PubMed's publication types"),
                column("disease_ids", STRINGS, "diseases of the catalogue that title or abstract names"),
                _PUBMED,
                _FILE,
            ]
        ),
        ("pmid",),
        "One row a case report in PubMed that names a disease of the catalogue and is not retracted.",
    ),
    Table(
        "clinical/report_phenotypes",
        pa.schema([_PMID, column("language", pa.string(), "language read"), *PHENOTYPE_COLUMNS, _PUBMED]),
        ("pmid", "start", "end", "hpo_id"),
        "One row a phenotype named in a case report's abstract; offsets count in title, line end, abstract.",
    ),
)  # fmt: skip
