"""The handler takes API Gateway's events and gives its responses; without a sound bundle it says so."""

import base64
import importlib.util
import json
from pathlib import Path

import pytest

from medassets_tests.serving.conftest import bundle, common_knowledge, desk, diagnoser, ontology  # noqa: F401

HANDLER = Path(__file__).resolve().parents[2] / "deployment" / "serverless" / "handler.py"


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MEDASSETS_AUTH", "off")
    monkeypatch.setenv("MEDASSETS_BUNDLE_DIR", str(tmp_path / "none"))
    spec = importlib.util.spec_from_file_location("handler", HANDLER)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def event(method: str, path: str, body: object = None, encode: bool = False) -> dict:
    """An event of an HTTP API, payload format 2.0."""
    text = "" if body is None else json.dumps(body)
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "api.example"},
        "requestContext": {
            "http": {"method": method, "path": path, "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1"},
            "stage": "$default",
        },
        "body": base64.b64encode(text.encode()).decode() if encode else text,
        "isBase64Encoded": encode,
    }


def test_without_a_bundle_it_is_unavailable_and_says_why(module):
    answer = module.handler(event("POST", "/v1/diagnose", {"observed": ["HP:0001250"]}), None)
    assert answer["statusCode"] == 503
    assert "bundle" in json.loads(answer["body"])["detail"]


@pytest.mark.parametrize("encode", [False, True])
def test_an_event_is_answered_and_kept(module, desk, encode):  # noqa: F811
    module.keeper.desk = desk
    answer = module.handler(event("POST", "/v1/diagnose", {"observed": ["HP:0001250"]}, encode), None)
    given = json.loads(answer["body"])
    assert answer["statusCode"] == 200 and answer["headers"]["content-type"].startswith("application/json")
    assert desk.prediction(given["prediction_id"]).request["observed"] == ["HP:0001250"]


def test_a_wrong_request_is_a_problem_that_names_the_field(module, desk):  # noqa: F811
    module.keeper.desk = desk
    answer = module.handler(event("POST", "/v1/diagnose", {"observed": ["HP:9999999"]}), None)
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["errors"][0]["field"].startswith("observed")
