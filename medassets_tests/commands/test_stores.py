"""``migrate``, ``backup``, ``restore`` and ``bundle publish/fetch`` from the command line."""

import json

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from medassets.cli import app
from medassets.commands.output import BAD_INPUT, FAILURE, OK
from medassets.orchestration.lake import LakeTable
from medassets.serving.store import PredictionStore
from medassets_tests.orchestration.test_migration import fill


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a table and predictions; the environment names it."""
    folder = tmp_path / "home"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("MEDASSETS_HOME", str(folder))
    LakeTable(folder / "lake" / "clinical" / "x", ["id"]).write(pa.table({"id": ["a", "b"]}))
    store = PredictionStore(folder / "predictions.db")
    fill(store)
    store.close()
    return folder


def call(*arguments, code=OK):
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def test_backup_and_restore(home, tmp_path, monkeypatch):
    made = call("backup", tmp_path / "kept")
    assert made["audit"][0] == 7
    assert made["tables"] == {"clinical/x": 0}
    assert "not empty" in call("restore", tmp_path / "kept", code=FAILURE)["error"]
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path / "new"))
    assert call("restore", tmp_path / "kept")["audit_entries"] == 7
    assert call("audit", "verify")


def test_sealing_needs_a_key(home, tmp_path):
    assert "MEDASSETS_KEY_FILE" in call("backup", tmp_path / "kept", "--encrypt", code=FAILURE)["error"]


@pytest.mark.parametrize("target", ["mysql://x", "/some/folder", "s3:/x"])
def test_other_targets_are_refused(home, target):
    assert "postgresql://" in call("migrate", "--to", target, code=BAD_INPUT)["error"]


def test_a_part_that_cannot_go_there_is_named(home):
    answer = call("migrate", "--to", "s3://b/p", "--only", "predictions", code=BAD_INPUT)
    assert "predictions cannot go there" in answer["error"]


@pytest.mark.integration
def test_the_lake_moves_to_s3_and_is_read_there(home, s3, monkeypatch):
    done = call("migrate", "--to", f"{s3}/site")
    assert [(part["part"], part["copied"], part["set"]) for part in done] == [
        ("lake", True, "MEDASSETS_LAKE_URL"),
        ("bundles", False, "MEDASSETS_BUNDLES_URL"),
    ]
    assert [part["copied"] for part in call("migrate", "--to", f"{s3}/site")] == [False, False]
    assert LakeTable(f"{s3}/site/lake/clinical/x").read().num_rows == 2


@pytest.mark.servers
def test_predictions_move_to_postgresql_and_are_verified_there(home, postgres, monkeypatch):
    done = call("migrate", "--to", postgres)
    assert {part["part"]: part["counts"].get("audit") for part in done} == {
        "predictions": 7,
        "documents": None,
    }
    monkeypatch.setenv("MEDASSETS_PREDICTIONS_URL", postgres)
    assert call("audit", "verify")
