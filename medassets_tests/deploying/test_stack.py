"""One table, two writings: the compose file and the process manager's file cannot drift apart."""

import configparser
import json
import os
import shlex
from pathlib import Path

import pytest
import yaml

from medassets.deploying import native
from medassets.deploying.compose import compose, container_words, files
from medassets.deploying.configuration import completed, configuration
from medassets.deploying.native import StackError, plan, refuse_unfit, supervisor_file, write_files
from medassets.deploying.stack import PROCESSES, STACK_PROFILES, filled, needs, processes, shared_environment
from medassets.settings import Settings

COMPOSE = Path(__file__).resolve().parents[2] / "deployment" / "compose"


@pytest.fixture
def every_program(monkeypatch):
    """A machine on which each program is installed."""
    monkeypatch.setattr(native, "find_program", lambda name: f"/opt/{Path(name).name}")


@pytest.mark.parametrize("name", files())
def test_the_committed_compose_files_are_what_the_table_gives(name):
    assert (COMPOSE / name).read_text() == files()[name], "run python -m medassets.deploying.compose"


def test_every_service_is_locked_limited_and_watched():
    for name, service in compose()["services"].items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert ":" in service["image"] and not service["image"].endswith(":latest"), name


def test_only_what_people_look_at_is_published_and_only_on_loopback():
    services = compose()["services"]
    published = {name for name, service in services.items() if "ports" in service}
    assert published == {"api", "page", "webserver", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for s in services.values() for port in s.get("ports", []))


def test_small_fits_a_clinic_and_has_no_store():
    small = processes("small")
    assert {process.name for process in small} == {"code-server", "webserver", "daemon", "api", "page"}
    assert all(process.is_own for process in small)
    assert all(not needs(p, "small") or needs(p, "small") == ["code-server"] for p in small)


@pytest.mark.parametrize("profile", STACK_PROFILES)
def test_what_is_needed_comes_first(profile):
    seen: set[str] = set()
    for process in processes(profile):
        assert set(needs(process, profile)) <= seen, process.name
        seen.add(process.name)


def test_an_unknown_profile_is_named():
    with pytest.raises(ValueError, match="'large': choose one of small, full"):
        processes("large")


@pytest.mark.parametrize("profile", STACK_PROFILES)
def test_both_writings_run_the_same_commands(profile, tmp_path, every_program):
    made = plan(Settings(home=tmp_path), profile)
    services = compose()["services"]
    for ready in made.members:
        process = ready.process
        if process.native_command:
            continue
        service = services[process.name]
        container = [*service.get("entrypoint", []), *service["command"]]
        at = {**made.at, "port": str(made.ports.get(process.name)), "data": str(ready.data)}
        assert len(container) == len(ready.command)
        for there, here, word in zip(container[1:], ready.command[1:], process.command[1:], strict=True):
            assert here == filled(word, at)
            assert there == here or "{" in word, "only addresses and folders differ"


@pytest.mark.parametrize("profile", STACK_PROFILES)
def test_both_writings_have_the_same_settings(profile, tmp_path, every_program):
    made = plan(Settings(home=tmp_path), profile)
    shared = dict(line.split("=", 1) for line in files()[f"{profile}/stack.env"].splitlines())
    assert shared.keys() == shared_environment(profile).keys()
    for ready in made.members:
        if ready.process.is_own:
            assert shared.keys() <= ready.environment.keys()
    here, there = configuration(profile, made.at), configuration(profile, container_words(profile))
    assert here.keys() == there.keys()


def test_the_shared_variables_are_settings():
    for name in shared_environment("full"):
        field = name.removeprefix("MEDASSETS_").lower().split("__")[0]
        assert field in Settings.model_fields or name == "MEDASSETS_DAGSTER_DATABASE"


