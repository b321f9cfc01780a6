"""A backup put back is the same: every version, run, model, bundle, key and audit entry."""

import json
import shutil
import threading

import dagster as dg
import pyarrow as pa
import pytest

from medassets.orchestration.backup.archive import BackupError
from medassets.orchestration.backup.collecting import back_up
from medassets.orchestration.backup.restoring import restore
from medassets.orchestration.instance import open_instance
from medassets.orchestration.lake import LakeTable
from medassets.serving.access import KeyRing
from medassets.serving.bundle import latest_bundle, load_bundle
from medassets.serving.sealing import Sealer, SealError, new_key, read_keys
from medassets.serving.store import PredictionStore
from medassets.settings import Settings
from medassets_tests.orchestration.test_migration import fill
from medassets_tests.serving.test_bundle_store import make


@pytest.fixture(autouse=True)
def no_home(monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def key(path):
    path.write_text(new_key() + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def installation(tmp_path):
    """A small installation with something in each of its stores."""
    made = Settings(home=tmp_path / "old", key_file=key(tmp_path / "key"))
    table = LakeTable(made.lake_dir / "clinical" / "x", ["id"])
    for values in ([1, 2], [3]):
        table.write(pa.table({"id": pa.array(values, pa.int64())}))
    LakeTable(made.lake_dir / "clinical" / "y", ["id"]).write(pa.table({"id": ["a"]}))
    store = PredictionStore(made.predictions_db, Sealer(read_keys(made.key_file)))
    fill(store)
    store.close()
    make(made.bundles_dir)
    KeyRing(made.api_keys).add("ward", "clinician")
    record = made.home / "records" / "serving" / "b.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"path": str(made.bundles_dir), "files": [{"path": "/elsewhere"}]}))

    @dg.asset
    def one() -> int:
        return 1

    with open_instance(made) as instance:
        dg.materialize([one], instance=instance)
    return made


def assert_same(old, new):
    for name in ("x", "y"):
        here, there = (LakeTable(s.lake_dir / "clinical" / name, ["id"]) for s in (old, new))
        assert there.version() == here.version()
        for version in range(here.version() + 1):
            assert there.read(version) == here.read(version)
    stores = [PredictionStore(s.predictions_db, Sealer(read_keys(s.key_file))) for s in (old, new)]
    assert stores[1].verify() == 7
    assert stores[1].head() == stores[0].head()
    assert list(stores[1].records()) == list(stores[0].records())
    assert stores[1].feedback() == stores[0].feedback()
    assert load_bundle(latest_bundle(new.bundles_dir)).version == latest_bundle(old.bundles_dir).name
    assert new.api_keys.read_bytes() == old.api_keys.read_bytes()
    assert new.api_keys.stat().st_mode & 0o077 == 0
    with open_instance(old) as here, open_instance(new) as there:
        event = dg.AssetKey("one")
        assert there.get_latest_materialization_event(event) == here.get_latest_materialization_event(event)
        assert [r.run_id for r in there.get_runs()] == [r.run_id for r in here.get_runs()]


@pytest.mark.parametrize("seal", [False, True])
def test_what_is_put_back_is_the_same(installation, tmp_path, seal):
    made = back_up(installation, tmp_path / "backup", seal=seal)
    assert made.tables == {"clinical/x": 1, "clinical/y": 0}
    kept = installation.key_file if seal else tmp_path / "new-key"
    new = Settings(home=tmp_path / "new", key_file=kept)
    done = restore(new, tmp_path / "backup")
    assert (done.tables, done.bundles, done.audit_entries) == (2, 1, 7)
    assert_same(installation, new)
    record = json.loads((new.home / "records" / "serving" / "b.json").read_text())
    assert record == {"path": str(new.bundles_dir), "files": [{"path": "/elsewhere"}]}
    with open_instance(new) as instance:
        assert str(new.home) in str(instance.root_directory)


def test_a_sealed_backup_tells_nothing_without_the_key(installation, tmp_path):
    back_up(installation, tmp_path / "backup", seal=True)
    content = b"".join(p.read_bytes() for p in (tmp_path / "backup").rglob("*") if p.is_file())
    assert installation.key_file.read_bytes().strip() not in content
    assert b"clinician:1" not in content
    with pytest.raises(BackupError, match="is sealed"):
        restore(Settings(home=tmp_path / "new"), tmp_path / "backup")


@pytest.mark.parametrize("seal", [False, True])
def test_a_changed_file_is_found(installation, tmp_path, seal):
    back_up(installation, tmp_path / "backup", seal=seal)
    path = tmp_path / "backup" / "files" / "predictions.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    new = Settings(home=tmp_path / "new", key_file=installation.key_file)
    with pytest.raises((BackupError, SealError), match=r"predictions\.db|was changed"):
        restore(new, tmp_path / "backup")


def test_a_backup_that_was_broken_off_is_none(installation, tmp_path):
    back_up(installation, tmp_path / "backup")
    (tmp_path / "backup" / "manifest.json").unlink()
    with pytest.raises(BackupError, match="is no backup"):
        restore(Settings(home=tmp_path / "new"), tmp_path / "backup")


def test_only_empty_places_are_written_to(installation, tmp_path):
    back_up(installation, tmp_path / "backup")
    with pytest.raises(BackupError, match="not empty"):
        back_up(installation, tmp_path / "backup")
    with pytest.raises(BackupError, match="not empty"):
        restore(installation, tmp_path / "backup")


def test_services_may_go_on_meanwhile(installation, tmp_path):
    ended = threading.Event()

    def work():
        store = PredictionStore(installation.predictions_db, Sealer(read_keys(installation.key_file)))
        table = LakeTable(installation.lake_dir / "clinical" / "x", ["id"])
        number = 10
        while not ended.is_set():
            store.add_feedback("p1", "confirmed", f"OMIM:{number}")
            table.write(pa.table({"id": pa.array([number], pa.int64())}))
            number += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        made = back_up(installation, tmp_path / "backup")
    finally:
        ended.set()
        worker.join()
    done = restore(Settings(home=tmp_path / "new", key_file=tmp_path / "copy"), tmp_path / "backup")
    assert done.audit_entries == made.audit[0] >= 7


@pytest.mark.servers
def test_predictions_in_postgresql_come_back(postgres_server, tmp_path):
    old = Settings(home=tmp_path / "old", predictions_url=postgres_server.new_database())
    fill(PredictionStore(old.predictions_url))
    made = back_up(old, tmp_path / "backup")
    assert made.databases == ["predictions_url"]
    with pytest.raises(BackupError, match="predictions_url"):
        restore(Settings(home=tmp_path / "new"), tmp_path / "backup")
    new = Settings(home=tmp_path / "new", predictions_url=postgres_server.new_database())
    assert restore(new, tmp_path / "backup").audit_entries == 7
    assert PredictionStore(new.predictions_url).head() == PredictionStore(old.predictions_url).head()


def test_models_find_their_artifacts_in_the_new_place(tmp_path):
    import mlflow

    old, new = Settings(home=tmp_path / "old"), Settings(home=tmp_path / "new")
    (old.home / "mlflow").mkdir(parents=True)
    client = mlflow.MlflowClient(old.mlflow_uri)
    experiment = client.create_experiment("e", artifact_location=old.mlflow_artifacts.as_uri())
    run = client.create_run(experiment)
    (tmp_path / "weights.json").write_text("{}")
    client.log_artifact(run.info.run_id, str(tmp_path / "weights.json"))
    back_up(old, tmp_path / "backup")
    shutil.rmtree(old.home)
    restore(new, tmp_path / "backup")
    moved = mlflow.MlflowClient(new.mlflow_uri)
    assert [f.path for f in moved.list_artifacts(run.info.run_id)] == ["weights.json"]
    assert moved.get_run(run.info.run_id).info.artifact_uri.startswith(new.mlflow_artifacts.as_uri())
