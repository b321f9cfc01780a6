"""Documents: the data dictionary and the technical file that each release carries.

What belongs here: declaring them. What does not: their content (``orchestration.documents``) and form.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from medassets.orchestration.inputs import describe, ins, tags
from medassets.orchestration.showing import write_page
from medassets.orchestration.source_files import SourceFile, record
from medassets.settings import Settings

DOCUMENT: dict[str, Any] = {
    "io_manager_key": "source_io_manager",
    "code_version": "1",
    "kinds": {"markdown"},
    "tags": tags("both"),
}


@dg.asset(
    key=["evaluation", "data_dictionary"],
    metadata=describe(code=("cohorts", "monitoring", "orchestration/tables.py")),
    **DOCUMENT,
)
def data_dictionary(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> SourceFile:
    """Every table of the lake with its columns, types and meaning, from the schemas that writers hold to."""
    from medassets.cohorts.tables import TABLES
    from medassets.cohorts.tables import data_dictionary as laid_out

    place = settings.reports_dir / "data-dictionary.md"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(laid_out(TABLES.values()), encoding="utf-8")
    context.add_output_metadata({"tables": len(TABLES), "place": str(place)})
    return record("data_dictionary", str(settings.origin), place)


@dg.asset(
    key=["serving", "technical_file"],
    ins=ins("serving/diagnosis_bundle", "evaluation/model_cards"),
    metadata=describe(code=("evaluation",)),
    **DOCUMENT,
)
def technical_file(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> SourceFile:
    """The regulatory technical file of the bundle: use, data, risks, results, changes, TRIPOD+AI, privacy."""
    from medassets.orchestration.documents import release_file

    bundle = inputs["diagnosis_bundle"].open_path()
    page = release_file(bundle, inputs["model_cards"], settings, context.instance)
    place = write_page(page, settings.reports_dir / "technical-file" / bundle.name)
    context.add_output_metadata(place)
    return record("technical_file", str(settings.origin), Path(place["place"]))
