"""Serving: the bundle that a bento carries, and the bento.

What belongs here: putting the champions into a bundle with their lineage. What does not: the bundle's form
(``serving.bundle``) and the service.
"""

from typing import Any

import dagster as dg

from medassets.orchestration.inputs import ins, tags
from medassets.orchestration.source_files import SourceFile, record
from medassets.orchestration.training import COMMON_INPUTS, RARE_INPUTS
from medassets.settings import Settings


@dg.asset(
    key=["serving", "diagnosis_bundle"],
    ins={
        **RARE_INPUTS,
        **COMMON_INPUTS,
        **ins(
            "models/rare_ranker", "models/common_inquiry", "evaluation/model_cards", "evaluation/promotion"
        ),
        **ins("models/common_ensemble", alias="champion"),
    },
    io_manager_key="source_io_manager",
    code_version="1",
    kinds={"onnx", "numpy"},
    tags=tags("both"),
)
def diagnosis_bundle(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> SourceFile:
    """Everything the API needs: ONNX, arrays, tables and the lineage of each; no training library.

    The rare-disease memory is refitted on all known cases and annotations; the report's figures stay those of
    the split.
    """
    from medassets.orchestration.bundling import bundle

    made = bundle(inputs, settings, context.instance)
    context.add_output_metadata({"bundle_version": made.version, "place": str(made.directory)})
    return record("diagnosis_bundle", str(settings.origin), made.directory)


@dg.asset(
    key=["serving", "diagnosis_bento"],
    ins=ins("serving/diagnosis_bundle"),
    io_manager_key="source_io_manager",
    code_version="1",
    kinds={"bentoml"},
    tags=tags("both"),
)
def diagnosis_bento(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], diagnosis_bundle: SourceFile
) -> SourceFile:
    """The bento of the bundle: the service, its code and the bundle."""
    from medassets.serving.bento import build_bento

    made = build_bento(diagnosis_bundle.open_path(), settings.home / "bentoml")
    context.add_output_metadata({"tag": made.tag, "place": str(made.path)})
    return record("diagnosis_bento", str(settings.origin), made.path)
