"""The HTTP interface: paths, status codes, and problem details that name the field."""

import json

import pytest
from fastapi.testclient import TestClient

from medassets.serving.access import KeyRing
from medassets.serving.answers import Answer
from medassets.serving.bundle import BundleError
from medassets.serving.http import create_app
from medassets.serving.http_parts import MAX_BODY

CASE = {"age": "P2Y", "sex": "F", "observed": ["HP:0001250"], "evidence": ["E_91"]}


@pytest.fixture
def client(desk):
    with TestClient(create_app(lambda: desk), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/diagnose", "/v1/diagnose"])
def test_a_flat_body_is_answered_and_can_be_looked_up(client, path):
    response = client.post(path, json=CASE)
    assert response.status_code == 200
    answer = response.json()
    Answer.model_validate(answer)
    kept = client.get(f"/v1/predictions/{answer['prediction_id']}").json()
    assert kept["answer"] == answer and kept["request"]["observed"] == ["HP:0001250"]


def test_lineage_is_prov_json(client):
    answer = client.post("/v1/diagnose", json=CASE).json()
    document = client.get(f"/v1/lineage/{answer['prediction_id']}").json()
    assert document["entity"]["medassets:source/sources/phenopackets"]["medassets:sha256"] == "5ca1ab1e"


def test_feedback(client):
    answer = client.post("/v1/diagnose", json=CASE).json()
    body = {"prediction_id": answer["prediction_id"], "verdict": "confirmed", "diagnosis": "OMIM:1"}
    assert client.post("/v1/feedback", json=body).status_code == 201
    assert client.post("/v1/feedback", json=body | {"prediction_id": "no"}).status_code == 404
    refused = client.post("/v1/feedback", json=body | {"verdict": "maybe"})
    assert refused.status_code == 400 and refused.json()["errors"][0]["field"] == "verdict"


def test_terms_and_model_card(client):
    found = client.get("/v1/terms", params={"q": "sezure"}).json()["terms"]
    assert found[0]["id"] == "HP:0001250"
    assert client.get("/v1/terms").status_code == 400
    assert client.get("/v1/terms", params={"q": "a", "limit": 0}).json()["errors"][0]["field"] == "limit"
    assert client.get("/v1/model-card").json()["manifest"]["models"]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, "body"),
        (b"[]", 400, "body"),
        (b'{"age": NaN}', 400, "body"),
        (b"[" * 50_000, 400, "body"),
        (b'{"age": "x"}', 400, "age"),
        (b'{"observed": ["HP:9999999"]}', 400, "observed[0]"),
        (b'{"observed": [{"a": 1}]}', 400, "observed[0]"),
        (b"{}", 400, "observed"),
        (b" " * (MAX_BODY + 1), 413, "request"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/diagnose", "/diagnose"])
def test_refusals_are_problem_details_with_the_field(client, path, body, status, field):
    response = client.post(path, content=body)
    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/problem+json")
    problem = response.json()
    assert problem["status"] == status and problem["errors"][0]["field"] == field


def test_unknown_ids_and_paths(client):
    assert client.get("/v1/predictions/nope").json()["errors"][0]["field"] == "prediction_id"
    assert client.get("/v1/lineage/nope").status_code == 404
    assert client.get("/nowhere").headers["content-type"].startswith("application/problem+json")
    assert client.get("/v1/diagnose").status_code == 405


def test_without_a_verified_bundle_nothing_is_answered():
    def no_desk():
        raise BundleError("no bundle yet")

    with TestClient(create_app(no_desk)) as client:
        response = client.post("/v1/diagnose", json=CASE)
        assert response.status_code == 503 and response.json()["errors"][0]["field"] == "bundle"


def test_an_answer_that_cannot_be_kept_is_503(client, desk):
    desk.store.database.read("DROP TABLE predictions")
    response = client.post("/v1/diagnose", json=CASE)
    assert response.status_code == 503 and "not given" in response.json()["detail"]


def test_the_openapi_document_is_closed_and_has_examples(client):
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(document["components"]["schemas"])
    assert "422" not in document["paths"]["/v1/diagnose"]["post"]["responses"]
    assert {"200", "400", "413", "503"} <= set(document["paths"]["/v1/diagnose"]["post"]["responses"])
    assert document["components"]["schemas"]["DiagnosisRequest"]["examples"]


@pytest.fixture
def locked(desk, tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    with TestClient(create_app(lambda: desk, ring), raise_server_exceptions=False) as client:
        yield client, ring


def bearer(ring, role):
    return {"Authorization": f"Bearer {ring.add('x', role)[1]}"}


@pytest.mark.parametrize(
    ("method", "path", "role", "other"),
    [
        ("POST", "/diagnose", "clinician", "auditor"),
        ("POST", "/v1/diagnose", "service", "auditor"),
        ("POST", "/v1/diagnose/phenopacket", "clinician", "auditor"),
        ("POST", "/v1/next-questions", "clinician", "auditor"),
        ("POST", "/v1/feedback", "clinician", "auditor"),
        ("GET", "/v1/predictions/x", "auditor", "service"),
        ("GET", "/v1/lineage/x", "clinician", "service"),
    ],
)
def test_every_door_asks_for_the_right_key(locked, method, path, role, other):
    client, ring = locked
    assert client.request(method, path, content=b"{}").status_code == 401
    assert client.request(method, path, headers={"Authorization": "Bearer no"}).status_code == 401
    assert client.request(method, path, content=b"{}", headers=bearer(ring, other)).status_code == 403
    assert client.request(method, path, content=b"{}", headers=bearer(ring, role)).status_code in (400, 404)


def test_the_audit_log_names_the_key(locked, desk):
    client, ring = locked
    assert client.post("/v1/diagnose", json=CASE, headers=bearer(ring, "clinician")).status_code == 200
    actors = [row[0] for row in desk.store.database.read("SELECT actor FROM audit")]
    assert actors == [f"clinician:{ring.all()[0].key_id}"]


def test_phenopackets_are_answered(client):
    packet = {"subject": {"sex": "MALE"}, "phenotypicFeatures": [{"type": {"id": "HP:0001250"}}]}
    assert client.post("/v1/diagnose/phenopacket", json=packet).json()["rare"]["candidates"]
    refused = client.post("/v1/diagnose/phenopacket", json={"phenotypicFeatures": [3]})
    assert refused.json()["errors"][0]["field"] == "phenotypicFeatures[0].type.id"


def test_metrics_count_by_route_and_hold_no_input(client):
    answer = client.post("/v1/diagnose", json=CASE).json()
    client.get(f"/v1/predictions/{answer['prediction_id']}")
    client.get("/v1/predictions/Erika-Mustermann")
    text = client.get("/metrics").text
    assert 'route="/v1/predictions/{prediction_id}",status="404"' in text
    assert 'medassets_answers_total{confidence="high",part="rare"} 1.0' in text
    assert "Mustermann" not in text and answer["prediction_id"] not in text


def test_a_planted_name_is_in_no_refusal(client):
    name = "Erika Mustermann"
    for body in (
        {"observed": [name]}, {"evidence": [name]}, {"age": name}, {"sex": name}, {name: 1},
        {"patient_id": name, "observed": ["HP:0001250"]}, {"evidence": {"present": ["E_54_@_" + name]}},
    ):  # fmt: skip
        response = client.post("/v1/diagnose", json=body)
        assert response.status_code == 400, body
        assert "Mustermann" not in response.text, body


def test_patients_are_kept_under_pseudonyms(desk):
    from medassets.serving.sealing import Sealer

    desk._sealer = Sealer({"aaaa": b"a" * 32})
    with TestClient(create_app(lambda: desk)) as client:
        answer = client.post("/v1/diagnose", json=CASE | {"patient_id": "Erika Mustermann"})
        kept = client.get(f"/v1/predictions/{answer.json()['prediction_id']}").text
    assert "Mustermann" not in kept and '"patient_id":"ps_' in kept
