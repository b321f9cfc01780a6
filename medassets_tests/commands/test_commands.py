"""The command line: help, exit codes, JSON, and what each failure says."""

import contextlib
import json
import sqlite3
import subprocess
import sys

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from medassets.cli import app
from medassets.commands import run as run_command
from medassets.commands import server
from medassets.commands.serve import development_key
from medassets.commands.validate import warn_of_overlap
from medassets.serving.access import KeyRing
from medassets.serving.answering import Desk, open_sealer
from medassets.serving.bundle import latest_bundle
from medassets.serving.predictor import Diagnoser
from medassets.serving.requests import parse_request
from medassets.serving.store import PredictionStore
from medassets.settings import Settings
from medassets_tests.serving.conftest import OBO, FakeRare, fake_bundle

runner = CliRunner()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path))
    monkeypatch.delenv("MEDASSETS_DATA_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ontology(tmp_path):
    from medassets.knowledge.ontology import Ontology

    (tmp_path / "hp.obo").write_text(OBO)
    return Ontology.from_obo(tmp_path / "hp.obo")


@pytest.fixture
def served(home, ontology, monkeypatch):
    """A bundle whose models are fakes."""
    bundle = fake_bundle(home / "bundles")
    monkeypatch.setattr(Diagnoser, "load", classmethod(lambda cls, d: cls(bundle, rare=FakeRare(ontology))))
    return bundle


def invoke(*arguments, code=0, **more):
    result = runner.invoke(app, [str(a) for a in arguments], **more)
    assert result.exit_code == code, result.output + result.stderr
    return result


@pytest.mark.parametrize(
    "command", ["run", "serve", "dev", "diagnose", "validate", "lineage", "doctor", "keys", "audit", "bundle"]
)
def test_every_command_explains_itself(command):
    assert "Usage" in invoke(command, "--help").output


def test_help_names_the_exit_codes_and_imports_nothing_heavy():
    code = (
        "import sys, medassets.cli; "
        "heavy = ('dagster', 'torch', 'mlflow', 'pandas', 'polars', 'bentoml', 'numpy'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert "Exit codes" in invoke("--help").output


def test_diagnose_reads_requests_and_phenopackets(served, home):
    request = home / "request.json"
    request.write_text(json.dumps({"observed": ["HP:0002125"], "age": "P3Y"}))
    answer = json.loads(invoke("diagnose", request, "--json").stdout)
    assert answer["rare"]["candidates"][0]["disease_id"] == "OMIM:1"
    assert "read as HP:0001250" in invoke("diagnose", request).output
    packet = {"id": "p", "subject": {}, "phenotypicFeatures": [{"type": {"id": "HP:0001250"}}]}
    assert "First" in invoke("diagnose", "-", input=json.dumps(packet)).output
    assert PredictionStore(home / "predictions.db").verify() == 3


def test_bad_input_is_exit_code_2_and_names_the_field(served, home):
    request = home / "request.json"
    request.write_text(json.dumps({"observed": ["HP:9999999"]}))
    problem = json.loads(invoke("diagnose", request, "--json", code=2).stdout)
    assert problem["errors"][0]["field"] == "observed[0]" and problem["exit_code"] == 2
    request.write_text("{")
    assert "not JSON" in invoke("diagnose", request, code=2).stderr
    assert "No such file" in invoke("diagnose", home / "none.json", code=2).stderr


def test_no_bundle_is_exit_code_3(home):
    (home / "request.json").write_text(json.dumps({"observed": ["HP:0001250"]}))
    assert "medassets run" in invoke("diagnose", home / "request.json", code=3).stderr
    assert "medassets run" in invoke("serve", code=3).stderr
    assert "no bundle" in invoke("validate", "rare", home, code=3).stderr


def test_lineage_in_three_forms(served, home):
    store = PredictionStore(home / "predictions.db")
    desk = Desk(Diagnoser.load(latest_bundle(home / "bundles")), store)
    prediction = desk.diagnose(parse_request({"observed": ["HP:0001250"]}))["prediction_id"]
    assert "sha256=5ca1ab1e" in invoke("lineage", prediction).output
    assert json.loads(invoke("lineage", prediction, "--json").stdout)["kind"] == "prediction"
    assert "wasDerivedFrom" in json.loads(invoke("lineage", prediction, "--format", "prov-json").stdout)


def test_lineage_of_nothing_makes_no_store(home):
    assert "nothing was asked yet" in invoke("lineage", "nope", code=2).stderr
    assert not (home / "predictions.db").exists()


def test_wrong_settings_are_named(home, monkeypatch):
    monkeypatch.setenv("MEDASSETS_API_PORT", "70000")
    assert "MEDASSETS_API_PORT" in invoke("doctor", code=2).stderr


def test_doctor_finds_a_damaged_bundle(home):
    healthy = {f["check"]: f["level"] for f in json.loads(invoke("doctor", "--json").stdout)["findings"]}
    assert healthy["python"] == "ok" and healthy["bundle"] == "note"
    bundle = fake_bundle(home / "bundles")
    assert invoke("doctor", "--json").exit_code == 0
    (bundle.directory / "rare" / "x.json").write_text("?")
    findings = {f["check"]: f for f in json.loads(invoke("doctor", "--json", code=1).stdout)["findings"]}
    assert findings["bundle"]["level"] == "failed" and "rare/x.json" in findings["bundle"]["detail"]


def examined(code=0):
    findings = json.loads(invoke("doctor", "--json", code=code).stdout)["findings"]
    return {finding["check"]: (finding["level"], finding["detail"]) for finding in findings}


def test_doctor_says_what_of_the_service_is_configured(home, monkeypatch):
    found = examined()
    assert found["access by key"][0] == "note" and "keys add" in found["access by key"][1]
    assert found["sealing"][0] == "note" and found["cache"] == ("ok", "in the process, at most 1000 answers")
    assert found["predictions"] == ("note", "none yet (SQLite)") and "challenger" not in found
    two = [fake_bundle(home / "bundles", profile=profile).version for profile in ("quick", "full")]
    invoke("keys", "add", "ward")
    invoke("keys", "new-secret", home / "secret")
    invoke("bundle", "challenge", two[0], "--share", 0.25, "--by", "caller")
    monkeypatch.setenv("MEDASSETS_KEY_FILE", str(home / "secret"))
    found = examined()
    assert found["access by key"] == ("ok", "1 API keys") and found["sealing"][0] == "ok"
    assert found["challenger"] == ("ok", f"{two[0]}, 25% by caller") and "signed with" in found["bundle"][1]
    (home / "bundles" / two[0] / "manifest.sig").unlink()
    assert examined(code=1)["challenger"][0] == "failed"


def test_doctor_names_what_cannot_be_reached(home, monkeypatch):
    nobody = f"127.0.0.1:{server.free_port()}"
    variables = {
        "AUTH": "both", "OIDC__ISSUER": f"http://{nobody}", "OIDC__AUDIENCE": "x",
        "PREDICTIONS_URL": f"postgresql://me:hunter2@{nobody}/db", "CACHE__URL": f"redis://:hunter2@{nobody}/0",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(f"MEDASSETS_{name}", value)
    found = examined(code=1)
    assert found["access by token"][0] == found["predictions"][0] == "failed" and found["cache"][0] == "note"
    assert "hunter2" not in json.dumps(found)
    monkeypatch.setenv("MEDASSETS_AUTH", "off")
    assert "development only" in examined(code=1)["access"][1]


def test_a_challenge_is_set_shown_and_ended(home, monkeypatch):
    one, two = (fake_bundle(home / "bundles", profile=profile).version for profile in ("quick", "full"))
    assert "no bundle challenges" in invoke("bundle", "challenge").output
    assert "in the shadow" in invoke("bundle", "challenge", one).output
    shown = json.loads(invoke("bundle", "challenge", one, "--share", 0.5, "--json").stdout)
    assert shown == {"bundle": one, "share": 0.5, "by": "request"}
    invoke("bundle", "use", one)  # who is served has nobody to challenge
    assert json.loads(invoke("bundle", "challenge", "--json").stdout) is None
    invoke("bundle", "challenge", two, "--share", 1)
    assert "no bundle challenges" in invoke("bundle", "challenge", "--end").output
    assert "does not exist" in invoke("bundle", "challenge", "nope", code=3).stderr
    monkeypatch.setenv("MEDASSETS_CHALLENGER__BUNDLE", two)
    assert "MEDASSETS_CHALLENGER__BUNDLE decides" in invoke("bundle", "challenge", one, code=2).stderr


def test_the_development_key_is_made_once_and_again_when_revoked(home):
    config = Settings()
    key = development_key(config)
    assert development_key(config) == key and config.development_key.stat().st_mode & 0o777 == 0o600
    ring = KeyRing(config.api_keys)
    assert ring.check(key, "ask").startswith("clinician:")
    ring.revoke(ring.all()[0].key_id)
    assert development_key(config) != key and len(ring.all()) == 2


def test_the_example_of_a_run_asks_with_a_key_that_ends_with_it(home, monkeypatch):
    asked = {}

    @contextlib.contextmanager
    def running(bento, config):
        asked["auth"] = config.auth
        yield "http://nowhere"

    def post(url, *, headers, **_):
        asked["actor"] = KeyRing(Settings().api_keys).check(headers["Authorization"].split()[1], "ask")
        return httpx.Response(200, json={"answered": True})

    monkeypatch.setattr(server, "running", running)
    monkeypatch.setattr(httpx, "post", post)
    assert run_command.ask_example(home, Settings(auth="off"), False) == {"answered": True}
    (key,) = KeyRing(Settings().api_keys).all()
    assert asked == {"auth": "keys", "actor": f"service:{key.key_id}"} and key.revoked
    assert key.scopes == ("ask",)


def test_a_port_in_use_is_refused(served, home, monkeypatch):
    import socket

    monkeypatch.setattr("medassets.commands.serve.bento_of", lambda *_: home)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not server.port_is_free("127.0.0.1", port)
        assert "in use" in invoke("serve", "--port", port, code=2).stderr


def test_the_table_of_a_run_names_origins_and_intervals(home, capsys):
    from medassets.orchestration.run import AssetLine, RunSummary

    summary = RunSummary(
        executed=[AssetLine("clinical/rare_cases", 8186, 2.5)],
        up_to_date=["sources/phenopackets"],
        sources={"phenopackets": "folder"},
        metrics=[
            {"name": "top1", "value": 0.5, "low": 0.4, "high": 0.6, "n": 100, "origin": "published_case"}
        ],
        seconds=3,
    )
    run_command.show(summary, None, Settings())
    shown = capsys.readouterr().out
    for words in ("clinical", "8,186", "0.500", "[0.400, 0.600]", "published_case", "phenopackets (folder)"):
        assert words in shown


def test_a_service_that_ends_early_shows_its_log(home, monkeypatch):
    monkeypatch.setattr(
        server, "serve_command", lambda *_: [sys.executable, "-c", "print('broken'); exit(4)"]
    )
    with (
        pytest.raises(server.ServerError, match=r"ended with 4[\s\S]*broken"),
        server.running(home, Settings()),
    ):
        pass


def test_keys_are_made_listed_and_revoked(home):
    made = json.loads(invoke("keys", "add", "ward 3", "--role", "auditor", "--json").stdout)
    listed = json.loads(invoke("keys", "list", "--json").stdout)
    assert listed[0]["key_id"] == made["key_id"] and made["token"] not in json.dumps(listed)
    invoke("keys", "revoke", made["key_id"])
    assert json.loads(invoke("keys", "list", "--json").stdout)[0]["revoked"]
    assert "no key 'nope'" in invoke("keys", "revoke", "nope", code=2).stderr
    invoke("keys", "add", "x", "--role", "king", code=2)


def test_the_store_is_sealed_rotated_and_verified(served, home, monkeypatch):
    secret = home / "secret"
    assert "MEDASSETS_KEY_FILE" in invoke("keys", "rotate", code=2).stderr
    invoke("keys", "new-secret", secret)
    monkeypatch.setenv("MEDASSETS_KEY_FILE", str(secret))
    store = PredictionStore(home / "predictions.db", open_sealer(Settings()))
    Desk(Diagnoser.load(home), store).diagnose(parse_request({"observed": ["HP:0001250"]}))
    invoke("keys", "new-secret", secret)
    assert "1 predictions" in invoke("keys", "rotate").output
    assert json.loads(invoke("audit", "verify", "--json").stdout)["entries"] == 1
    with sqlite3.connect(home / "predictions.db") as connection:
        assert b"HP:0001250" not in connection.execute("SELECT request FROM predictions").fetchone()[0]
        connection.execute("DROP TRIGGER audit_keeps_content")
        connection.execute("UPDATE audit SET actor = 'x'")
    assert "entry 1 was changed" in invoke("audit", "verify", code=1).stderr


@pytest.mark.servers
def test_the_audit_log_in_postgresql_is_verified_as_well(served, home, monkeypatch, postgres):
    monkeypatch.setenv("MEDASSETS_PREDICTIONS_URL", postgres)
    request = home / "request.json"
    request.write_text(json.dumps({"observed": ["HP:0001250"]}))
    answer = json.loads(invoke("diagnose", request, "--json").stdout)
    assert answer["prediction_id"] in invoke("lineage", answer["prediction_id"]).stdout
    assert json.loads(invoke("audit", "verify", "--json").stdout)["entries"] == 1
    assert examined()["predictions"] == ("ok", "1 audit entries in PostgreSQL, chain whole")
    assert not (home / "predictions.db").exists()
    with psycopg.connect(postgres) as connection:
        connection.execute("ALTER TABLE audit DISABLE TRIGGER USER")
        connection.execute("UPDATE audit SET actor = 'x'")
    assert "entry 1 was changed" in invoke("audit", "verify", code=1).stderr


@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        ({"cases": 2, "publications": 3}, "2 cases and 3 publications"),
        ({"cases": 0, "publications": 0}, ""),
        (None, "does not carry"),
    ],
)
def test_validation_warns_of_patients_that_the_bundle_knows(capsys, overlap, said):
    warn_of_overlap({"overlap": overlap})
    printed = capsys.readouterr()
    assert said in printed.err and bool(said) == bool(printed.err) and not printed.out


def test_bundles_are_listed_used_and_rolled_back(home):
    one, two = (
        fake_bundle(home / "bundles", parts={"rare": lambda d, t=t: (d / "x").write_text(t)}).version
        for t in "12"
    )
    listed = {b["version"]: b["latest"] for b in json.loads(invoke("bundle", "list", "--json").stdout)}
    assert listed == {one: False, two: True}
    assert json.loads(invoke("bundle", "rollback", "--json").stdout) == {"version": one}
    assert "no earlier bundle" in invoke("bundle", "rollback", code=3).stderr
    invoke("bundle", "use", two)
    shown = json.loads(invoke("bundle", "verify", "--json").stdout)
    assert shown["version"] == two and shown["files"] == 1
    (home / "bundles" / one / "manifest.sig").unlink()
    assert "is not signed" in invoke("bundle", "use", one, code=3).stderr
    assert "is not signed" in invoke("bundle", "verify", one, code=3).stderr
    invoke("bundle", "sign", one)
    changed = json.loads(invoke("bundle", "new-key", "--drop-old", "--json").stdout)
    assert changed["signed"] == sorted([one, two]) and changed["dropped"] == [shown["signed_by"]]
    assert json.loads(invoke("bundle", "verify", one, "--json").stdout)["signed_by"] == changed["key"]
    assert latest_bundle(home / "bundles").name == two
    assert "does not exist" in invoke("bundle", "use", "nope", code=3).stderr
