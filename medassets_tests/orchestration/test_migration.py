"""What is moved is counted and digested on both sides; what is there already, or something else, is told."""

import dagster as dg
import pyarrow as pa
import pytest

from medassets.orchestration.instance import open_instance
from medassets.orchestration.lake import LakeTable
from medassets.orchestration.migration.dagster_storage import dagster_part
from medassets.orchestration.migration.databases import documents_part, predictions_part
from medassets.orchestration.migration.files import Folder, files_part, tree_at
from medassets.orchestration.migration.mlflow_store import mlflow_part
from medassets.orchestration.migration.parts import MigrationError, Part, Summary, move
from medassets.serving.store import PredictionStore, Record, now
from medassets.settings import Settings
from medassets.stores.documents import SqliteDocuments, documents_at

PSYCOPG2 = "postgresql+psycopg2://"


def test_a_loss_is_told():
    held = [Summary({"rows": 2}, "a"), Summary({"rows": 0}, "")]
    part = Part("x", lambda: held[0], lambda: held[1], lambda: held.__setitem__(1, Summary({"rows": 1}, "b")))
    with pytest.raises(MigrationError, match="after copying the target holds 1 rows, not 2 rows"):
        move(part)


def test_a_source_that_changes_meanwhile_is_told():
    held = iter([Summary({"rows": 2}, "a"), Summary({"rows": 3}, "b")])
    part = Part("x", lambda: next(held), lambda: Summary({}, ""), lambda: None)
    with pytest.raises(MigrationError, match="changed meanwhile"):
        move(part)


def fill(store, count=5):
    for number in range(count):
        record = Record(f"p{number}", now(), "bundle", "bento", {"age": number}, {"top": [number]})
        store.append(record, actor="clinician:1")
    store.add_feedback("p1", "confirmed", "OMIM:1", "a comment")
    store.add_feedback("p2", "rejected", "", "")


@pytest.mark.servers
def test_predictions_go_there_and_back_with_their_chain(postgres, tmp_path):
    here = PredictionStore(tmp_path / "a.db")
    fill(here)
    done = move(predictions_part(tmp_path / "a.db", postgres))
    assert done.copied
    assert done.counts == {"predictions": 5, "feedback": 2, "audit": 7}
    there = PredictionStore(postgres)
    assert there.verify() == 7
    assert there.head() == here.head()
    assert there.get("p3") == here.get("p3")
    assert there.feedback() == here.feedback()
    assert not move(predictions_part(tmp_path / "a.db", postgres)).copied
    move(predictions_part(postgres, tmp_path / "back.db"))
    assert PredictionStore(tmp_path / "back.db").head() == here.head()
    assert there.add_feedback("p3", "confirmed", "OMIM:2") == 3
    with pytest.raises(MigrationError, match="not empty"):
        move(predictions_part(tmp_path / "a.db", postgres))


@pytest.mark.servers
def test_documents_go_on_where_they_were_broken_off(postgres, tmp_path):
    here, there = SqliteDocuments(tmp_path / "d.db"), documents_at(postgres)
    for number in range(5):
        here.put("letters", f"k{number}", {"n": number, "text": "ü"})
    there.put("letters", "k0", {"n": 0, "text": "ü"})
    assert move(documents_part(here, there)).counts == {"letters": 5}
    there.put("letters", "k9", {})
    with pytest.raises(MigrationError, match="not empty"):
        move(documents_part(here, there))


def tables(lake):
    table = LakeTable(lake / "clinical" / "x", ["id"])
    for values in ([1, 2], [3], [4, 5, 6]):
        table.write(pa.table({"id": pa.array(values, pa.int64())}))
    return table


