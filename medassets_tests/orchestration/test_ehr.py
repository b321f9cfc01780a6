"""A hospital's files through the real graph by day: sensor, tables, checks, acknowledgement, repetition."""

import json
import os
import time
from datetime import UTC, datetime

import dagster as dg
import pytest

from medassets.cohorts import ehr
from medassets.orchestration.assets.ehr import fhir_server_nightly
from medassets.orchestration.build import build_definitions, resources_for
from medassets.settings import Settings
from medassets_tests.ingest.fhir_server import FhirServer, serving
from medassets_tests.ingest.fixtures_fhir import bundle, condition, consent, note, observation, patient

DAY = "2026-02-03"
SOME = "Ottoline has arachnodactyly. No scoliosis."


OBO = "format-version: 1.2\ndata-version: hp/releases/2025-01-16\n" + "".join(
    f"\n[Term]\nid: HP:{number}\nname: {name}\n" + (f"is_a: HP:{parent}\n" if parent else "")
    for number, name, parent in (
        ("0000001", "All", ""),
        ("0000118", "Phenotypic abnormality", "0000001"),
        ("0001166", "Arachnodactyly", "0000118"),
        ("0001250", "Seizure", "0000118"),
        ("0002650", "Scoliosis", "0000118"),
    )
)


class Site:
    """An installation with a key and nothing else."""

    def __init__(self, home, modules=("sources", "ehr"), **more) -> None:
        from medassets.serving.sealing import new_key

        home.mkdir()
        key = home / "key"
        key.write_text(new_key())
        key.chmod(0o600)
        (home / "hp.obo").write_text(OBO)
        (home / "phenotype.hpoa").write_text("#version: 2025-01-16\n")
        self.settings = Settings(home=home, key_file=key, hpo_dir=home, _env_file=None, **more)
        self.defs = build_definitions(self.settings, modules=modules)
        self.instance = dg.DagsterInstance.ephemeral()
        sources = self.defs.resolve_job_def("look_at_sources")
        assert sources.execute_in_process(instance=self.instance).success

    def drop(self, name: str, content: bytes, age: float = 60, folder=None) -> None:
        folder = folder or self.settings.fhir_inbox
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_bytes(content)
        os.utime(path, (time.time() - age,) * 2)

    def look(self, name: str = "fhir_inbox_files") -> list[dg.RunRequest]:
        (sensor,) = (s for s in self.defs.sensors if s.name == name)
        context = dg.build_sensor_context(
            instance=self.instance, resources={"settings": self.settings}, definitions=self.defs
        )
        return [event for event in sensor(context) if isinstance(event, dg.RunRequest)]

    def run(self, day: str, job: str = "fhir_inbox"):
        return self.defs.resolve_job_def(job).execute_in_process(
            partition_key=day, instance=self.instance, raise_on_error=False
        )

    def table(self, key: str):
        return resources_for(self.settings)["io_manager"].table(key).read()

    def rows(self, key: str) -> list[dict]:
        return self.table(key).to_pylist()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DAGSTER_HOME", raising=False)
        yield Site(tmp_path_factory.mktemp("site") / "home")


def test_a_dropped_bundle_reaches_the_tables_by_the_sensor_alone(site):
    good = bundle(patient(), consent(), condition(), observation(), note(SOME), patient("p2"))
    site.drop("Ottoline.json", good)
    site.drop("again.json", good)
    site.drop("half.json.part", b"{")
    site.drop("just-now.json", b"{}", age=-3600)
    site.drop("broken.json", b"{")
    (asked,) = site.look()
    assert asked.partition_key == datetime.now(UTC).date().isoformat()
    assert asked.tags["medassets/reason"] == "3 new files"
    assert site.look()[0].run_key == asked.run_key  # the daemon starts one run for it
    done = site.run(asked.partition_key)
    assert done.success
    assert all(e.passed for e in done.get_asset_check_evaluations())
    (person,) = site.rows("clinical/ehr_patients")
    assert person["day"] == asked.partition_key and person["origin"] == "ehr"
    assert [r["patient_id"] for r in site.rows("clinical/ehr_conditions")] == [person["patient_id"]]
    terms = {(r["hpo_id"], r["negated"]) for r in site.rows("clinical/note_phenotypes")}
    assert {("HP:0001166", False), ("HP:0002650", True)} <= terms
    counted = {(r["file"], r["what"]): r["n"] for r in site.rows("clinical/ehr_counts")}
    assert counted["all", "patients: permit"] == 1 and counted["all", "patients: no consent"] == 1
    assert {r["state"] for r in site.rows("clinical/ehr_deliveries")} == {"done", "failed"}
    inbox = site.settings.fhir_inbox
    placed = {
        p.relative_to(inbox).as_posix().replace(asked.partition_key, "D")
        for p in inbox.rglob("*")
        if p.is_file()
    }
    assert placed == {
        "done/D/Ottoline.json", "done/D/again.json", "failed/D/broken.json",
        "failed/D/broken.json.errors.json", "half.json.part", "just-now.json",
    }  # fmt: skip
    (error,) = json.loads((inbox / "failed" / asked.partition_key / "broken.json.errors.json").read_text())
    assert error["row"] == 1 and error["reason"].startswith("not JSON")
    assert not site.look()
    site.drop("broken.json", bundle(condition("d4")))  # corrected, under the same name
    assert site.look()[0].run_key != asked.run_key
    assert site.run(asked.partition_key).success


