"""The common path of the loop: trained on and anew, registered, bundled, judged, served, alias moved."""

from types import SimpleNamespace

import dagster as dg
import pyarrow as pa
import pytest

from medassets.cohorts.simulate_common import simulate
from medassets.cohorts.tables import TABLES
from medassets.monitoring import tables as declared
from medassets.orchestration import retraining as loop
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.monitoring import served_bundle
from medassets.orchestration.sensors_retraining import monitor_hourly, new_champion, retraining
from medassets.orchestration.tracking import MlflowTracking
from medassets.serving.bundle import latest_bundle, write_bundle
from medassets.serving.challenge import read_challenge
from medassets.serving.manifest import DataEntry, ModelEntry
from medassets.serving.signing import open_signer
from medassets.settings import Settings
from medassets_tests.learners.common import small
from medassets_tests.monitoring.made import verdict

assert declared.MONITORING_TABLES


@pytest.fixture
def confirmed() -> pa.Table:
    table = simulate(small.knowledge(), seed=78, per_condition=8, draw_values=True)
    ids = pa.array([f"prediction:{n}" for n in range(table.num_rows)])
    table = table.set_column(table.column_names.index("patient_id"), "patient_id", ids)
    return table.set_column(table.column_names.index("origin"), "origin", pa.array(["ehr"] * table.num_rows))


class Served:
    """An installation that serves the small ensemble, registered as champion."""

    def __init__(self, home, tracking: MlflowTracking, instance: dg.DagsterInstance) -> None:
        self.settings = Settings(home=home, _env_file=None, retraining={"new_patients": 40})
        self.lake, self.tracking = DeltaIOManager(lake_dir=str(home / "lake")), tracking
        self.run = dg.DagsterRun(job_name=loop.COMMON_JOB)
        self.instance = instance
        ensemble = small.ensemble()
        version = loop.keep_challenger(ensemble, tracking, self.run, dg.get_dagster_logger())
        client = tracking.client()
        client.set_registered_model_alias(loop.MODEL, loop.CHAMPION, version)
        client.set_registered_model_alias(loop.MODEL, "candidate", version)
        client.delete_registered_model_alias(loop.MODEL, loop.CHALLENGER_ALIAS)
        write_bundle(
            self.settings.bundles_dir,
            parts={"common": ensemble.export_bundle},
            settings_origin="folder",
            profile="quick",
            models=[ModelEntry(name=loop.MODEL, registry_version=version, training_origin=["ddxplus"])],
            data=[DataEntry(asset="clinical/common_patients", delta_version=0, rows=240)],
            sources=[],
            sign=open_signer(self.settings).sign,
        )


@pytest.fixture
def served(tmp_path, tracking, instance) -> Served:
    return Served(tmp_path, tracking, instance)


def test_enough_confirmed_patients_ask_for_a_retraining_once(served, confirmed):
    assert not loop.decision_now(served.settings, served.lake, served.instance).reasons
    served.lake.table(loop.PATIENTS).write(confirmed)
    decision = loop.decision_now(served.settings, served.lake, served.instance)
    assert decision.parts() == ("common",)
    assert decision.tags() == {"medassets/reason/common-new_patients": "48 confirmed patients to learn from"}
    with dg.build_sensor_context(
        instance=served.instance, resources={"settings": served.settings, "io_manager": served.lake}
    ) as context:
        asked = [list(retraining(context)) for _ in range(2)]
    (first,), (second,) = asked
    assert first.job_name == loop.COMMON_JOB and first.run_key == second.run_key
    # While one runs or waits, no other is asked for.
    served.instance.add_run(
        dg.DagsterRun(
            job_name=loop.COMMON_JOB, tags={loop.RETRAINING_TAG: "yes"}, status=dg.DagsterRunStatus.STARTED
        )
    )
    assert not loop.decision_now(served.settings, served.lake, served.instance).reasons


