"""What is handed out has been kept."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from medassets.serving.answering import Desk, plain, stored_lineage
from medassets.serving.bundle import BundleError
from medassets.serving.http import create_app
from medassets.serving.requests import Feedback, parse_request
from medassets.serving.store import NoPredictionError, PredictionStore, Record, StoreError


def test_an_answer_can_be_read_back_with_its_lineage(desk):
    answer = desk.diagnose(parse_request({"observed": ["HP:0001250"], "age": "P2Y"}), actor="dr-a")
    record = desk.prediction(answer["prediction_id"])
    assert record.answer == answer and record.request["observed"] == ["HP:0001250"]
    assert record.bento == "diagnosis:test"
    assert desk.lineage(answer["prediction_id"]).parents[0].name == "diagnosis:test"
    assert desk.store.verify() == 1


def test_an_answer_that_cannot_be_kept_is_not_given(desk):
    desk.store.database.read("DROP TABLE predictions")
    with pytest.raises(StoreError):
        desk.diagnose(parse_request({"observed": ["HP:0001250"]}))


def test_feedback_needs_a_prediction(desk):
    answer = desk.diagnose(parse_request({"observed": ["HP:0001250"]}))
    given = Feedback(prediction_id=answer["prediction_id"], verdict="confirmed", diagnosis="OMIM:1")
    assert desk.feedback(given)["feedback_id"] == 1
    with pytest.raises(NoPredictionError):
        desk.feedback(given.model_copy(update={"prediction_id": "nope"}))


def test_lineage_of_an_earlier_bundle_is_read_from_its_folder(desk, tmp_path):
    version = desk.diagnoser.bundle.version
    record = Record("p", "2026-01-01", version, "diagnosis:old", {}, {})
    assert stored_lineage(record, tmp_path / "bundles").parents[0].parents[0].name == version
    with pytest.raises(BundleError, match="not kept any more"):
        stored_lineage(record, tmp_path)
    with pytest.raises(BundleError, match="not kept any more"):
        stored_lineage(record, None)


def test_numpy_numbers_become_plain_and_nan_is_refused():
    value = {"a": np.float32(0.5), "b": np.arange(2), "c": (np.int64(1), [np.bool_(True)]), 3: None}
    assert plain(value) == {"a": 0.5, "b": [0, 1], "c": [1, [True]], "3": None}
    with pytest.raises(ValueError, match="every number of an answer is finite"):
        plain({"a": [np.nan]})


def test_terms_cover_both_kinds(desk):
    assert desk.terms.search("epileptic fit")[0]["id"] == "HP:0001250"
    assert {r["kind"] for r in desk.terms.search("E")} <= {"hpo", "evidence"}


@pytest.mark.servers
def test_no_answer_leaves_while_the_database_is_down(diagnoser, postgres_server, postgres):
    desk = Desk(diagnoser, PredictionStore(postgres))
    question = {"url": "/v1/diagnose", "json": {"observed": ["HP:0001250"]}}
    with TestClient(create_app(lambda: desk), raise_server_exceptions=False) as client:
        assert client.post(**question).status_code == 200
        postgres_server.stop()
        try:
            refused = client.post(**question)
        finally:
            postgres_server.start()
        assert refused.status_code == 503 and refused.json()["title"] == "Not available"
        assert client.post(**question).status_code == 200
    assert desk.store.verify() == 2
