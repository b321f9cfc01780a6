"""CDS Hooks 2.0: the fields of the specification, in discovery, cards and feedback."""

import uuid

import pytest
from fastapi.testclient import TestClient

from medassets.serving import cds
from medassets.serving.http import create_app
from medassets.serving.requests import parse_request
from medassets_tests.serving.records import CODES, HPO, PATIENT, bundle, condition

PATH = f"/cds-services/{cds.SERVICE}"


@pytest.fixture
def client(desk):
    desk.codes = CODES
    app = create_app(lambda: desk, page_url="https://page.example")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def hook(**more):
    return {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"patientId": "1", "userId": "Practitioner/1"},
        "prefetch": {
            "patient": PATIENT,
            "conditions": bundle(condition(HPO, "HP:0001250")),
            "observations": None,
        },
    } | more


def test_discovery_offers_one_service_at_two_hooks(client):
    services = client.get("/cds-services").json()["services"]
    assert [(s["id"], s["hook"]) for s in services] == [
        (cds.SERVICE, "patient-view"), (cds.SERVICE, "encounter-start"),
    ]  # fmt: skip
    for service in services:
        assert service["title"] and service["description"]
        assert all("{{context.patientId}}" in query for query in service["prefetch"].values())


@pytest.mark.parametrize("name", ["patient-view", "encounter-start"])
def test_cards_have_the_fields_of_the_specification(client, name):
    cards = client.post(PATH, json=hook(hook=name)).json()["cards"]
    assert len(cards) == 1
    for card in cards:
        cds.Card.model_validate(card)
        uuid.UUID(card["uuid"])
        assert 0 < len(card["summary"]) < 140
        assert "Seizure" in card["detail"] and "no diagnosis" in card["detail"]
        assert card["links"][0]["url"].startswith("https://page.example/?prediction=")
        assert card["source"]["url"] == "http://testserver/v1/model-card"
        assert all(reason["display"] for reason in card["overrideReasons"])


def test_links_lead_to_the_answer_itself_without_a_page(desk):
    desk.codes = CODES
    client = TestClient(create_app(lambda: desk))
    card = client.post(PATH, json=hook()).json()["cards"][0]
    assert client.get(card["links"][0]["url"]).json()["answer"]["rare"]


def feedback(card, **more):
    return {
        "feedback": [{"card": card, "outcome": "accepted", "outcomeTimestamp": "2026-01-01T00:00:00Z"} | more]
    }


def test_feedback_finds_the_prediction_and_keeps_reason_and_comment(client, desk):
    card = client.post(PATH, json=hook()).json()["cards"][0]["uuid"]
    reason = {
        "reason": {"code": "not-plausible", "system": cds.OVERRIDES},
        "userComment": "known since birth",
    }
    sent = feedback(card, outcome="overridden", overrideReason=reason)
    assert client.post(f"{PATH}/feedback", json=sent).json() == {}
    kept = desk.store.feedback()[-1]
    assert kept["verdict"] == "card overridden"
    assert kept["comment"] == f"{cds.OVERRIDES}|not-plausible known since birth"
    accepted = feedback(card, acceptedSuggestions=[{"id": str(uuid.uuid4())}])
    assert client.post(f"{PATH}/feedback", json=accepted).status_code == 200


@pytest.mark.parametrize("card", ["unknown", str(uuid.UUID(int=7))])
def test_feedback_to_no_card_is_404_and_nothing_is_kept(client, desk, card):
    known = client.post(PATH, json=hook()).json()["cards"][0]["uuid"]
    both = {"feedback": feedback(known)["feedback"] + feedback(card)["feedback"]}
    assert client.post(f"{PATH}/feedback", json=both).status_code == 404
    assert desk.store.feedback() == []


def test_no_usable_finding_gives_no_card(client):
    nothing = hook(prefetch={"patient": PATIENT, "conditions": bundle()})
    assert client.post(PATH, json=nothing).json() == {"cards": []}


ERROR = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]}


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"hook": "order-sign"}, 400, "hook"),
        ({"prefetch": {}}, 412, "prefetch.conditions or observations"),
        ({"prefetch": {"conditions": ERROR}}, 412, "prefetch.conditions or observations"),
        ({"hookInstance": 3}, 400, "hookInstance"),
        ({"hookInstance": "no uuid"}, 400, "hookInstance"),
        ({"context": None}, 400, "context"),
        ({"context": {"patientId": "1"}}, 400, "context.userId"),
    ],
)
def test_wrong_hooks_name_the_field(client, change, status, field):
    response = client.post(PATH, json=hook(**change))
    assert response.status_code == status and response.json()["errors"][0]["field"] == field


def test_unknown_services(client):
    assert client.post("/cds-services/other", json=hook()).status_code == 404
    assert client.post("/cds-services/other/feedback", json=feedback("x")).status_code == 404


def test_long_names_are_cut_to_the_summary(desk):
    answer = desk.diagnose(parse_request({"observed": ["HP:0001250"]}))
    answer["rare"]["candidates"][0]["name"] = "A very long name " * 20
    card = cds.cards(answer, "http://x", "http://y")[0]
    assert len(card["summary"]) == cds.MAX_SUMMARY and card["summary"].endswith("…")


def test_the_uuid_of_each_part_leads_back():
    prediction = uuid.uuid4().hex
    for part in ("rare", "common"):
        assert prediction in cds.predictions_of(cds.card_uuid(prediction, part))
