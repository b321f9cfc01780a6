"""What an asset shows of its value in the UI: counts, columns with their meaning, a preview, a content hash.

What belongs here: turning values into Dagster metadata. What does not: computing the values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from medassets.cohorts.schema import Table

#: Rows and characters of a preview.
PREVIEW_ROWS, CELL_LENGTH = 8, 80
#: A patient's pseudonym, as ``ingest.pseudonyms`` makes it.
_PSEUDONYM = re.compile(r"ps_[0-9a-f]{32}")


def column_schema(schema: pa.Schema, spec: Table | None = None) -> dg.TableSchema:
    """Give Dagster's table schema, with the declared descriptions and constraints."""
    columns = []
    for field in schema:
        description = (field.metadata or {}).get(b"description", b"").decode()
        if spec and not description and field.name in spec.schema.names:
            description = spec.describe(field.name)
        constraints = dg.TableColumnConstraints(
            nullable=field.nullable,
            unique=bool(spec) and spec is not None and spec.primary_key == (field.name,),
        )
        columns.append(dg.TableColumn(field.name, str(field.type), description or None, constraints))
    return dg.TableSchema(columns)


def markdown_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Give rows as a Markdown table; long cells are cut and say so."""
    if not rows:
        return "_no rows_"
    names = list(columns or rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines.extend("| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows)
    return "\n".join(lines)


def preview(table: pa.Table, rows: int = PREVIEW_ROWS, columns: int = 14) -> str:
    """Give the first rows as a Markdown table; of very wide tables the first columns."""
    names = table.column_names[:columns]
    text = markdown_table(table.slice(0, rows).select(names).to_pylist(), names)
    more = len(table.column_names) - len(names)
    return f"{text}\n\n_{more} more columns_" if more > 0 else text


def table_metadata(table: pa.Table, spec: Table | None) -> dict[str, Any]:
    """Give the metadata that every table carries."""
    found: dict[str, Any] = {
        "dagster/row_count": table.num_rows,
        "dagster/column_schema": column_schema(table.schema, spec),
        "preview": dg.MetadataValue.md(preview(table.drop_columns(list(spec.private)) if spec else table)),
        "megabytes": round(table.nbytes / 1e6, 2),
    }
    if "origin" in table.column_names:
        counted = table.column("origin").value_counts().to_pylist()
        found["origins"] = {str(item["values"]): item["counts"] for item in counted}
    return found


def metrics_metadata(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten numbers so that the UI plots them over time; nested names are joined by ``/``."""
    flat: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat.update(metrics_metadata(value, f"{prefix}{name}/"))
        elif isinstance(value, bool):
            flat[f"{prefix}{name}"] = value
        elif isinstance(value, int | float):
            flat[f"{prefix}{name}"] = float(value)
    return flat


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    # The history of metadata outlives a person's erasure: no pseudonym may stand in it.
    text = _PSEUDONYM.sub("ps_…", text).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= CELL_LENGTH else text[: CELL_LENGTH - 1] + "…"
