"""The loop's last leg: from the decision to train again to the bundle that serves, and back where it fails.

What belongs here: gathering the decision's evidence, the comparison of ways to train, promotion and taking
back. What does not: the rules themselves (``monitoring.decision``, ``monitoring.trial``), assets and
sensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from medassets.cohorts.tables import TABLES
from medassets.orchestration import lineage
from medassets.orchestration.days import UNDER_WAY
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.monitoring import (
    FEEDBACK,
    LOG,
    newest_day,
    served_bundle,
    table_or_empty,
)
from medassets.orchestration.tracking import MlflowTracking
from medassets.settings import Settings

if TYPE_CHECKING:
    from medassets.monitoring.challenger import Challenger, CommonModel
    from medassets.monitoring.decision import Decision
    from medassets.serving.bundle import Bundle

#: Jobs of the loop.
MONITOR_JOB, RARE_JOB, COMMON_JOB, TRIAL_JOB = (
    "monitor_day", "update_rare_memory", "retrain_common", "watch_trial",
)  # fmt: skip
#: Tag of every run that makes a challenger; never two at once.
RETRAINING_TAG = "medassets/retraining"
#: Registry alias of a common model that was trained again and has not been judged yet.
CHALLENGER_ALIAS = "challenger"
MODEL, CHAMPION = "common_ensemble", "champion"
COMPARISON, SHADOW, PROMOTION, TRIAL = (
    f"retraining/{name}" for name in ("common_comparison", "shadow_report", "promotion", "trial")
)
#: The condition that waits for answers of the challenger's own.
VERDICTS = "a/b verdicts"
CASES = ("clinical/confirmed_cases", "clinical/ehr_cases")
PATIENTS = "clinical/confirmed_patients"


def decision_now(
    settings: Settings, lake: DeltaIOManager, instance: dg.DagsterInstance | None = None
) -> Decision:
    """Decide on retraining from what the lake and the instance say at this moment."""
    from medassets.monitoring.decision import Evidence, decide
    from medassets.monitoring.drift import drifted_names
    from medassets.monitoring.log import latest_verdicts

    bundle = served_bundle(settings)
    runs = [] if instance is None else _retrainings(instance)
    begun = [run.create_timestamp for run in runs if run.dagster_run.job_name == COMMON_JOB]
    evidence = Evidence(
        now=datetime.now(UTC),
        verdicts=latest_verdicts(table_or_empty(lake, FEEDBACK).to_pylist()),
        drifted=drifted_names(newest_day(lake, "monitoring/drift_report")),
        new_cases=[] if bundle is None else _unknown_cases(bundle, lake),
        new_patients=0 if bundle is None else _unknown_patients(bundle, lake),
        served="" if bundle is None else bundle.version,
        bundle_made=None if bundle is None else bundle.manifest.created,
        last_retrained=max(begun, default=None),
        running=any(run.dagster_run.status in UNDER_WAY for run in runs),
    )
    return decide(evidence, limits_of(settings))


def limits_of(settings: Settings) -> Any:
    """The decision's limits as the site set them."""
    from medassets.monitoring.decision import Limits

    own = settings.retraining
    return Limits(
        accuracy=own.accuracy,
        min_labels=own.min_labels,
        window_days=settings.monitoring.window_days,
        drifted=own.drifted,
        new_cases=own.new_cases,
        new_patients=own.new_patients,
        every_days=own.every_days,
        cool_down_hours=own.cool_down_hours,
    )


def compare_ways(
    inputs: Mapping[str, Any], settings: Settings, tracking: MlflowTracking, run: dg.DagsterRun, log: Any
) -> pa.Table:
    """Train the common ensemble on, and anew; compare both with the champion; register the better one.

    Returns:
        ``retraining/common_comparison``; the chosen version carries the alias ``challenger``.
    """
    from medassets.monitoring.ways import Comparison, compare
    from medassets.orchestration.training import common_config, common_data

    data = common_data(inputs, settings)
    champion = tracking.load(MODEL, alias=CHAMPION)
    made: Comparison = compare(
        champion, data.training, inputs["confirmed_patients"], common_config(settings), settings.seed
    )
    if made.chosen is not None:
        version = keep_challenger(made.ensemble, tracking, run, log)
        made = made.with_version(version)
    return pa.Table.from_pylist(made.rows, schema=TABLES[COMPARISON].schema)


