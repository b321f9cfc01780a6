"""When assets are made by themselves, and how old they may be.

What belongs here: freshness policies, automation conditions, jobs and schedules, one map for all layers. What
does not: the assets. The daemon of ``dagster dev`` evaluates them; ``medassets run`` decides by itself
(``staleness``).

Sources are looked at by their release rhythm. Everything else follows a change of *content*: an input that is
made again with the same data version starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from medassets.settings import Settings

#: Names of the jobs.
WHOLE_GRAPH, SOURCES_JOB = "whole_graph", "look_at_sources"
#: When sources are looked at: HPO, MONDO and phenopacket-store publish monthly; a site's folder may change
#: daily.
SOURCES_CRON = "0 5 * * *"

#: How old an asset of a layer may be: (failure, warning). Sources by their release rhythm, clinical tables in
#: hours, models and reports in days.
FRESHNESS: Mapping[str, dg.FreshnessPolicy] = {
    "sources": dg.FreshnessPolicy.time_window(fail_window=timedelta(days=35), warn_window=timedelta(days=8)),
    "clinical": dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=72), warn_window=timedelta(hours=26)
    ),
    "features": dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=96), warn_window=timedelta(hours=50)
    ),
    "synthetic": dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=14), warn_window=timedelta(days=8)
    ),
    "models": dg.FreshnessPolicy.time_window(fail_window=timedelta(days=30), warn_window=timedelta(days=14)),
    "evaluation": dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=30), warn_window=timedelta(days=14)
    ),
    "serving": dg.FreshnessPolicy.time_window(fail_window=timedelta(days=30), warn_window=timedelta(days=14)),
    "monitoring": dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=26), warn_window=timedelta(hours=3)
    ),
    # A challenger is made when the decision asks for one, and every 90 days in any case.
    "retraining": dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=180), warn_window=timedelta(days=100)
    ),
}
#: Layers that follow the running service: sensors and schedules make them, never the whole graph's run.
LIVE = ("monitoring", "retraining", "operations")
#: The policy of a layer that names none.
DEFAULT_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(days=30), warn_window=timedelta(days=14)
)


def on_change(*, may_miss: dg.AssetSelection | None = None) -> dg.AutomationCondition:
    """Make an asset when it is missing, when an input's content changed, or when its own code did.

    Like Dagster's ``eager``, except that an input counts as updated only where its data version differs.

    Args:
        may_miss: inputs by day that are not waited for: on most days nothing arrives.
    """
    # The conditions' generic types differ by entity in ways that type checkers cannot join.
    condition: Any = dg.AutomationCondition
    missing = condition.any_deps_missing()
    changed = condition.data_version_changed() & ~condition.executed_with_root_target()
    made: dg.AutomationCondition = (
        condition.in_latest_time_window()
        & (
            condition.newly_missing()
            | condition.code_version_changed()
            | condition.any_deps_match(changed | condition.will_be_requested()).with_label("any_deps_changed")
        ).since_last_handled()
        & ~(missing if may_miss is None else missing.ignore(may_miss))
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    ).with_label("on_change")
    return made


def condition_of(layer: str) -> dg.AutomationCondition | None:
    """Give the automation condition of a layer; a retraining starts by decision, never by changed content."""
    if layer == "retraining":
        return None
    return dg.AutomationCondition.on_cron(SOURCES_CRON) if layer == "sources" else on_change()


def freshness_of(layer: str) -> dg.FreshnessPolicy:
    """Give the freshness policy of a layer."""
    return FRESHNESS.get(layer, DEFAULT_FRESHNESS)


def executor_of(settings: Settings, pods: Mapping[str, Any] | None = None) -> dg.ExecutorDefinition:
    """Give what executes the steps of a run.

    In process a step starts at once and all share one process; several processes cost about three seconds a
    step and pay where steps are long and many; ``k8s`` gives each step a pod of its own size (``compute``;
    the image is that of the code location).
    """
    if settings.executor == "multiprocess":
        forkserver = {"forkserver": {"preload_modules": ["medassets.definitions"]}}
        return dg.multiprocess_executor.configured(
            {"max_concurrent": settings.threads, "start_method": forkserver}, name="multiprocess"
        )
    if settings.executor == "k8s":
        from dagster_k8s import k8s_job_executor

        return k8s_job_executor.configured({"per_step_k8s_config": dict(pods or {})}, name="k8s")
    return dg.in_process_executor


def jobs(
    keys: Iterable[dg.AssetKey], executor: dg.ExecutorDefinition = dg.in_process_executor
) -> list[dg.UnresolvedAssetJobDefinition]:
    """Make the jobs over the unpartitioned assets."""
    unpartitioned = sorted(keys)
    return [
        dg.define_asset_job(
            WHOLE_GRAPH,
            selection=dg.AssetSelection.assets(*unpartitioned),
            description="Every unpartitioned asset with its checks, from the sources to the bento.",
            executor_def=executor,
        ),
        dg.define_asset_job(
            SOURCES_JOB,
            selection=dg.AssetSelection.assets(*(key for key in unpartitioned if key.path[0] == "sources")),
            description="Look at every source; what changed starts what hangs on it.",
            executor_def=dg.in_process_executor,
        ),
    ]


def schedules() -> list[dg.ScheduleDefinition]:
    """Make the schedules; they are off until somebody switches them on."""
    return [
        dg.ScheduleDefinition(
            name="look_at_sources_daily",
            job_name=SOURCES_JOB,
            cron_schedule=SOURCES_CRON,
            description="Look at every source each morning.",
        )
    ]


def sensors() -> list[dg.AutomationConditionSensorDefinition]:
    """Make the sensor that evaluates the automation conditions; off until somebody switches it on."""
    return [
        dg.AutomationConditionSensorDefinition(
            "changed_content",
            target=dg.AssetSelection.all(),
            description="Makes what is missing and what hangs on changed content.",
        )
    ]