def test_the_chosen_way_becomes_a_challenger_and_serves_once_it_holds(served, confirmed, monkeypatch):
    monkeypatch.setattr(
        "medassets.orchestration.training.common_data",
        lambda inputs, settings: SimpleNamespace(training=small.data()),
    )
    monkeypatch.setattr("medassets.orchestration.training.common_config", lambda settings: small.CONFIG)
    before = served_bundle(served.settings)
    champion = served.tracking.newest(loop.MODEL, loop.CHAMPION)
    table = loop.compare_ways(
        {"confirmed_patients": confirmed},
        served.settings,
        served.tracking,
        served.run,
        dg.get_dagster_logger(),
    )
    served.lake.table(loop.COMPARISON).write(table)
    (version,) = {row["version"] for row in table.to_pylist() if row["version"]}
    assert version != champion.version
    assert served.tracking.newest(loop.MODEL, loop.CHALLENGER_ALIAS).version == version
    assert served.tracking.newest(loop.MODEL).version == champion.version  # the graph's own candidate stays

    made = loop.challenger(served.settings, served.lake, served.tracking, served.instance, "a-run")
    assert made.bundle.version != before.version
    assert latest_bundle(served.settings.bundles_dir).name == before.version  # nothing serves it yet
    (model,) = made.bundle.manifest.models
    assert (model.registry_version, model.dagster_run_id) == (version, "a-run")
    assert model.training_origin == ["ddxplus", "ehr"] and loop.PATIENTS in model.trained_on

    shadow = loop.shadow_report(served.settings, served.lake, made.bundle.version)
    assert shadow.column("finding").to_pylist() == ["shadow"]  # nothing was asked yet
    judged = loop.promote(served.settings, served.lake, served.tracking, made.bundle.version, shadow)
    names = judged.column("finding").to_pylist()
    assert {"common accuracy", "common critical misses", "a/b verdicts", "something new"} <= set(names)
    rows = [row | {"promoted": False} for row in judged.to_pylist()]
    refused = pa.Table.from_pylist(rows, schema=TABLES[loop.PROMOTION].schema)
    assert loop.serve(served.settings, served.tracking, refused) == before.version
    rows = [row | {"promoted": True} for row in judged.to_pylist()]
    accepted = pa.Table.from_pylist(rows, schema=TABLES[loop.PROMOTION].schema)
    assert loop.serve(served.settings, served.tracking, accepted) == made.bundle.version
    assert latest_bundle(served.settings.bundles_dir).name == made.bundle.version
    assert served.tracking.newest(loop.MODEL, loop.CHAMPION).version == version
    assert served.tracking.newest(loop.MODEL, loop.CHALLENGER_ALIAS) is None
    # What was promoted is not new a second time, and a run that is played again changes nothing.
    again = loop.challenger(served.settings, served.lake, served.tracking, served.instance, "again")
    assert again.bundle.version == made.bundle.version
    assert loop.serve(served.settings, served.tracking, accepted) == made.bundle.version


def test_a_challenger_that_lacks_verdicts_only_answers_a_share_until_it_has_them(served):
    settings = served.settings.model_copy(
        update={"retraining": served.settings.retraining.model_copy(update={"ab_labels": 3, "ab_share": 0.2})}
    )
    champion = served_bundle(settings)
    other = write_bundle(
        settings.bundles_dir,
        parts={"common": small.ensemble().export_bundle},
        settings_origin="folder",
        profile="full",  # another content, the same model
        models=list(champion.manifest.models),
        data=list(champion.manifest.data),
        sources=[],
        make_latest=False,
        sign=open_signer(settings).sign,
    ).version

    def judge() -> set[str]:
        shadow = loop.shadow_report(settings, served.lake, other)
        table = loop.promote(settings, served.lake, served.tracking, other, shadow)
        served.lake.table(loop.PROMOTION).write(table)
        return {row["finding"] for row in table.to_pylist() if not row["passed"]}

    assert judge() == {loop.VERDICTS}
    challenge = read_challenge(settings)
    assert (challenge.bundle, challenge.share) == (other, 0.2)
    assert loop.waiting_challenger(settings, served.lake) == other
    with dg.build_sensor_context(
        instance=served.instance, resources={"settings": settings, "io_manager": served.lake}
    ) as context:
        (asked,) = new_champion(context)
    assert asked.job_name == "judge_challenger" and "waits for verdicts" in asked.tags["medassets/reason"]
    rows = [verdict(n, "confirmed", "Bronchitis", bundle=("x", other)[n % 2]) for n in range(8)]
    feedback = pa.Table.from_pylist(rows, schema=TABLES[loop.FEEDBACK].schema)
    served.lake.table(loop.FEEDBACK).write(feedback)
    assert judge() == set()
    assert read_challenge(settings) is None and loop.waiting_challenger(settings, served.lake) is None


def test_taking_back_is_only_for_the_bundle_on_trial(served):
    version = latest_bundle(served.settings.bundles_dir).name
    row = {"champion": "another", "predecessor": version, "promoted_at": None, "until": None, "passed": False}
    other = pa.Table.from_pylist([row])
    assert loop.take_back(served.settings, other) == version
    assert loop.trial(served.settings, served.lake).num_rows == 0


def test_the_hourly_look_is_at_today_and_after_midnight_at_yesterday_too():
    from datetime import UTC, datetime

    def days(hour: int) -> list[str]:
        at = datetime(2026, 3, 3, hour, 15, tzinfo=UTC)
        return [
            r.partition_key for r in monitor_hourly(dg.build_schedule_context(scheduled_execution_time=at))
        ]

    assert days(0) == ["2026-03-03", "2026-03-02"] and days(7) == ["2026-03-03"]