def keep_challenger(ensemble: Any, tracking: MlflowTracking, run: dg.DagsterRun, log: Any) -> str:
    """Register an ensemble and let the alias ``challenger`` name it."""
    import tempfile
    from pathlib import Path

    before = tracking.newest(MODEL)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        folder.mkdir()
        ensemble.save(folder)
        kept = tracking.keep(ensemble, folder, MODEL, run=run, log=log, asset=COMPARISON, inputs={})
    client = tracking.client()
    client.set_registered_model_alias(MODEL, CHALLENGER_ALIAS, kept.version)
    if before is not None:
        # ``candidate`` belongs to the graph's own training.
        client.set_registered_model_alias(MODEL, "candidate", before.version)
    return kept.version


def challenger(
    settings: Settings,
    lake: DeltaIOManager,
    tracking: MlflowTracking,
    instance: dg.DagsterInstance,
    run_id: str,
) -> Challenger:
    """Write the challenger's bundle from the served one, new cases and a retrained common model.

    Raises:
        dg.Failure: no bundle is served yet.
    """
    from medassets.monitoring.challenger import make_challenger
    from medassets.serving.signing import open_signer

    champion = served_bundle(settings)
    if champion is None:
        raise dg.Failure("no bundle is served yet: `medassets run` makes the first")
    tables = {key: table_or_empty(lake, key) for key in CASES}
    common = _retrained(tracking, champion, run_id)
    known = [key for key in (*CASES, *([PATIENTS] if common else [])) if lake.table(key).exists()]
    entries = lineage.data_entries(lineage.recorded(instance, known))
    return make_challenger(champion, tables, entries, run_id, common, sign=open_signer(settings).sign)


def _retrained(tracking: MlflowTracking, champion: Bundle, run_id: str) -> CommonModel | None:
    """The common model with the alias ``challenger``; None where there is none, or the champion has it."""
    from medassets.monitoring.challenger import CommonModel

    if not tracking.started():
        return None
    version = tracking.newest(MODEL, CHALLENGER_ALIAS)
    if version is None or champion.manifest.model_versions().get(MODEL) == version.version:
        return None
    ensemble = tracking.load(MODEL, alias=CHALLENGER_ALIAS)
    return CommonModel(ensemble.export_bundle, version.version, run_id, (PATIENTS,), ("ehr",))


