"""Each fault starts nothing, and says what to do."""

import json
import sqlite3
import threading
from collections import namedtuple
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import psycopg
import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from medassets.cli import app
from medassets.commands.server import free_port
from medassets.deploying import preflight
from medassets.deploying.preflight import brokers, database_advice, faults, newest_known
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.lake_format import FILE, FORMAT, LakeFormatError, refuse_newer, stamp
from medassets.serving.store import PredictionStore, Record, StoreError
from medassets.settings import Settings

NOW = datetime(2026, 6, 1, tzinfo=UTC)
Usage = namedtuple("Usage", "total used free")


def only(found):
    (fault,) = found
    return fault


def test_a_sound_machine_has_none(tmp_path):
    assert faults(Settings(home=tmp_path), "serve") == faults(Settings(home=tmp_path), "run") == []


def test_a_full_disk_stops_every_start(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(10**10, 10**10, 10**8))
    for purpose in ("serve", "run", "up"):
        fault = only(faults(Settings(home=tmp_path / "not" / "yet"), purpose))
        assert fault.stops and "0.1 GB free" in fault.detail and "remove old bundles" in fault.detail


def test_a_clock_behind_the_last_answer_is_refused(tmp_path):
    settings = Settings(home=tmp_path)
    store = PredictionStore(settings.predictions_db)
    store.append(Record("p1", "2026-06-01T12:00:00+00:00", "b", "none", {}, {}))
    store.close()
    assert newest_known(settings) == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert faults(settings, "serve", NOW + timedelta(hours=11, minutes=56)) == []
    for wrong in (NOW, datetime(1970, 1, 1, tzinfo=UTC)):
        fault = only(faults(settings, "serve", wrong))
        assert fault.what == "clock" and fault.stops and "timedatectl set-ntp true" in fault.detail


def test_a_clock_that_once_ran_ahead_does_not_shut_the_service_for_years(tmp_path):
    store = PredictionStore(Settings(home=tmp_path).predictions_db)
    store.append(Record("p1", "2036-06-01T12:00:00+00:00", "b", "none", {}, {}))
    store.close()
    fault = only(faults(Settings(home=tmp_path), "serve", NOW))
    assert fault.stops and "MEDASSETS_CLOCK_CHECK=off" in fault.detail
    assert not only(faults(Settings(home=tmp_path, clock_check="off"), "serve", NOW)).stops


def test_a_clock_that_may_have_jumped_ahead_is_named(tmp_path):
    settings = Settings(home=tmp_path)
    store = PredictionStore(settings.predictions_db)
    store.append(Record("p1", "2026-06-01T12:00:00+00:00", "b", "none", {}, {}))
    store.close()
    assert faults(settings, "serve", NOW + timedelta(days=170)) == []
    fault = only(faults(settings, "serve", NOW + timedelta(days=3650)))
    assert fault.what == "clock" and not fault.stops and "if it runs ahead" in fault.detail


def certificate(path, until: datetime):
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]),
    )
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(until - timedelta(days=90)).not_valid_after(until)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(
    ("days", "stops", "text"),
    [(-1, True, "expired on 2026-05-31: renew it"), (3, False, "expires on 2026-06-04")],
)
def test_an_expired_certificate_stops_and_a_failing_one_is_named(tmp_path, days, stops, text):
    file = certificate(tmp_path / "ca.pem", NOW + timedelta(days=days))
    settings = Settings(home=tmp_path, stream={"kafka_options": {"ssl.ca.location": str(file)}})
    fault = only(faults(settings, "up", NOW))
    assert fault.stops is stops and text in fault.detail and "KAFKA_OPTIONS" in fault.what


def test_a_certificate_that_is_none_and_one_that_is_not_there(tmp_path):
    (tmp_path / "ca.pem").write_text("?")
    for name, text in (("ca.pem", "holds no certificate"), ("other.pem", "is not there")):
        url = f"postgresql://x@127.0.0.1/x?sslrootcert={tmp_path / name}"
        fault = only(faults(Settings(home=tmp_path, predictions_url=url), "up", NOW))
        assert fault.stops and text in fault.detail and "MEDASSETS_PREDICTIONS_URL" in fault.what


def test_an_unreachable_database_is_named_without_its_password(tmp_path):
    url = f"postgresql://user:secret@127.0.0.1:{free_port()}/x"
    fault = only(faults(Settings(home=tmp_path, predictions_url=url), "serve"))
    assert fault.stops and "start the server, or correct host and port" in fault.detail
    assert "secret" not in fault.detail


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ('FATAL:  password authentication failed for user "x"', "correct user and password"),
        ("fe_sendauth: no password supplied", "correct user and password"),
        ('FATAL:  role "x" does not exist', "correct user and password"),
        ('FATAL:  database "x" does not exist', "make the database"),
        ("SSL error: certificate verify failed", "renew the server's certificate"),
        ("could not translate host name", "correct host and port"),
    ],
)
def test_advice_fits_the_message(message, advice):
    assert advice in database_advice(message, "MEDASSETS_PREDICTIONS_URL")


def test_brokers_that_are_away_are_notes(tmp_path):
    stream = {"kafka_servers": f"127.0.0.1:{free_port()}", "mqtt_port": free_port()}
    found = list(brokers(Settings(home=tmp_path, stream=stream)))
    assert [fault.stops for fault in found] == [False, False]
    assert all("start it, or correct the address" in fault.detail for fault in found)


