"""What starts monitoring and retraining: jobs, the sensors that ask for them, and the hourly look.

What belongs here: when. What does not: whether (``monitoring.decision``) and what (``assets.monitoring``,
``assets.retraining``). With ``MEDASSETS_SENSORS=off`` nothing starts by itself until somebody switches it
on in the UI.

Each retraining carries its reasons as tags, waits while another runs, and is asked for once for the same
evidence: its run key names the served bundle and what is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from medassets.orchestration.compute import run_tags
from medassets.orchestration.days import DAYS, INTERVAL, STATUS, keys
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.monitoring import FEEDBACK, LOG, service_store, table_or_empty
from medassets.orchestration.retraining import (
    CASES,
    COMMON_JOB,
    COMPARISON,
    MONITOR_JOB,
    PATIENTS,
    PROMOTION,
    RARE_JOB,
    RETRAINING_TAG,
    SHADOW,
    TRIAL,
    TRIAL_JOB,
    champion_on_trial,
    decision_now,
    waiting_challenger,
)
from medassets.settings import Settings

FEEDBACK_JOB = "take_in_feedback"
#: A trial is looked at again after so many further answers.
ANSWERS = 50
_CHAIN = ("retraining/challenger_bundle", SHADOW, PROMOTION, "retraining/served_bundle")
_CONFIRMED = (CASES[0], PATIENTS)


def _job(name: str, description: str, *names: str, retrains: bool = False) -> dg.UnresolvedAssetJobDefinition:
    tags = {RETRAINING_TAG: "yes", **run_tags("large")} if retrains else run_tags("medium")
    return dg.define_asset_job(
        name,
        selection=keys(*names),
        description=description,
        tags=tags,
        executor_def=dg.in_process_executor,
    )


feedback_job = _job(
    FEEDBACK_JOB, "A day's answers and verdicts, and the cases that they confirm.", LOG, FEEDBACK, *_CONFIRMED
)
monitor_job = _job(
    MONITOR_JOB,
    "A day's answers and verdicts, drift, and performance by week.",
    LOG,
    FEEDBACK,
    "monitoring/drift_report",
    "monitoring/performance_report",
    *_CONFIRMED,
)
rare_job = _job(
    RARE_JOB, "New confirmed cases into the memory of rare diseases, judged and served.",
    CASES[1], *_CHAIN, retrains=True,
)  # fmt: skip
common_job = _job(
    COMMON_JOB, "The common models trained on and anew; the better one judged and served.",
    CASES[1], COMPARISON, *_CHAIN, retrains=True,
)  # fmt: skip
trial_job = _job(
    TRIAL_JOB, "The new champion against its predecessor; back where it is worse.",
    TRIAL, "retraining/bundle_after_trial",
)  # fmt: skip
judge_job = _job(
    "judge_challenger", "A challenger that answered a share of the requests, judged again.",
    *_CHAIN[1:], retrains=True,
)  # fmt: skip
records_job = _job("gather_record_cases", "Rare cases of hospital records.", CASES[1])


@dg.sensor(
    job=feedback_job,
    minimum_interval_seconds=INTERVAL,
    default_status=STATUS,
    description="Takes in verdicts as clinicians give them: each day with new ones gets a run.",
)
def new_feedback(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Look for verdicts that came after the last one seen."""
    since = context.cursor or ""
    with service_store(settings) as store:
        given = [] if store is None else [row for row in store.feedback(since) if row["at"] > since]
        asked = (
            {row["prediction_id"]: store.get(row["prediction_id"]).at[:10] for row in given} if store else {}
        )
    if not given:
        yield dg.SkipReason("no new feedback")
        return
    context.update_cursor(given[-1]["at"])
    days = sorted({row["at"][:10] for row in given} | set(asked.values()))
    for day in days:
        reason = f"{sum(row['at'][:10] == day for row in given)} new verdicts"
        yield dg.RunRequest(
            run_key=f"{day}-{given[-1]['feedback_id']}", partition_key=day, tags={"medassets/reason": reason}
        )


