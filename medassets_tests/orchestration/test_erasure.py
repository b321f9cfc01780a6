"""Erasure: a person is gone from predictions, feedback and every version of every table; the rest stays."""

import pyarrow as pa
import pytest

from medassets.cohorts.tables import TABLES
from medassets.orchestration.erasure import forget
from medassets.orchestration.lake import LakeTable
from medassets.orchestration.metadata import preview
from medassets.serving.store import PredictionStore, Record
from medassets.settings import Settings
from medassets.stores.addresses import join

PERSON, OTHER = f"ps_{'a1' * 16}", f"ps_{'b2' * 16}"


def kept(number: str, patient: str | None) -> Record:
    request = {"observed": ["HP:0001250"], **({"patient_id": patient} if patient else {})}
    return Record(number, "2026-01-01T00:00:00.000+00:00", "abc", "none", request, {"rare": []})


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


@pytest.fixture
def store(settings):
    store = PredictionStore(settings.predictions_db)
    for number, patient in (("p1", PERSON), ("p2", OTHER), ("p3", PERSON), ("p4", None)):
        store.append(kept(number, patient))
    store.add_feedback("p3", "confirmed", "OMIM:154700")
    store.add_feedback("p2", "rejected", "OMIM:154700")
    yield store
    store.close()


def write(settings: Settings, key: str, rows: list[dict]) -> LakeTable:
    table = LakeTable(join(settings.lake_root, key))
    table.write(pa.Table.from_pylist(rows))
    return table


def files(settings: Settings) -> bytes:
    """Every byte of the tables' data files, opened as the columns that they hold."""
    import pyarrow.parquet as pq

    found = [pq.read_table(path, partitioning=None) for path in settings.lake_dir.rglob("*.parquet")]
    return b"".join(str(table.to_pydict()).encode() for table in found)


def test_nothing_of_the_person_is_left_and_the_chain_still_verifies(settings, store):
    patients = write(settings, "clinical/ehr_patients", [{"patient_id": PERSON}, {"patient_id": OTHER}])
    cases = write(
        settings,
        "clinical/confirmed_cases",
        [{"case_id": "feedback:p3"}, {"case_id": "feedback:p2"}, {"case_id": f"ehr:{PERSON}"}],
    )
    before = store.verify()
    erased = forget(settings, store, PERSON, actor="officer")
    assert erased.predictions == ["p1", "p3"] and erased.verdicts == 1
    assert erased.rows == {"clinical/ehr_patients": 1, "clinical/confirmed_cases": 2}
    assert store.verify() == before + 2  # an entry for each erased prediction
    assert [record.prediction_id for record in store.records()] == ["p2", "p4"]
    assert [row["prediction_id"] for row in store.feedback()] == ["p2"]
    assert patients.read().to_pylist() == [{"patient_id": OTHER}]
    assert cases.read().to_pylist() == [{"case_id": "feedback:p2"}]
    assert PERSON.encode() not in files(settings)


def test_earlier_versions_are_emptied_as_well(settings, store):
    table = write(settings, "clinical/ehr_patients", [{"patient_id": PERSON}, {"patient_id": OTHER}])
    table.write(pa.Table.from_pylist([{"patient_id": OTHER}]))
    assert PERSON.encode() in files(settings)
    assert forget(settings, store, PERSON, actor="officer").rows == {}
    assert PERSON.encode() not in files(settings)
    assert table.read().to_pylist() == [{"patient_id": OTHER}]


def test_who_is_not_there_is_erased_without_a_trace(settings, store):
    table = write(settings, "clinical/ehr_patients", [{"patient_id": OTHER}])
    version, entries = table.version(), store.verify()
    erased = forget(settings, store, f"ps_{'c3' * 16}", actor="officer")
    assert not erased.predictions and not erased.rows
    assert table.version() == version and store.verify() == entries


def test_a_removed_prediction_that_nobody_erased_is_still_found(settings, store):
    import sqlite3

    from medassets.serving.store import AuditError

    forget(settings, store, PERSON, actor="officer")
    with sqlite3.connect(settings.predictions_db) as connection:
        connection.execute("DELETE FROM predictions WHERE prediction_id = 'p4'")
    with pytest.raises(AuditError, match="p4 was removed"):
        store.verify()


def test_no_preview_shows_a_pseudonym():
    shown = preview(pa.table({"patient_id": [PERSON], "provenance": [f"ehr:{PERSON}"]}))
    assert PERSON not in shown and "ps_…" in shown


def test_tables_of_patients_are_among_those_searched():
    assert {"clinical/ehr_patients", "clinical/confirmed_cases", "monitoring/prediction_log"} <= set(TABLES)