@pytest.mark.integration
def test_every_version_of_a_table_goes_to_s3_and_back(s3, tmp_path):
    tables(tmp_path / "lake")
    (tmp_path / "lake" / "clinical" / "x" / ".unfinished").write_text("x")
    here, there = Folder(tmp_path / "lake"), tree_at(f"{s3}/lake")
    broken = files_part("lake", here, there)
    some = next(name for name in here.names() if name.endswith(".parquet"))
    there.put(some, tmp_path / "lake" / some)
    done = move(broken)
    assert done.counts == {"clinical/x": 6}
    moved = LakeTable(f"{s3}/lake/clinical/x", ["id"])
    assert moved.read(version=0).column("id").to_pylist() == [1, 2]
    assert sorted(moved.read().column("id").to_pylist()) == [4, 5, 6]
    move(files_part("lake", there, Folder(tmp_path / "back")))
    assert LakeTable(tmp_path / "back" / "clinical" / "x").version() == 2
    moved.write(pa.table({"id": pa.array([7], pa.int64())}))
    with pytest.raises(MigrationError, match="not empty"):
        move(files_part("lake", here, there))


@pytest.mark.servers
def test_dagster_keeps_runs_events_checks_and_ids(postgres, tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    @dg.asset(check_specs=[dg.AssetCheckSpec("good", asset="one")])
    def one():
        yield dg.MaterializeResult(metadata={"n": 1})
        yield dg.AssetCheckResult(passed=True)

    settings = Settings(home=tmp_path)
    with open_instance(settings) as instance:
        for _ in range(2):
            done = dg.materialize([one], instance=instance, tags={"why": "test"})
        instance.run_storage.set_cursor_values({"sensor": "17"})
        before = facts(instance, done.run_id)
    url = postgres.replace("postgresql://", PSYCOPG2)
    moved = move(dagster_part(tmp_path / "dagster", url))
    assert moved.counts["runs"] == 2
    assert moved.counts["other events"] > 0
    assert not move(dagster_part(tmp_path / "dagster", url)).copied
    with open_instance(Settings(home=tmp_path / "new", dagster_database=postgres)) as instance:
        assert facts(instance, done.run_id) == before
        dg.materialize([one], instance=instance)
        newer = instance.get_latest_materialization_event(dg.AssetKey("one"))
        assert newer.run_id != done.run_id
    with pytest.raises(MigrationError, match="not empty"):
        move(dagster_part(tmp_path / "dagster", url))


def facts(instance, run_id):
    """What must be the same afterwards."""
    key = dg.AssetKey("one")
    record = instance.get_asset_records([key])[0].asset_entry.last_materialization_record
    check = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(key, "good"), 9)
    return {
        "runs": sorted((r.run_id, r.status.value, r.tags["why"]) for r in instance.get_runs()),
        "events": sorted(str(e.timestamp) + e.message for e in instance.all_logs(run_id)),
        "materialization": (record.storage_id, record.event_log_entry),
        "checks": [(c.id, c.status, c.event.dagster_event.asset_check_evaluation_data) for c in check],
        "cursor": instance.run_storage.get_cursor_values({"sensor"}),
    }


@pytest.mark.servers
def test_mlflow_keeps_runs_and_registered_models(postgres, tmp_path):
    import mlflow

    file = tmp_path / "mlflow.db"
    client = mlflow.MlflowClient(f"sqlite:///{file}", f"sqlite:///{file}")
    experiment = client.create_experiment("e", artifact_location=(tmp_path / "artifacts").as_uri())
    run = client.create_run(experiment)
    client.log_metric(run.info.run_id, "top1", 0.5)
    client.create_registered_model("m")
    client.create_model_version("m", str(tmp_path), run.info.run_id)
    client.set_registered_model_alias("m", "champion", "1")
    url = postgres.replace("postgresql://", PSYCOPG2)
    done = move(mlflow_part(file, url))
    assert done.counts["runs"] == 1
    moved = mlflow.MlflowClient(url, url)
    assert moved.get_run(run.info.run_id).data.metrics == {"top1": 0.5}
    assert moved.get_model_version_by_alias("m", "champion").run_id == run.info.run_id
    moved.create_experiment("later")