@dg.sensor(
    jobs=[rare_job, common_job, records_job],
    minimum_interval_seconds=INTERVAL,
    default_status=STATUS,
    description="Decides whether to train again, by accuracy, drift, new cases, age; the tags say why.",
)
def retraining(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    io_manager: dg.ResourceParam[DeltaIOManager],
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for the jobs of the parts that need it."""
    if (day := _newer_records(context.instance)) is not None:
        yield dg.RunRequest(run_key=f"records-{day}", job_name=records_job.name)
        return
    decision = decision_now(settings, io_manager, context.instance)
    if not decision.reasons:
        yield dg.SkipReason("; ".join(decision.rests) or "nothing asks for a retraining")
        return
    # The common job also takes new cases in: one run serves both.
    name = COMMON_JOB if "common" in decision.parts() else RARE_JOB
    said = "|".join([decision.served, *(f"{r.trigger}:{r.evidence}" for r in decision.reasons)])
    key = f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"
    yield dg.RunRequest(run_key=key, job_name=name, tags=decision.tags())


@dg.sensor(
    jobs=[trial_job, judge_job],
    minimum_interval_seconds=INTERVAL,
    default_status=STATUS,
    description="Watches a challenger that answers a share, and a newly promoted bundle in its trial period.",
)
def new_champion(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    io_manager: dg.ResourceParam[DeltaIOManager],
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for a judgement whenever there is more to judge by."""
    verdicts = table_or_empty(io_manager, FEEDBACK).num_rows
    if (waiting := waiting_challenger(settings, io_manager)) is not None:
        reason = f"{waiting} waits for verdicts on answers of its own"
        yield dg.RunRequest(
            run_key=f"{waiting}-{verdicts}", job_name=judge_job.name, tags={"medassets/reason": reason}
        )
        return
    tried = champion_on_trial(settings, io_manager, datetime.now(UTC))
    if tried is None:
        yield dg.SkipReason("no bundle is on trial")
        return
    answers = table_or_empty(io_manager, LOG).num_rows // ANSWERS
    yield dg.RunRequest(
        run_key=f"{tried['challenger']}-{verdicts}-{answers}",
        job_name=trial_job.name,
        tags={"medassets/reason": f"{tried['challenger']} is on trial until "
              f"{tried['at'] + timedelta(days=settings.retraining.trial_days):%F}"},
    )  # fmt: skip


@dg.schedule(
    job=monitor_job,
    cron_schedule="15 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus(STATUS.value),
    description="Looks at today's answers each hour, and once more at yesterday's after midnight.",
)
def monitor_hourly(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """Ask for today, in the first hour for yesterday too."""
    at = context.scheduled_execution_time or datetime.now(UTC)
    days = [at.date(), *([at.date() - timedelta(days=1)] if at.hour == 0 else [])]
    known = set(DAYS.get_partition_keys(current_time=at))
    return [
        dg.RunRequest(run_key=f"{at.isoformat()}-{day}", partition_key=day.isoformat())
        for day in days
        if day.isoformat() in known
    ]


def _newer_records(instance: dg.DagsterInstance) -> str | None:
    """A name for records that came after cases were last gathered from them; None where there are none."""
    made = instance.get_latest_materialization_event(dg.AssetKey(CASES[1].split("/")))
    since = made.timestamp if made else 0.0
    read = [
        instance.get_latest_materialization_event(dg.AssetKey(["clinical", name]))
        for name in ("ehr_conditions", "note_phenotypes")
    ]
    newest = max((event.timestamp for event in read if event), default=0.0)
    return f"{newest:.3f}" if newest > since else None


JOBS = [feedback_job, monitor_job, rare_job, common_job, trial_job, judge_job, records_job]
SENSORS = [new_feedback, retraining, new_champion]
SCHEDULES = [monitor_hourly]
