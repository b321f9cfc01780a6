"""Comparisons behind the common-condition models: treatment of rare conditions, mix of rows, the export.

What belongs here: calling the comparisons. What does not: the comparisons (``orchestration.comparing``). Each
states in its metadata which profile's budget it had.
"""

from typing import Any

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import TABLES
from medassets.orchestration import tables
from medassets.orchestration.assets.evaluation import ENSEMBLE, report_asset
from medassets.orchestration.checks import table_checks
from medassets.orchestration.metadata import markdown_table
from medassets.orchestration.training import COMMON_INPUTS, common_data
from medassets.settings import Settings

tables.declare()


@report_asset("imbalance_report", "common", COMMON_INPUTS)
def imbalance_report(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """SMOTE and ADASYN against class weights and nothing, one linear classifier, on validation rows."""
    from medassets.orchestration.comparing import imbalance_rows

    rows, notes = imbalance_rows(common_data(inputs, settings), settings)
    return _kept(context, "imbalance_report", rows, settings, notes="; ".join(notes) or "none")


@report_asset("mix_report", "common", COMMON_INPUTS)
def mix_report(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """Ensembles trained on records, on simulated patients, or on both; without records only the second."""
    from medassets.orchestration.comparing import mix_table

    table = mix_table(inputs, common_data(inputs, settings), settings)
    return _kept(context, "mix_report", table.to_pylist(), settings)


@report_asset("export_report", "common", ENSEMBLE)
def export_report(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> pa.Table:
    """Time for one patient by ONNX and by the Python models, and how far their answers lie apart."""
    from medassets.orchestration.comparing import export_rows

    rows = export_rows(inputs["common_ensemble"], common_data(inputs, settings), settings)
    return _kept(context, "export_report", rows, settings)


def _kept(
    context: dg.AssetExecutionContext,
    name: str,
    rows: list[dict[str, Any]],
    settings: Settings,
    **notes: str,
) -> pa.Table:
    """Give the rows as the declared table, and show them as metadata with the profile that made them."""
    figures = {f"{row['model']}/{row['metric']}": row["value"] for row in rows if row["value"] is not None}
    shown = {"figures": dg.MetadataValue.md(markdown_table(rows)), "profile": settings.profile}
    context.add_output_metadata({**figures, **shown, **notes})
    return pa.Table.from_pylist(rows, schema=TABLES[f"evaluation/{name}"].schema)


CHECKS = [
    table_checks(TABLES[f"evaluation/{name}"]) for name in ("imbalance_report", "mix_report", "export_report")
]