def test_nothing_in_the_lake_names_the_patient(site):
    words = (b"ottoline", b"quillfeather", b"larkspur", b"mrn-4471")
    import pyarrow as pa

    for key in [*ehr.DAY_TABLES.values(), "clinical/ehr_deliveries", "clinical/note_phenotypes"]:
        text = str(site.table(key).to_pylist()).lower().encode()
        assert not [word for word in words if word in text], key
        assert isinstance(site.table(key), pa.Table)


def test_a_day_that_is_read_again_gives_the_same(site):
    day = site.rows("clinical/ehr_patients")[0]["day"]
    before = {key: site.table(key) for key in ehr.DAY_TABLES.values()}
    assert site.run(day).success
    for key, table in before.items():
        assert site.table(key).sort_by("day").equals(table.sort_by("day")), key


def test_days_do_not_touch_each_other_and_consents_reach_over(site):
    arrived = site.settings.fhir_inbox / "arrived" / DAY
    arrived.mkdir(parents=True)
    (arrived / "later.json").write_bytes(bundle(patient(), condition("d7")))
    before = len(site.rows("clinical/ehr_conditions"))
    assert site.run(DAY).success
    assert len(site.rows("clinical/ehr_conditions")) == before + 1


def test_a_withdrawn_consent_takes_the_patient_out_of_earlier_days(site):
    (sensor,) = (s for s in site.defs.sensors if s.name == "consent_withdrawals")

    def asked() -> list[str]:
        given = {"settings": site.settings, "io_manager": resources_for(site.settings)["io_manager"]}
        context = dg.build_sensor_context(instance=site.instance, resources=given)
        return [found.partition_key for found in sensor(context) if isinstance(found, dg.RunRequest)]

    assert asked() == []
    today = datetime.now(UTC).date().isoformat()
    later = site.settings.fhir_inbox / "arrived" / "2026-02-05"
    later.mkdir(parents=True)
    (later / "withdrawal.json").write_bytes(bundle(consent(status="inactive")))
    assert site.run("2026-02-05").success
    # Today's own delivery has the older state of the same consent, but came later: it counts for today.
    assert asked() == []
    arrived = site.settings.fhir_inbox / "arrived" / today
    (arrived / "withdrawal.json").write_bytes(bundle(consent("c9", kind="deny", dateTime="2026-02-06")))
    assert site.run(today).success
    assert asked() == [DAY]
    assert site.run(DAY).success
    assert asked() == [] and not site.rows("clinical/ehr_conditions")


def test_without_a_key_records_are_refused_and_stay(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(home=tmp_path, _env_file=None)
    arrived = settings.fhir_inbox / "arrived" / DAY
    arrived.mkdir(parents=True)
    (arrived / "a.json").write_bytes(bundle(patient()))
    with pytest.raises(ValueError, match="MEDASSETS_KEY_FILE"):
        ehr.day_consents(settings, DAY)
    assert (arrived / "a.json").exists()
    assert ehr.day_consents(settings, "2026-02-04").num_rows == 0


def test_a_day_is_pulled_from_the_server(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with serving(FhirServer([patient(), consent(), condition()])) as server:
        server.pending = 0
        site = Site(tmp_path / "home", fhir_url=server.base)
        assert site.run(DAY, "fhir_server_day").success
    assert len(site.rows("sources/fhir_server")) == 3
    assert len(site.rows("clinical/ehr_conditions")) == 1
    assert not site.settings.fhir_inbox.joinpath("arrived", DAY, "server-Patient.000.ndjson").exists()


def test_the_files_of_a_site_s_folder_go_through_the_same_door_once(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    folder = tmp_path / "releases" / "fhir"
    folder.mkdir(parents=True)
    (folder / "export.json").write_bytes(bundle(patient(), consent(), condition()))
    site = Site(tmp_path / "home", origin="folder", data_dir=folder.parent)
    (sensor,) = (s for s in site.defs.sensors if s.name == "fhir_folder_files")

    def said(cursor=None, settings=site.settings):
        given = {"settings": settings, "source_io_manager": resources_for(settings)["source_io_manager"]}
        context = dg.build_sensor_context(instance=site.instance, resources=given, cursor=cursor)
        return sensor(context).skip_message, context.cursor

    message, cursor = said()
    assert message.startswith("1 of 1 files were new")
    assert said(cursor)[0] == "the folder holds what was offered"
    assert said()[0].startswith("0 of 1 files were new")
    assert "MEDASSETS_KEY_FILE" in said(settings=Settings(home=site.settings.home, _env_file=None))[0]
    (dropped,) = site.settings.fhir_inbox.glob("*.json")
    os.utime(dropped, (time.time() - 60,) * 2)
    (asked,) = site.look()
    assert site.run(asked.partition_key).success
    assert len(site.rows("clinical/ehr_conditions")) == 1
    assert said()[0].startswith("0 of 1 files were new")


@pytest.mark.parametrize("url, asks", [(None, False), ("http://127.0.0.1:1/fhir", True)])
def test_the_nightly_pull_asks_for_yesterday(tmp_path, url, asks):
    settings = Settings(home=tmp_path, fhir_url=url, _env_file=None)
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 2, 4, 0, 30, tzinfo=UTC), resources={"settings": settings}
    )
    found = fhir_server_nightly(context)
    assert (found.partition_key == DAY) if asks else isinstance(found, dg.SkipReason)