def promote(
    settings: Settings, lake: DeltaIOManager, tracking: MlflowTracking, version: str, shadow: pa.Table
) -> pa.Table:
    """Judge the challenger: ``retraining/promotion``, one row a condition.

    Args:
        settings: the installation.
        lake: tables of verdicts and the comparison.
        tracking: the registry.
        version: the challenger's bundle.
        shadow: ``retraining/shadow_report`` of this challenger.
    """
    from medassets.evaluation.figures import Finding
    from medassets.features.rare_model import RareModel
    from medassets.monitoring.log import latest_verdicts
    from medassets.monitoring.trial import ab_finding, rare_finding
    from medassets.serving.bundle import load_bundle

    champion = served_bundle(settings)
    if champion is None:
        raise dg.Failure("no bundle is served: nothing to compare with")
    bundle = load_bundle(settings.bundles_dir / version)
    findings = {row["finding"]: Finding(row["passed"], row["message"]) for row in shadow.to_pylist()}
    verdicts = latest_verdicts(table_or_empty(lake, FEEDBACK).to_pylist())
    findings[VERDICTS] = ab_finding(verdicts, champion.version, version, settings.retraining.ab_labels)
    if "rare" in bundle.manifest.parts and _differ(champion, bundle, "rare"):
        old, new = (RareModel.load(b.part("rare")) for b in (champion, bundle))
        findings["rare ranking of known cases"] = rare_finding(old, new, settings.seed)
    if _differ(champion, bundle, "common"):
        for row in table_or_empty(lake, COMPARISON).to_pylist():
            if row["chosen"] and row["finding"]:
                findings[f"common {row['finding']}"] = Finding(row["passed"], row["message"])
    differs = version != champion.version
    findings["something new"] = Finding(differs, "the challenger differs" if differs else "nothing is new")
    accepted = all(finding.passed for finding in findings.values())
    _set_arms(settings, version, {name for name, finding in findings.items() if not finding.passed})
    at = datetime.now(UTC)
    rows = [
        {
            "finding": name,
            "passed": finding.passed,
            "message": finding.message,
            "champion": champion.version,
            "challenger": version,
            "promoted": accepted,
            "at": at,
        }
        for name, finding in findings.items()
    ]
    return pa.Table.from_pylist(rows, schema=TABLES[PROMOTION].schema)


def _set_arms(settings: Settings, version: str, failed: set[str]) -> None:
    """Let the challenger answer a share while verdicts are all that it lacks; else end that."""
    from medassets.serving.challenge import Challenge, set_challenge

    waits = failed == {VERDICTS}
    share = settings.retraining.ab_share
    set_challenge(settings.bundles_dir, Challenge(version, share) if waits else None)


def shadow_report(settings: Settings, lake: DeltaIOManager, version: str) -> pa.Table:
    """Let the challenger answer the newest requests of the log: ``retraining/shadow_report``."""
    from medassets.monitoring.log import latest_verdicts
    from medassets.monitoring.trial import replay, shadow_findings
    from medassets.serving.bundle import load_bundle
    from medassets.serving.predictor import Diagnoser

    champion = served_bundle(settings)
    rows: list[dict[str, Any]] = []
    if champion is not None and champion.version != version:
        log = table_or_empty(lake, LOG).sort_by([("at", "descending")])
        asked = log.slice(0, settings.retraining.replays).to_pylist()
        verdicts = latest_verdicts(table_or_empty(lake, FEEDBACK).to_pylist())
        bundles = (champion, load_bundle(settings.bundles_dir / version))
        replays = replay(asked, verdicts, *map(Diagnoser.of, bundles)) if asked else []
        rows = [
            {"finding": name, "passed": f.passed, "message": f.message, "challenger": version,
             "n": int(f.figures.get("n", 0))}
            for name, f in shadow_findings(replays, settings.retraining.shadow_agreement).items()
        ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=TABLES[SHADOW].schema)


def serve(settings: Settings, tracking: MlflowTracking, promotion: pa.Table) -> str:
    """Let ``latest`` name the challenger where every condition holds; running services follow within seconds.

    Returns:
        The version that is served now.
    """
    from medassets.serving.bundle import latest_bundle, point_latest, read_manifest

    row = promotion.to_pylist()[0]
    if not row["promoted"]:
        return latest_bundle(settings.bundles_dir).name
    point_latest(settings.bundles_dir, row["challenger"])
    common = read_manifest(settings.bundles_dir / row["challenger"]).model_versions().get(MODEL)
    if tracking.started() and common and common.isdigit() and tracking.newest(MODEL, CHALLENGER_ALIAS):
        tracking.client().set_registered_model_alias(MODEL, CHAMPION, common)
        tracking.client().delete_registered_model_alias(MODEL, CHALLENGER_ALIAS)
    return str(row["challenger"])


