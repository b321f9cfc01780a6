"""How an asset gets what it reads: inputs by key, and knowledge from a source's record.

What belongs here: a few words that every asset module uses. What does not: domain logic. Parsing a source
again in each asset costs less than a second and spares a second form of the same knowledge in the lake; the
ontology, which most of them read, is parsed once in a process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import TABLES
from medassets.orchestration.source_files import SourceFile

if TYPE_CHECKING:
    from medassets.knowledge.common_conditions import CommonKnowledge
    from medassets.knowledge.crosswalk import Crosswalk
    from medassets.knowledge.ontology import Ontology

#: Metadata with which an asset names the settings that change its result.
SETTINGS_KEY = "medassets/settings"
#: Metadata with which an asset names code beyond its layer's own that makes it.
CODE_KEY = "medassets/code"


def ins(*keys: str, **metadata: Any) -> dict[str, dg.AssetIn]:
    """Give inputs by asset key, each under the last part of its key as argument name."""
    return {key.split("/")[-1]: dg.AssetIn(key.split("/"), metadata=metadata or None) for key in keys}


def asset_keys(*names: str) -> list[dg.AssetKey]:
    """Give the keys of assets by ``layer/name``, for inputs that are waited for and read otherwise."""
    return [dg.AssetKey(name.split("/")) for name in names]


def describe(*, settings: tuple[str, ...] = (), code: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give an asset's metadata: settings and further code (below ``medassets/``) that change its result."""
    return {
        **({SETTINGS_KEY: list(settings)} if settings else {}),
        **({CODE_KEY: list(code)} if code else {}),
    }


def tags(domain: str, resource: str = "small") -> dict[str, str]:
    """Give an asset's tags: its domain (``rare``, ``common``, ``both``) and what it needs of a machine."""
    return {"domain": domain, "resource": resource}


def table_outs(tables: Mapping[str, str], domain: str) -> dict[str, dg.AssetOut]:
    """Give the outputs of an asset that makes several declared tables: name to ``layer/name``."""
    return {
        name: dg.AssetOut(
            key=key.split("/"),
            description=TABLES[key].description,
            code_version="1",
            kinds={"deltalake", "pyarrow"},
            tags=tags(domain),
        )
        for name, key in tables.items()
    }


def ontology_of(source: SourceFile) -> Ontology:
    """Read the ontology; what runs in one process shares it, for nothing changes it."""
    return _ontology_at(source.open_path(), source.version)


@lru_cache(maxsize=1)
def _ontology_at(path: Path, version: str) -> Ontology:
    from medassets.knowledge.ontology import Ontology

    return Ontology.from_obo(path)


def crosswalk_of(source: SourceFile) -> Crosswalk:
    """Read the crosswalk; without mappings each disease is its own."""
    from medassets.ingest.mondo import read_mondo
    from medassets.knowledge.crosswalk import Crosswalk

    return read_mondo(source.open_path()).crosswalk() if source.present else Crosswalk.identity()


def common_knowledge_of(source: SourceFile) -> CommonKnowledge:
    """Read the reference figures of common conditions, from the package or a release's folder."""
    from medassets.knowledge.common_conditions import CommonKnowledge

    if source.origin == "bundled":
        return CommonKnowledge.bundled()
    return CommonKnowledge.from_release(source.open_path())


def cohort(records: pa.Table, simulated: pa.Table) -> pa.Table:
    """Give the patients that this installation learns from: records if there are any, else simulated ones."""
    return records if records.num_rows else simulated


def in_part(table: pa.Table, split: pa.Table, key: str, *parts: str) -> pa.Table:
    """Give the rows of a table that a split puts into one of the parts."""
    import pyarrow.compute as pc

    chosen = split.filter(pc.is_in(split.column("part"), pa.array(parts))).column(key)
    return table.filter(pc.is_in(table.column(key), chosen.combine_chunks()))
