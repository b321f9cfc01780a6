"""The loop back: a challenger, its shadow run, the decision, the bundle that serves, and its trial.

What belongs here: the steps as assets, so that each can be looked at and played again from the UI. What
does not: the steps' content (``orchestration.retraining``, ``medassets.monitoring``) and what starts them
(``sensors_retraining``). Nothing here is part of the whole graph's run: a challenger is made where the
decision asks for one.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import register
from medassets.monitoring.tables import MONITORING_TABLES
from medassets.orchestration import retraining as loop
from medassets.orchestration import sensors_retraining
from medassets.orchestration.inputs import asset_keys, describe, ins, tags
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.metadata import markdown_table
from medassets.orchestration.monitoring import FEEDBACK, LOG
from medassets.orchestration.source_files import SourceFile, record
from medassets.orchestration.tracking import MlflowTracking
from medassets.orchestration.training import COMMON_INPUTS, LEARNING_SETTINGS
from medassets.settings import Settings

register(MONITORING_TABLES)
Lake = dg.ResourceParam[DeltaIOManager]
JOBS, SENSORS, SCHEDULES = (
    sensors_retraining.JOBS,
    sensors_retraining.SENSORS,
    sensors_retraining.SCHEDULES,
)


def _step(key: str, kinds: set[str], domain: str = "both", **options: Any) -> Any:
    """Declare a step."""
    return dg.asset(key=key.split("/"), code_version="1", kinds=kinds, tags=tags(domain, "cpu"), **options)


@_step(
    loop.COMPARISON,
    {"deltalake", "mlflow"},
    "common",
    ins={**COMMON_INPUTS, **ins(loop.PATIENTS)},
    metadata=describe(settings=LEARNING_SETTINGS, code=("learners/common",)),
)
def common_comparison(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    tracking: MlflowTracking,
    **inputs: Any,
) -> pa.Table:
    """Train the common models on from where they stand, and anew; keep the better way as challenger."""
    table = loop.compare_ways(inputs, settings, tracking, context.run, context.log)
    context.add_output_metadata({"ways": dg.MetadataValue.md(markdown_table(table.to_pylist()))})
    return table


@_step(
    "retraining/challenger_bundle",
    {"onnx", "numpy"},
    deps=asset_keys(*loop.CASES, loop.COMPARISON),
    io_manager_key="source_io_manager",
)
def challenger_bundle(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    tracking: MlflowTracking,
    io_manager: Lake,
) -> SourceFile:
    """The served bundle with new confirmed cases in its memory, and a retrained common model if any."""
    made = loop.challenger(settings, io_manager, tracking, context.instance, context.run_id)
    left_out = [{"case": case, "reason": reason} for case, reason in made.left_out]
    context.add_output_metadata(
        {
            "bundle_version": made.bundle.version,
            "cases_added": len(made.added),
            "left_out": dg.MetadataValue.md(markdown_table(left_out)),
        }
    )
    return record("challenger_bundle", str(settings.origin), made.bundle.directory)


@_step(
    loop.SHADOW,
    {"deltalake", "onnx"},
    ins=ins("retraining/challenger_bundle"),
    deps=asset_keys(LOG, FEEDBACK),
)
def shadow_report(
    settings: dg.ResourceParam[Settings], io_manager: Lake, challenger_bundle: SourceFile
) -> pa.Table:
    """The challenger's answers to requests that the champion answered; nobody sees them."""
    return loop.shadow_report(settings, io_manager, challenger_bundle.open_path().name)


@_step(
    loop.PROMOTION,
    {"deltalake", "numpy"},
    ins=ins("retraining/challenger_bundle", loop.SHADOW),
    deps=asset_keys(FEEDBACK, loop.COMPARISON),
)
def promotion(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    tracking: MlflowTracking,
    io_manager: Lake,
    challenger_bundle: SourceFile,
    shadow_report: pa.Table,
) -> pa.Table:
    """Whether the challenger may serve, condition by condition."""
    version = challenger_bundle.open_path().name
    table = loop.promote(settings, io_manager, tracking, version, shadow_report)
    shown = table.select(["finding", "passed", "message"]).to_pylist()
    context.add_output_metadata({"conditions": dg.MetadataValue.md(markdown_table(shown))})
    return table


@_step(
    "retraining/served_bundle",
    {"bentoml"},
    ins=ins(loop.PROMOTION),
    io_manager_key="source_io_manager",
)
def served_bundle(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    tracking: MlflowTracking,
    promotion: pa.Table,
) -> SourceFile:
    """The bundle that serves after the decision: the challenger where every condition holds."""
    version = loop.serve(settings, tracking, promotion)
    context.add_output_metadata({"bundle_version": version})
    return record("served_bundle", str(settings.origin), settings.bundles_dir / version)


@_step(loop.TRIAL, {"deltalake", "scipy"}, deps=asset_keys(LOG, FEEDBACK, "retraining/served_bundle"))
def trial(settings: dg.ResourceParam[Settings], io_manager: Lake) -> pa.Table:
    """How the new champion does in its trial period beside how its predecessor did."""
    return loop.trial(settings, io_manager)


@_step("retraining/bundle_after_trial", {"bentoml"}, ins=ins(loop.TRIAL), io_manager_key="source_io_manager")
def bundle_after_trial(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], trial: pa.Table
) -> SourceFile:
    """The bundle that serves after the trial: the predecessor where the champion did worse."""
    version = loop.take_back(settings, trial)
    context.add_output_metadata({"bundle_version": version})
    return record("bundle_after_trial", str(settings.origin), settings.bundles_dir / version)


def _verdict(rows: list[Mapping[str, Any]], nothing: str) -> dg.AssetCheckResult:
    failed = [f"{row.get('finding', 'trial')}: {row['message']}" for row in rows if not row["passed"]]
    return dg.AssetCheckResult(
        passed=not failed,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(failed) or ("every condition holds" if rows else nothing),
    )


@dg.asset_check(asset=loop.PROMOTION.split("/"), description="Every condition of promotion holds.")
def challenger_may_serve(promotion: pa.Table) -> dg.AssetCheckResult:
    """Name the conditions that a challenger fails; the champion then goes on serving."""
    return _verdict(promotion.to_pylist(), "nothing was judged")


@dg.asset_check(
    asset=loop.TRIAL.split("/"), description="The new champion does as well as its predecessor did."
)
def champion_keeps_its_promise(trial: pa.Table) -> dg.AssetCheckResult:
    """Warn where a new champion is taken back."""
    return _verdict(trial.to_pylist(), "no bundle is on trial")


CHECKS = [challenger_may_serve, champion_keeps_its_promise]
