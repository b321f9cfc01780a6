"""Retention removes what is past its time, and nothing that a kept bundle or an audited answer needs."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from medassets.ingest.streams.events import EventError
from medassets.ingest.streams.letters import COLLECTION, DocumentLetters
from medassets.orchestration.assets.operations import lake_retention
from medassets.orchestration.io_managers import DeltaIOManager
from medassets.orchestration.lake import LakeTable
from medassets.orchestration.retention import apply_retention
from medassets.serving.bundle import write_bundle
from medassets.serving.manifest import DataEntry
from medassets.serving.store import PredictionStore, Record, now
from medassets.settings import Settings
from medassets.settings_sections import RetentionSettings
from medassets.stores.documents import open_documents
from medassets_tests.ingest.streams.samples import LOG, event, message, pipeline, table

KEY = "clinical/rare_cases"
LATER = datetime.now(UTC) + timedelta(days=400)


def installation(folder, **wanted):
    # version_days cannot be 0 by setting: here files are made old instead.
    return Settings(home=folder, retention=RetentionSettings(bundles=1, **wanted))


def versions(settings, count):
    lake = LakeTable(settings.lake_dir / KEY, ["id"])
    for number in range(count):
        lake.write(pa.table({"id": pa.array([number], pa.int64())}))
    return lake


@pytest.fixture
def no_waiting(monkeypatch):
    """Replaced files go at once."""
    vacuum = DeltaTable.vacuum
    monkeypatch.setattr(
        DeltaTable, "vacuum", lambda self, **given: vacuum(self, **{**given, "retention_hours": 0})
    )


def bundle(settings, version, text, latest=False):
    def part(folder):
        (folder / "a.json").write_text(text, encoding="utf-8")

    entry = DataEntry(asset=KEY, delta_version=version)
    return write_bundle(
        settings.bundles_dir, parts={"p": part}, settings_origin="bundled", profile="quick", models=[],
        data=[entry], sources=[], make_latest=latest,
    ).version  # fmt: skip


def test_replaced_files_go_and_pinned_versions_stay_readable(tmp_path, no_waiting):
    settings = installation(tmp_path)
    lake = versions(settings, 5)
    bundle(settings, 1, "served", latest=True)
    done = apply_retention(settings, [KEY, "clinical/none"])
    assert done.pinned == {KEY: [1]}
    assert [(row["table"], row["files"]) for row in done.rows] == [(KEY, 3)]
    assert lake.read(1).column("id").to_pylist() == [1]
    assert lake.read().column("id").to_pylist() == [4]
    with pytest.raises(OSError, match="parquet"):
        lake.read(2)


def test_a_listing_removes_nothing(tmp_path, no_waiting):
    settings = installation(tmp_path, remove=False)
    lake = versions(settings, 3)
    done = apply_retention(settings, [KEY])
    assert (done.removed, done.rows[0]["files"]) == (False, 2)
    assert lake.read(0).num_rows == 1


def test_within_the_time_nothing_goes(tmp_path):
    settings = installation(tmp_path)
    versions(settings, 3)
    assert apply_retention(settings, [KEY]).rows[0]["files"] == 0


def test_a_bundle_that_answered_stays_with_its_data(tmp_path, no_waiting):
    settings = installation(tmp_path)
    lake = versions(settings, 5)
    answered, idle = bundle(settings, 0, "answered"), bundle(settings, 1, "idle")
    served = bundle(settings, 2, "served", latest=True)
    store = PredictionStore(settings.predictions_db)
    store.append(Record("p", now(), answered, "bento", {}, {}))
    store.close()
    assert apply_retention(settings, [KEY]).bundles == [], "young bundles stay"
    settings.retention = RetentionSettings(bundles=1)
    done = apply_retention(settings, [KEY], now=LATER)
    newest = {path.name for path in settings.bundles_dir.iterdir() if path.is_dir()}
    assert answered in newest and served in newest
    assert done.bundles in ([idle], [])  # made within one second, the newest is any of the three
    for version in (0, 2):
        assert lake.read(version).num_rows == 1


def test_events_are_kept_for_ever_unless_the_settings_say_how_long(tmp_path):
    settings = installation(tmp_path)
    made = pipeline(settings.lake_dir)
    made.resume([LOG])
    made.write([message(0, event(1)), message(1, event(2, event_time="2026-01-05T10:00:00Z"))])
    at = datetime(2026, 3, 2, tzinfo=UTC)
    assert apply_retention(settings, ["clinical/symptom_events"], now=at).rows[0]["events_deleted"] == 0
    settings = installation(tmp_path, event_days=30)
    assert apply_retention(settings, ["clinical/symptom_events"], now=at).rows[0]["events_deleted"] == 1
    assert [row["event_id"] for row in table(settings.lake_dir)] == ["e1"]
    assert pipeline(settings.lake_dir).resume([LOG]) == {LOG: 2}


@pytest.mark.parametrize("remove", [True, False])
def test_read_files_and_dead_letters_stay_unless_the_settings_say_how_long(tmp_path, remove):
    def letters():
        store = open_documents(settings)
        DocumentLetters(store).send(
            [(message(n, b"x"), EventError("message", None, "no", "yes")) for n in (1, 2)]
        )
        held = store.collections()
        store.close()
        return held

    settings = installation(tmp_path, remove=remove)
    read = settings.forms_inbox / "done" / "2026-03-02" / "a.csv"
    read.parent.mkdir(parents=True)
    read.write_text("x")
    assert letters() == {COLLECTION: 2}
    kept = apply_retention(settings, [], now=LATER)
    assert (kept.files, kept.letters) == ({}, 0)
    settings = installation(tmp_path, remove=remove, inbox_days=10, letter_days=10)
    gone = apply_retention(settings, [], now=LATER)
    assert (gone.files, gone.letters) == ({"fhir": 0, "forms": 1}, 2)
    store = open_documents(settings)
    assert store.collections() == ({} if remove else {COLLECTION: 2})
    store.close()
    assert read.exists() is not remove


def test_the_asset_shows_what_it_did(tmp_path, instance):
    settings = installation(tmp_path)
    versions(settings, 2)
    resources = {"settings": settings, "io_manager": DeltaIOManager(lake_dir=settings.lake_root)}
    done = dg.materialize([lake_retention], resources=resources, instance=instance)
    metadata = done.asset_materializations_for_node("operations__lake_retention")[0].metadata
    assert metadata["removed"].value is True
    assert KEY in metadata["tables"].value
