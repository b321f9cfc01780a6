"""Serving: the bundle that a bento carries, and the bento.

What belongs here: putting the champions into a bundle with their lineage. What does not: the bundle's form
(``serving.bundle``) and the service.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from medassets.orchestration.inputs import describe, ins, tags
from medassets.orchestration.promotion import CHAMPION, MODEL
from medassets.orchestration.source_files import SourceFile, record
from medassets.orchestration.tracking import MlflowTracking
from medassets.orchestration.training import COMMON_INPUTS, RARE_INPUTS, common_data
from medassets.settings import Settings


@dg.asset(
    key=["serving", "diagnosis_bundle"],
    ins={
        **RARE_INPUTS,
        **COMMON_INPUTS,
        **ins(
            "models/common_inquiry",
            "evaluation/model_cards",
            "evaluation/promotion",
            "evaluation/rare_promotion",
            "clinical/confirmed_cases",
            "clinical/ehr_cases",
            "clinical/orphanet_prevalences",
        ),
        **ins("models/common_ensemble", "models/rare_ranker", alias=CHAMPION),
    },
    io_manager_key="source_io_manager",
    code_version="2",
    kinds={"onnx", "numpy"},
    tags=tags("both"),
    metadata=describe(settings=("prevalence_prior",), code=("monitoring/confirmed.py",)),
)
def diagnosis_bundle(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], **inputs: Any
) -> SourceFile:
    """Everything the API needs: ONNX, arrays, tables and the lineage of each; no training library.

    The rare-disease memory is refitted on all known cases (those that feedback confirmed and hospital records
    hold too) and annotations; the report's figures stay those of
    the split.
    """
    from medassets.orchestration.bundling import bundle
    from medassets.serving.bundle_store import publish_bundle
    from medassets.stores.objects import ObjectStore

    made = bundle(inputs, settings, context.instance)
    context.add_output_metadata({"bundle_version": made.version, "place": str(made.directory)})
    if settings.bundles_url is not None:
        publish_bundle(made, ObjectStore(settings.bundles_url))
        context.add_output_metadata({"published": f"{settings.bundles_url}/{made.version}"})
    return record("diagnosis_bundle", str(settings.origin), made.directory)


@dg.asset(
    key=["serving", "diagnosis_bento"],
    ins=ins("serving/diagnosis_bundle"),
    io_manager_key="source_io_manager",
    code_version="2",
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


@dg.multi_asset_check(
    name="diagnosis_bundle_checks",
    specs=[
        dg.AssetCheckSpec(
            "export_equals_model",
            asset=["serving", "diagnosis_bundle"],
            blocking=True,
            description="exported models give the trained models' outputs within 1e-5 on up to 1,000 rows",
            additional_deps=[item.key for item in COMMON_INPUTS.values() if item.key],
        )
    ],
    ins={**COMMON_INPUTS, **ins("serving/diagnosis_bundle")},
)
def diagnosis_bundle_checks(
    settings: dg.ResourceParam[Settings], tracking: MlflowTracking, **inputs: Any
) -> Iterable[dg.AssetCheckResult]:
    """Let the bundle's export answer training rows beside the champion itself."""
    from medassets.learners.common.onnx_export import ExportError, check_export
    from medassets.serving.common import CommonPredictor

    matrix = common_data(inputs, settings).training.train.matrix[:1000]
    predictor = CommonPredictor.load(inputs["diagnosis_bundle"].open_path() / "common")
    try:
        differences = check_export(tracking.load(MODEL, alias=CHAMPION), predictor, matrix)
    except ExportError as error:
        yield dg.AssetCheckResult(passed=False, description=str(error))
    else:
        yield dg.AssetCheckResult(passed=True, metadata={k: float(v) for k, v in differences.items()})


@dg.asset_check(
    asset=["serving", "diagnosis_bundle"],
    description="most textbook cases are answered with their disease in the first three",
)
def textbook_cases(diagnosis_bundle: SourceFile) -> dg.AssetCheckResult:
    """Ask the bundle the textbook cases, as a physician would who tries it out."""
    from medassets.evaluation.rare_open import check_textbook, textbook_ranks
    from medassets.features.rare_model import RareModel

    found = check_textbook(textbook_ranks(RareModel.load(diagnosis_bundle.open_path() / "rare")))
    severity = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(passed=found.passed, severity=severity, description=found.message)


CHECKS = [diagnosis_bundle_checks, textbook_cases]
