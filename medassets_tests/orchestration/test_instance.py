"""Dagster keeps runs and events in SQLite by default, in PostgreSQL by setting; a site's own file stays."""

import dagster as dg
import pytest
import yaml

from medassets.orchestration.instance import DATABASE, instance_folder, open_instance, write_instance
from medassets.settings import Settings


@pytest.fixture(autouse=True)
def no_home(monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv(DATABASE, "")
    monkeypatch.delenv(DATABASE)


def storage(settings):
    return yaml.safe_load((instance_folder(settings) / "dagster.yaml").read_text())["storage"]


def test_the_setting_decides_and_the_address_is_in_no_file(tmp_path):
    plain = Settings(home=tmp_path)
    write_instance(plain)
    assert "sqlite" in storage(plain)
    other = Settings(home=tmp_path, dagster_database="postgresql://u:secret@127.0.0.1/x")
    write_instance(other)
    assert storage(other) == {"postgres": {"postgres_url": {"env": DATABASE}}}
    assert "secret" not in (instance_folder(other) / "dagster.yaml").read_text()
    write_instance(plain)
    assert "sqlite" in storage(plain)


def test_a_file_of_the_site_stays(tmp_path):
    settings = Settings(home=tmp_path, dagster_database="postgresql://x/y")
    folder = instance_folder(settings)
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    write_instance(settings)
    assert (folder / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


@pytest.mark.servers
def test_runs_and_events_lie_in_postgresql(postgres, tmp_path):
    import psycopg

    @dg.asset
    def one() -> int:
        return 1

    settings = Settings(home=tmp_path, dagster_database=postgres)
    with open_instance(settings) as instance:
        done = dg.materialize([one], instance=instance)
    with open_instance(settings) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("one")).run_id == done.run_id
    with psycopg.connect(postgres) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert not list(tmp_path.rglob("runs.db"))