def trial(settings: Settings, lake: DeltaIOManager, now: datetime | None = None) -> pa.Table:
    """Judge the new champion in its trial period: ``retraining/trial``; empty where none is on trial."""
    from medassets.monitoring.log import latest_verdicts
    from medassets.monitoring.trial import judge_trial

    tried = champion_on_trial(settings, lake, now or datetime.now(UTC))
    if tried is None:
        return TABLES[TRIAL].empty()
    own = settings.retraining
    verdicts = latest_verdicts(table_or_empty(lake, FEEDBACK).to_pylist())
    found = judge_trial(
        verdicts, table_or_empty(lake, LOG).to_pylist(), tried["challenger"], tried["champion"],
        labels=own.trial_labels, margin=own.trial_margin,
    )  # fmt: skip
    row = {
        "champion": tried["challenger"],
        "predecessor": tried["champion"],
        "promoted_at": tried["at"],
        "until": tried["at"] + timedelta(days=own.trial_days),
        "passed": found.passed,
        "message": found.message,
    }
    return pa.Table.from_pylist([row], schema=TABLES[TRIAL].schema)


def champion_on_trial(settings: Settings, lake: DeltaIOManager, now: datetime) -> dict[str, Any] | None:
    """The promotion whose bundle serves and is still on trial; None where there is none."""
    from medassets.monitoring.trial import on_trial

    rows = table_or_empty(lake, PROMOTION).slice(0, 1).to_pylist()
    bundle = served_bundle(settings)
    if not rows or bundle is None or not rows[0]["promoted"] or rows[0]["challenger"] != bundle.version:
        return None
    return rows[0] if on_trial(rows[0]["at"], now, settings.retraining.trial_days) else None


def waiting_challenger(settings: Settings, lake: DeltaIOManager) -> str | None:
    """The challenger that lacks verdicts only and now answers a share; None without one."""
    from medassets.serving.challenge import read_challenge

    rows = table_or_empty(lake, PROMOTION).to_pylist()
    challenge = read_challenge(settings)
    failed = {row["finding"] for row in rows if not row["passed"]}
    if challenge is None or failed != {VERDICTS} or challenge.bundle != rows[0]["challenger"]:
        return None
    return challenge.bundle


def take_back(settings: Settings, tried: pa.Table) -> str:
    """Go back to the predecessor where the trial failed.

    Returns:
        The version that is served now.
    """
    from medassets.serving.bundle import latest_bundle, load_bundle, point_latest

    rows = tried.to_pylist()
    served = latest_bundle(settings.bundles_dir).name
    # The trial is of a bundle; a run that is repeated later must not take back another.
    if not rows or rows[0]["passed"] or rows[0]["champion"] != served:
        return served
    load_bundle(settings.bundles_dir / rows[0]["predecessor"])
    point_latest(settings.bundles_dir, rows[0]["predecessor"])
    return str(rows[0]["predecessor"])


def _retrainings(instance: dg.DagsterInstance) -> list[dg.RunRecord]:
    return list(instance.get_run_records(dg.RunsFilter(tags={RETRAINING_TAG: "yes"}), limit=50))


def _unknown_cases(bundle: Bundle, lake: DeltaIOManager) -> list[str]:
    """Ids of confirmed cases, of feedback and records, that the served memory does not hold."""
    from medassets.monitoring.challenger import unknown_cases

    tables = [table for key in CASES if (table := table_or_empty(lake, key)).num_rows]
    if not tables or "rare" not in bundle.manifest.parts:
        return []
    return unknown_cases(bundle, tables).cases.case_ids


def _unknown_patients(bundle: Bundle, lake: DeltaIOManager) -> int:
    """Confirmed patients beyond those that the served common model learned from."""
    entry = next((entry for entry in bundle.manifest.data if entry.asset == PATIENTS), None)
    return table_or_empty(lake, PATIENTS).num_rows - ((entry.rows or 0) if entry else 0)


def _differ(one: Bundle, other: Bundle, part: str) -> bool:
    files = (
        {n: f.sha256 for n, f in b.manifest.files.items() if n.startswith(f"{part}/")} for b in (one, other)
    )
    before, after = files
    return before != after