@pytest.fixture
def store_that_refuses(monkeypatch):
    """An S3 server to which no key is known."""

    class Refuses(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(403)
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in {
            "ACCESS_KEY_ID": "x",
            "SECRET_ACCESS_KEY": "wrong",
            "REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def test_wrong_keys_of_an_object_store_are_named_before_a_run(tmp_path, store_that_refuses):
    settings = Settings(home=tmp_path, lake_url="s3://lake/site")
    fault = only(faults(settings, "run"))
    assert fault.stops and fault.what == "store of MEDASSETS_LAKE_URL"
    assert "correct AWS_ACCESS_KEY_ID" in fault.detail and "wrong" not in fault.detail


def test_an_object_store_that_is_away_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    fault = only(faults(Settings(home=tmp_path, bundles_url="s3://bundles"), "run"))
    assert fault.stops and "correct AWS_ENDPOINT_URL" in fault.detail


def newer(lake):
    lake.mkdir(parents=True)
    (lake / FILE).write_text(json.dumps({"format": FORMAT + 1, "written_by": "9.0"}))


def test_a_newer_lake_is_refused_and_left_as_it_is(tmp_path):
    settings = Settings(home=tmp_path)
    newer(settings.lake_dir)
    before = (settings.lake_dir / FILE).read_bytes()
    fault = only(faults(settings, "run"))
    assert fault.stops and "written by medassets 9.0" in fault.detail and "upgrade it" in fault.detail
    assert faults(settings, "serve") == [], "answers come from bundles, which have a version of their own"
    with pytest.raises(LakeFormatError):
        stamp(settings.lake_dir)
    assert (settings.lake_dir / FILE).read_bytes() == before


def test_no_step_runs_on_a_newer_lake(tmp_path):
    newer(tmp_path / "lake")
    ran = []

    @dg.asset(key=["clinical", "x"])
    def x():
        ran.append(1)

    result = dg.materialize(
        [x], resources={"io_manager": DeltaIOManager(lake_dir=str(tmp_path / "lake"))}, raise_on_error=False
    )
    assert not result.success and ran == []


def test_a_lake_is_stamped_once_and_a_broken_stamp_is_named(tmp_path):
    stamp(tmp_path)
    refuse_newer(tmp_path)
    before = (tmp_path / FILE).stat().st_mtime_ns
    stamp(tmp_path)
    assert (tmp_path / FILE).stat().st_mtime_ns == before
    (tmp_path / FILE).write_text("{")
    with pytest.raises(LakeFormatError, match="restore it from a backup"):
        refuse_newer(tmp_path)


@pytest.mark.parametrize("command", [["serve"], ["up"], ["run"]])
def test_no_command_starts_anything_on_a_full_disk(tmp_path, monkeypatch, command):
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path))
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(10**10, 10**10, 10**8))
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 3 and "not started: disk" in result.output
    assert not (tmp_path / "dagster").exists() and not (tmp_path / "bentoml").exists()


def test_a_disk_that_fills_while_answering_keeps_nothing_half(tmp_path):
    store = PredictionStore(tmp_path / "p.db")
    store.append(Record("p1", "2026-06-01T12:00:00+00:00", "b", "none", {}, {}))
    (pages,) = store.database._connection.execute("PRAGMA page_count").fetchone()
    # SQLite's own "database or disk is full".
    store.database._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError, match="full"):
        store.append(Record("p2", "2026-06-01T12:00:01+00:00", "b", "none", {}, {"a": "x" * 100_000}))
    assert [record.prediction_id for record in store.records()] == ["p1"] and store.verify() == 1
    store.close()
    assert sqlite3.connect(tmp_path / "p.db").execute("SELECT count(*) FROM audit").fetchone() == (1,)


@pytest.mark.servers
def test_a_wrong_password_of_the_database(tmp_path, postgres):
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE ROLE clinic LOGIN PASSWORD 'right'")
    missing = postgres.rsplit("/", 1)[0] + "/nowhere"
    assert faults(Settings(home=tmp_path, predictions_url=postgres), "serve") == []
    fault = only(faults(Settings(home=tmp_path, predictions_url=missing), "serve"))
    assert fault.stops and "make the database" in fault.detail


@pytest.mark.servers
def test_a_clock_that_jumped_either_way_is_told_by_that_of_the_database(tmp_path, postgres):
    settings = Settings(home=tmp_path, predictions_url=postgres)
    for jump in (timedelta(hours=-2), timedelta(hours=2)):
        fault = only(faults(settings, "serve", datetime.now(UTC) + jump))
        assert fault.what == "clock" and fault.stops and "on the machine that is wrong" in fault.detail
    store = PredictionStore(postgres)
    store.append(Record("p1", "2126-06-01T12:00:00+00:00", "b", "none", {}, {}))
    store.close()
    assert newest_known(settings).year == 2126


@pytest.mark.servers
def test_a_wrong_password_of_the_cache(tmp_path, redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", "right")
        try:
            fault = only(faults(Settings(home=tmp_path, cache={"url": redis_url}), "serve"))
            assert fault.stops and "correct user and password" in fault.detail
        finally:
            client.execute_command("AUTH", "right")
            client.config_set("requirepass", "")
    assert faults(Settings(home=tmp_path, cache={"url": redis_url}), "serve") == []
