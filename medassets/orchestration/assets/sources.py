"""Sources: each file as it was received, with its path, size, SHA-256, release, licence and origin.

What belongs here: recording. What does not: finding and fetching (``ingest.sources``) and reading
(``clinical``).
"""

from pathlib import Path

import dagster as dg

from medassets.orchestration.inputs import tags
from medassets.orchestration.source_files import SourceFile, record
from medassets.settings import Settings

#: Source to (domain, kind, description).
KNOWN = {
    "hpo_ontology": (
        "rare",
        "obo",
        "The Human Phenotype Ontology: terms, synonyms, definitions, is-a graph.",
    ),
    "disease_annotations": ("rare", "hpoa", "HPO's disease annotations with frequencies and references."),
    "phenopackets": ("rare", "json", "GA4GH phenopackets (version 2) of published rare-disease patients."),
    "ddxplus_patients": ("common", "csv", "DDXPlus patients: a benchmark that its authors synthesized."),
    "common_reference": (
        "common",
        "json",
        "Common conditions: P(evidence given condition), ICD-10, wording.",
    ),
    "mondo_mappings": ("rare", "sssom", "MONDO's exact mappings between disease terminologies."),
    "orphadata": ("rare", "xml", "Orphanet's nomenclature, phenotypes, genes and prevalences."),
    "pubmed_articles": ("rare", "xml", "PubMed's baseline and update files, as far as this site keeps them."),
    "fhir_bundles": ("both", "fhir", "HL7 FHIR R4 exports of patients."),
}
#: One record a source, in the order of ``KNOWN``.
SourceFiles = tuple[
    SourceFile,
    SourceFile,
    SourceFile,
    SourceFile,
    SourceFile,
    SourceFile,
    SourceFile,
    SourceFile,
    SourceFile,
]


@dg.multi_asset(
    name="sources",
    outs={
        name: dg.AssetOut(
            key=["sources", name],
            io_manager_key="source_io_manager",
            description=description,
            code_version="1",
            kinds={kind},
            tags=tags(domain),
        )
        for name, (domain, kind, description) in KNOWN.items()
    },
)
def sources(settings: dg.ResourceParam[Settings]) -> SourceFiles:
    """Find every source of the chosen origin, fetch what ``download`` lacks, and measure the files."""
    from medassets.ingest.sources import resolve

    found = resolve(settings)
    records = [
        record(
            name,
            found[name].origin,
            found[name].path,
            found[name].files,
            url=found[name].url,
            release=_release(name, found[name].path) or found[name].release,
            licence=found[name].licence,
        )
        for name in KNOWN
    ]
    return tuple(records)  # type: ignore[return-value]


def _release(name: str, path: Path | None) -> str | None:
    """Read the release that a file names itself."""
    from medassets.knowledge.annotations import annotations_version

    return annotations_version(path) if name == "disease_annotations" and path else None
