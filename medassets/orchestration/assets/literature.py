"""Literature: PubMed's articles to case reports and the phenotypes that they name.

What belongs here: calling fetch and reader. What does not: both of them (``ingest.pubmed_search``,
``ingest.pubmed``, ``cohorts.registry``).
"""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from medassets.cohorts import registry
from medassets.cohorts.tables import TABLES
from medassets.orchestration.assets.registries import NOT_CONFIGURED
from medassets.orchestration.checks import table_checks
from medassets.orchestration.inputs import describe, ins, ontology_of, table_outs, tags
from medassets.orchestration.source_files import SourceFile, record
from medassets.settings import Settings

_PUBLISHER = "https://pubmed.ncbi.nlm.nih.gov"
_OUTS = table_outs(registry.REPORT_TABLES, "rare")


@dg.asset(
    key=["sources", "pubmed_search"],
    io_manager_key="source_io_manager",
    code_version="1",
    kinds={"xml"},
    tags=tags("rare"),
    metadata=describe(settings=("pubmed_queries", "eutils_url")),
)
def pubmed_search(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> SourceFile:
    """Fetch what is new of the case reports that the site's queries find in PubMed."""
    from medassets.ingest.pubmed_search import eutils_of, fetch_new

    if not settings.pubmed_queries:
        context.add_output_metadata({"state": "not configured: set MEDASSETS_PUBMED_QUERIES"})
        return record("pubmed_search", "absent", None, url=_PUBLISHER)
    folder = settings.download_dir / "pubmed_search"
    eutils = eutils_of(settings)
    with eutils.client:
        new = fetch_new(eutils, settings.pubmed_queries, folder)
    context.add_output_metadata({"state": "fetched", "new_files": len(new)})
    files = sorted(folder.glob("*.xml"))
    return record("pubmed_search", "download", folder if files else None, files, url=_PUBLISHER)


@dg.multi_asset(
    name="report_tables",
    ins=ins(
        "sources/pubmed_articles",
        "sources/pubmed_search",
        "clinical/disease_catalogue",
        "sources/hpo_ontology",
    ),
    outs=_OUTS,
)
def report_tables(
    pubmed_articles: SourceFile,
    pubmed_search: SourceFile,
    disease_catalogue: pa.Table,
    hpo_ontology: SourceFile,
) -> Iterator[dg.Output[pa.Table]]:
    """Read case reports of the catalogue's diseases, retracted ones removed, and find their phenotypes."""
    paths = [*pubmed_articles.paths(), *pubmed_search.paths()]
    counts: dict[str, int] = {}
    tables = registry.empty_tables(registry.REPORT_TABLES)
    if paths:
        tables, counts = registry.report_tables(paths, disease_catalogue, ontology_of(hpo_ontology))
    state = "read" if paths else NOT_CONFIGURED.format("pubmed/*.xml.gz") + ", or MEDASSETS_PUBMED_QUERIES"
    for name, table in tables.items():
        yield dg.Output(table, output_name=name, metadata={"state": state, **counts})


CHECKS = [table_checks(TABLES[key]) for key in registry.REPORT_TABLES.values()]