def test_the_managers_file_waits_restarts_and_keeps_secrets_out(tmp_path, every_program):
    made = plan(Settings(home=tmp_path), "full")
    manager = write_files(made)
    parser = configparser.RawConfigParser()
    parser.read(manager)
    assert supervisor_file(made) == manager.read_text()
    secret = (tmp_path / "secrets" / "postgres-password").read_text()
    assert len(secret) > 20 and secret not in manager.read_text()
    assert manager.stat().st_mode & 0o077 == 0
    for ready in made.members:
        section = parser[f"program:{ready.process.name}"]
        assert section["autorestart"] == "true" and section["killasgroup"] == "true"
        words = shlex.split(section["command"])
        end = words.index("--")
        assert words[end + 1 :] == ready.command and words[4:end] == ready.waits
        variables = Path(words[3])
        assert variables.stat().st_mode & 0o077 == 0
        told = json.loads(variables.read_text())
        assert (told["environment"], told["user"]) == (ready.environment, ready.user)
        assert (told["nice"] > 0) == ready.process.background
    assert any("bundles/latest" in wait for m in made.members if m.process.name == "api" for wait in m.waits)
    assert parser["eventlistener:watch"]["events"] == "TICK_60"


def test_a_sites_own_dagster_yaml_is_completed_not_changed(tmp_path, every_program):
    own = tmp_path / "dagster" / "dagster.yaml"
    own.parent.mkdir()
    own.write_text("run_retries: {enabled: false}\n")
    write_files(plan(Settings(home=tmp_path), "small"))
    kept = yaml.safe_load(own.read_text())
    assert kept["run_retries"] == {"enabled": False}
    assert kept["run_launcher"]["class"] == "WatchedRunLauncher"
    moved = completed(kept, "full", tmp_path / "dagster")
    assert "postgres" in moved["storage"] and moved["run_retries"] == {"enabled": False}


def test_missing_programs_are_all_named_with_their_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "find_program", lambda name: None)
    with pytest.raises(StackError) as caught:
        plan(Settings(home=tmp_path), "full")
    for text in ("postgres (apt-get install postgresql)", "redis-server (apt-get install redis-server)"):
        assert text in str(caught.value)
    assert "grafana" not in str(caught.value)


def test_the_doctor_knows_what_a_profile_lacks(monkeypatch):
    there = {"dagster", "dagster-webserver", "dagster-daemon", "medassets"}
    monkeypatch.setattr(native, "find_program", lambda name: name if name in there else None)
    assert native.missing_programs("small") == ["supervisord (make install, or apt-get install supervisor)"]
    assert "prometheus (apt-get install prometheus)" in native.missing_programs("full")


def test_what_is_optional_is_left_out_with_a_note(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "find_program", lambda name: None if name == "grafana" else f"/opt/{name}")
    made = plan(Settings(home=tmp_path), "full")
    assert "grafana" not in {m.process.name for m in made.members}
    assert any("grafana is left out" in note for note in made.notes)
    assert any("kafka is stood in for by tansu" in note for note in made.notes)


def test_a_stream_waits_for_a_broker_that_keeps_its_log(tmp_path, every_program):
    made = plan(Settings(home=tmp_path), "full")
    assert "stream-mqtt" in {m.process.name for m in made.members}
    assert "stream-kafka" not in {m.process.name for m in made.members}
    assert any(note.startswith("stream-kafka is left out") for note in made.notes)
    own = Settings(home=tmp_path, stream={"kafka_servers": "broker:9092"})
    (stream,) = (m for m in plan(own, "full").members if m.process.name == "stream-kafka")
    assert "MEDASSETS_STREAM__KAFKA_SERVERS" not in stream.environment
    assert json.loads(stream.environment["MEDASSETS_STREAM"])["kafka_servers"] == "broker:9092"
    assert stream.environment["MEDASSETS_STREAM__MQTT_HOST"] == "127.0.0.1"


def test_a_taken_port_a_full_disk_and_a_foreign_folder_are_refused_together(
    tmp_path, every_program, monkeypatch
):
    made = plan(Settings(home=tmp_path), "small")
    monkeypatch.setattr(native, "LEAST_FREE", 10**18)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StackError) as caught:
        refuse_unfit(made, {"api": 3000})
    for text in ("port 3000 of api is in use", "free at least", "cannot be written"):
        assert text in str(caught.value)


def test_ports_shift_together(tmp_path, every_program):
    made = plan(Settings(home=tmp_path, port_shift=100), "full")
    assert made.ports["api"] == 3100 and made.at["postgres"] == "127.0.0.1:5532"
    assert {p.name: p.port + 100 for p in PROCESSES if p.port} == dict(made.ports)
