"""How much one caller may ask, from where, and how deep."""

import json

import pytest
from fastapi.testclient import TestClient

from medassets.serving.access import KeyRing
from medassets.serving.http import create_app
from medassets.serving.limits import Limiter
from medassets.serving.requests import MAX_DEPTH

CASE = {"observed": ["HP:0001250"]}


def test_a_burst_passes_and_the_rest_waits_for_refill():
    at = [0.0]
    limiter = Limiter(60, clock=lambda: at[0])
    assert [limiter.take("a") for _ in range(10)] == [0.0] * 10
    assert limiter.take("a") == pytest.approx(1.0)
    assert limiter.take("b") == 0.0
    at[0] = 1.0
    assert limiter.take("a") == 0.0 and limiter.take("a") > 0


def test_no_number_of_callers_fills_the_memory(monkeypatch):
    monkeypatch.setattr("medassets.serving.limits._MOST_CALLERS", 20)
    limiter = Limiter(60, clock=lambda: 0.0)
    for number in range(200):
        limiter.take(f"address {number}")
    assert len(limiter._buckets) <= 21


def test_too_many_is_429_with_the_time_to_wait(desk, tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    first, second = ({"Authorization": f"Bearer {ring.add('x', 'clinician')[1]}"} for _ in range(2))
    with TestClient(create_app(lambda: desk, ring, rate_limit=6)) as client:
        assert client.post("/v1/diagnose", json=CASE, headers=first).status_code == 200
        refused = client.post("/v1/diagnose", json=CASE, headers=first)
        assert refused.status_code == 429 and 1 <= int(refused.headers["Retry-After"]) <= 10
        assert refused.headers["content-type"] == "application/problem+json"
        assert client.post("/v1/diagnose", json=CASE, headers=second).status_code == 200
        # Guessing keys is limited by address, however many are guessed.
        guesses = [
            client.get("/v1/predictions/x", headers={"Authorization": f"Bearer {n}"}) for n in range(2)
        ]
        assert [guess.status_code for guess in guesses] == [401, 429]
        assert client.get("/metrics").status_code == 200


def test_only_named_origins_may_call_from_a_browser(desk):
    asked = {"Origin": "https://ehr.example", "Access-Control-Request-Method": "POST"}
    with TestClient(create_app(lambda: desk)) as client:
        assert "access-control-allow-origin" not in client.get("/cds-services", headers=asked).headers
    with TestClient(create_app(lambda: desk, cors_origins=["https://ehr.example"])) as client:
        allowed = client.options("/cds-services/medassets-differential", headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://ehr.example"
        other = client.get("/cds-services", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"observed": json.loads("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))}).encode(),
        b'{"a":' * 600 + b"1" + b"}" * 600,
        b'{"patient_id": "\\ud800", "observed": ["HP:0001250"]}',
        b'{"patient_id": "\xed\xa0\x80", "observed": ["HP:0001250"]}',
        b'{"age": 1' + b"0" * 400 + b', "observed": ["HP:0001250"]}',
        b'{"age": 1e999, "observed": ["HP:0001250"]}',
        b"\xff\xfe{}",
    ],
)
@pytest.mark.parametrize("path", ["/v1/diagnose", "/v1/diagnose/fhir", "/v1/diagnose/phenopacket"])
def test_deep_and_broken_bodies_are_refused(desk, path, body):
    with TestClient(create_app(lambda: desk), raise_server_exceptions=False) as client:
        assert client.post(path, content=body).status_code == 400
