"""Registries: Orphanet's knowledge files as tables.

What belongs here: calling the reader. What does not: the reader (``ingest.orphanet``) and what prevalence
means to the ranker (``features.prevalence``).
"""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa

from medassets.cohorts import registry
from medassets.cohorts.tables import TABLES
from medassets.orchestration.checks import table_checks
from medassets.orchestration.inputs import ins, ontology_of, table_outs
from medassets.orchestration.source_files import SourceFile

_OUTS = table_outs(registry.ORPHANET_TABLES, "rare")
#: What the metadata say of a source that this installation does not have.
NOT_CONFIGURED = "not configured: put the files {} into MEDASSETS_DATA_DIR"


@dg.multi_asset(name="orphanet_tables", ins=ins("sources/orphadata", "sources/hpo_ontology"), outs=_OUTS)
def orphanet_tables(orphadata: SourceFile, hpo_ontology: SourceFile) -> Iterator[dg.Output[pa.Table]]:
    """Read Orphadata products 1, 4, 6 and 9; empty tables where this installation has none."""
    state = "read" if orphadata.present else NOT_CONFIGURED.format("orphanet/*product*.xml")
    tables = (
        registry.orphanet_tables(orphadata.paths(), ontology_of(hpo_ontology))
        if orphadata.present
        else registry.empty_tables(registry.ORPHANET_TABLES)
    )
    for name, table in tables.items():
        yield dg.Output(table, output_name=name, metadata={"state": state})


CHECKS = [table_checks(TABLES[key]) for key in registry.ORPHANET_TABLES.values()]
