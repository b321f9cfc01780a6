"""Monitoring: what was answered and found out, what drifted, how well it goes; and cases that feedback
confirmed.

What belongs here: calling ``medassets.monitoring``. What does not: the tests and figures themselves. These
assets are live: their own job makes them day by day, and the run of the whole graph leaves them alone, but
for the two tables of confirmed patients, from which models learn.
"""

from datetime import date

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import TABLES, register
from medassets.monitoring.tables import MONITORING_TABLES
from medassets.orchestration.days import BY_DAY, DAYS, DELTA
from medassets.orchestration.inputs import asset_keys, describe, tags
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.metadata import markdown_table
from medassets.orchestration.monitoring import (
    FEEDBACK,
    LOG,
    drift_of,
    service_store,
    table_or_empty,
)
from medassets.settings import Settings

register(MONITORING_TABLES)
CODE = describe(code=("monitoring/confirmed.py", "monitoring/records.py"))
EHR = ("clinical/ehr_patients", "clinical/ehr_conditions", "clinical/note_phenotypes")


def _day(context: dg.AssetExecutionContext) -> date:
    return date.fromisoformat(context.partition_key)


@dg.asset(
    key=LOG.split("/"), partitions_def=DAYS, metadata=BY_DAY, code_version="1", kinds=DELTA, tags=tags("both")
)
def prediction_log(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> pa.Table:
    """What the service was asked and answered on a day, without anything that identifies a person."""
    from medassets.monitoring.log import log_of_day

    with service_store(settings) as store:
        table = log_of_day(store, _day(context))
    context.add_output_metadata(
        {"state": "as answered" if table.num_rows else "nothing was asked on this day"}
    )
    return table


@dg.asset(
    key=FEEDBACK.split("/"),
    deps=asset_keys(LOG),
    partitions_def=DAYS,
    metadata=BY_DAY,
    code_version="1",
    kinds=DELTA,
    tags=tags("both"),
)
def clinician_feedback(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> pa.Table:
    """What clinicians found out on a day, each verdict joined to the prediction that it is about."""
    from medassets.monitoring.log import feedback_of_day

    with service_store(settings) as store:
        return feedback_of_day(store, _day(context))


@dg.asset(
    key=["monitoring", "drift_report"],
    deps=asset_keys(LOG),
    partitions_def=DAYS,
    metadata=BY_DAY,
    code_version="1",
    kinds={"deltalake", "evidently"},
    tags=tags("both"),
)  # fmt: skip
def drift_report(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    io_manager: dg.ResourceParam[DeltaIOManager],
) -> pa.Table:
    """The last weeks' patients and answers against what the served bundle learned from (Evidently)."""
    table, summaries, pages = drift_of(io_manager, settings, _day(context))
    drifted = [row for row in table.to_pylist() if row["drifted"]]
    context.add_output_metadata(
        {
            "drifted": len(drifted),
            "drifted_features": dg.MetadataValue.md(markdown_table(drifted[:30])),
            **{f"evidently_{part}": dg.MetadataValue.json(of) for part, of in summaries.items()},
            **{name: dg.MetadataValue.path(place) for name, place in pages.items()},
        }
    )
    return table


@dg.asset(
    key=["monitoring", "performance_report"],
    deps=asset_keys(LOG, FEEDBACK),
    code_version="1",
    kinds={"deltalake", "prometheus"},
    tags=tags("both"),
)
def performance_report(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    io_manager: dg.ResourceParam[DeltaIOManager],
) -> pa.Table:
    """Accuracy, calibration, critical misses, feedback and usage by week, as labels come in; latency."""
    from medassets.knowledge.common_conditions import CommonKnowledge
    from medassets.monitoring.performance import performance
    from medassets.monitoring.plots import weekly_plots
    from medassets.orchestration.monitoring import latency_now

    latency, why = latency_now(settings)
    severity = {condition.name: condition.severity for condition in CommonKnowledge.bundled().conditions}
    log, feedback = (table_or_empty(io_manager, key) for key in (LOG, FEEDBACK))
    table = performance(log, feedback, severity, latency, settings.seed)
    plots = {name: dg.MetadataValue.md(text) for name, text in weekly_plots(table).items()}
    context.add_output_metadata({"latency": why, **plots})
    return table


@dg.multi_asset(
    name="confirmed_tables",
    deps=asset_keys(FEEDBACK),
    outs={
        name: dg.AssetOut(
            key=key.split("/"),
            description=TABLES[key].description,
            code_version="1",
            kinds=DELTA,
            tags=tags(domain),
            metadata=CODE,
        )
        for name, key, domain in (
            ("cases", "clinical/confirmed_cases", "rare"),
            ("patients", "clinical/confirmed_patients", "common"),
        )
    },
)  # fmt: skip
def confirmed_tables(io_manager: dg.ResourceParam[DeltaIOManager]) -> tuple[pa.Table, pa.Table]:
    """Turn confirmed feedback into cases to learn from; empty while nobody confirmed anything."""
    from medassets.knowledge.common_conditions import CommonKnowledge
    from medassets.monitoring.confirmed import confirmed_cases, confirmed_patients

    feedback = table_or_empty(io_manager, FEEDBACK)
    return confirmed_cases(feedback), confirmed_patients(feedback, CommonKnowledge.bundled())


@dg.asset(
    key=["clinical", "ehr_cases"],
    deps=asset_keys(*EHR),
    code_version="1",
    kinds=DELTA,
    tags=tags("rare"),
    metadata=CODE,
)
def ehr_cases(io_manager: dg.ResourceParam[DeltaIOManager]) -> pa.Table:
    """Put coded rare diagnoses of hospital records together with their findings; empty without records."""
    from medassets.monitoring.records import ehr_cases as put_together

    return put_together(*(table_or_empty(io_manager, key).to_pylist() for key in EHR))


@dg.asset_check(
    asset=["monitoring", "drift_report"],
    name="no_drift",
    description="No feature, group or answer moved away from the training data; corrected for all tests.",
)
def no_drift(
    settings: dg.ResourceParam[Settings], io_manager: dg.ResourceParam[DeltaIOManager]
) -> dg.AssetCheckResult:
    """Name what drifted in the newest report."""
    from medassets.monitoring.drift import alert
    from medassets.orchestration.monitoring import newest_day

    found = alert(newest_day(io_manager, "monitoring/drift_report"))
    return dg.AssetCheckResult(
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=found.message,
        metadata={"drifted": dg.MetadataValue.json(found.figures["drifted"])},
    )


@dg.asset_check(
    asset=["monitoring", "performance_report"],
    name="accuracy_holds",
    description="No part's accuracy lies below the mission's with its whole interval, given enough labels.",
)
def accuracy_holds(
    settings: dg.ResourceParam[Settings], io_manager: dg.ResourceParam[DeltaIOManager]
) -> dg.AssetCheckResult:
    """Judge the accuracy over the last weeks as the retraining decision does."""
    from medassets.orchestration.retraining import decision_now

    found = [r for r in decision_now(settings, io_manager).reasons if r.trigger == "accuracy"]
    return dg.AssetCheckResult(
        passed=not found,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(reason.text for reason in found)
        or "no accuracy is below the limit for certain",
    )


CHECKS = [no_drift, accuracy_holds]
