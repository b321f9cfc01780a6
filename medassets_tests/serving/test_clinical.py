"""FHIR and CDS Hooks: what is read, what is listed as not mapped, the fields of the specifications."""

import json

import pytest
from fastapi.testclient import TestClient

from medassets.serving import cds
from medassets.serving.crosswalk import CodeMap, write_cross_references
from medassets.serving.fhir import read_bundle, risk_assessment
from medassets.serving.http import create_app
from medassets.serving.requests import RequestError, parse_request

HPO, SNOMED, LOINC = "http://human-phenotype-ontology.org", "http://snomed.info/sct", "http://loinc.org"


def coded(system, code):
    return {"coding": [{"system": system, "code": code}]}


def condition(system, code, status="confirmed"):
    return {"resourceType": "Condition", "code": coded(system, code), "verificationStatus": coded("", status)}


def bundle(*resources, **more):
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": r} for r in resources],
        **more,
    }


PATIENT = {
    "resourceType": "Patient",
    "gender": "female",
    "birthDate": "2020-01-01",
    "name": [{"family": "Mustermann"}],
}
CODES = CodeMap({SNOMED: {"91175000": "HP:0001250"}})


def test_conditions_observations_and_answers_are_read():
    focal = {"system": HPO, "code": "HP_0007359"}
    packet = bundle(
        PATIENT,
        condition(SNOMED, "91175000"),
        {"resourceType": "Observation", "code": coded(HPO, "HP:0000252"), "valueBoolean": False},
        {"resourceType": "QuestionnaireResponse", "item": [{"answer": [{"valueCoding": focal}]}]},
        timestamp="2022-01-01T00:00:00Z",
    )  # fmt: skip
    read = read_bundle(packet, CODES, top=2)
    assert read.request.observed == ["HP:0001250", "HP:0007359"] and read.request.excluded == ["HP:0000252"]
    assert read.request.sex == "F" and read.request.age == 731 and read.request.top == 2
    assert read.unmapped == []


def test_what_cannot_be_mapped_is_listed():
    read = read_bundle(
        bundle(
            condition(SNOMED, "1"),
            {"resourceType": "Observation", "code": coded(LOINC, "8302-2"), "valueQuantity": {"value": 142}},
            {"resourceType": "Observation", "code": coded(HPO, "HP:0001250"), "valueString": "perhaps"},
            {"resourceType": "Condition", "code": {"text": "seizures, Mustermann"}},
        ),
        CODES,
    )
    assert [u["code"] for u in read.unmapped] == [
        f"{SNOMED}|1",
        f"{LOINC}|8302-2",
        f"{HPO}|HP:0001250",
        "no code",
    ]
    assert read.unmapped[0]["field"] == "entry[0].resource.code" and read.request.observed == []
    assert "neither yes nor no" in read.unmapped[2]["reason"]
    assert "Mustermann" not in json.dumps(read.unmapped)


def test_refuted_conditions_are_excluded_and_contradictions_left_to_the_doctor():
    read = read_bundle(bundle(condition(HPO, "HP:0001250", "refuted"), condition(HPO, "HP:0000252")), CODES)
    assert (read.request.observed, read.request.excluded) == (["HP:0000252"], ["HP:0001250"])
    read = read_bundle(bundle(condition(HPO, "HP:0001250", "refuted"), condition(HPO, "HP:0001250")), CODES)
    assert read.request.observed == read.request.excluded == [] and "both" in read.unmapped[0]["reason"]


@pytest.mark.parametrize(
    ("packet", "field"),
    [
        ({"resourceType": "Patient"}, "resourceType"),
        ({"resourceType": "Bundle", "entry": 3}, "resourceType"),
        (bundle(PATIENT, PATIENT), "entry[1].resource"),
        (bundle(PATIENT | {"birthDate": "then"}), "Patient.birthDate"),
        (bundle(PATIENT, timestamp="2019-01-01T00:00:00Z"), "Patient.birthDate"),
    ],
)
def test_wrong_bundles_name_the_field(packet, field):
    with pytest.raises(RequestError) as error:
        read_bundle(packet, CODES)
    assert error.value.problems[0][0] == field


def test_cross_references_come_from_the_ontology_and_ambiguous_ones_decide_nothing(tmp_path):
    (tmp_path / "hp.obo").write_text(
        "[Term]\nid: HP:0001250\nxref: SNOMEDCT_US:1 {a}\nxref: UMLS:C1\nxref: MSH:D1\n\n"
        "[Term]\nid: HP:0000252\nxref: SNOMEDCT_US:2\nxref: UMLS:C1\n\n"
        "[Typedef]\nid: part_of\nxref: SNOMEDCT_US:3\n"
    )
    write_cross_references(tmp_path / "hp.obo", tmp_path)
    codes = CodeMap.load(tmp_path)
    assert codes.hpo(SNOMED, "1") == "HP:0001250" and codes.hpo(SNOMED, "2") == "HP:0000252"
    assert codes.hpo(SNOMED, "3") is None and codes.hpo("http://www.nlm.nih.gov/research/umls", "C1") is None
    assert codes.hpo(HPO, "HP_0001250") == "HP:0001250" and codes.hpo(HPO, "seizure") is None


@pytest.fixture
def client(desk):
    desk.codes = CODES
    with TestClient(create_app(lambda: desk), raise_server_exceptions=False) as client:
        yield client


def test_fhir_is_answered_in_both_forms(client):
    packet = bundle(PATIENT, condition(SNOMED, "91175000"), condition(SNOMED, "1"))
    answer = client.post("/v1/diagnose/fhir", json=packet).json()
    assert answer["rare"]["candidates"] and answer["unmapped"][0]["code"] == f"{SNOMED}|1"
    response = client.post("/v1/diagnose/fhir", params={"answer_as": "RiskAssessment"}, json=packet)
    assert response.headers["content-type"].startswith("application/fhir+json")
    resource = response.json()
    assert resource["resourceType"] == "RiskAssessment" and resource["status"] == "preliminary"
    assert resource["prediction"][0]["outcome"]["coding"][0]["code"] == "OMIM:1"
    assert client.post("/v1/diagnose/fhir", json={"resourceType": "Patient"}).status_code == 400


def test_risk_assessment_has_both_parts(desk):
    answer = desk.diagnose(parse_request({"observed": ["HP:0001250"], "evidence": ["E_91"]}))
    systems = [p["outcome"]["coding"][0]["system"] for p in risk_assessment(answer)["prediction"]]
    assert systems == ["https://omim.org", "http://hl7.org/fhir/sid/icd-10"]


def hook(**more):
    return {
        "hook": "patient-view", "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"patientId": "1", "userId": "Practitioner/1"},
        "prefetch": {
            "patient": PATIENT, "conditions": bundle(condition(HPO, "HP:0001250")), "observations": None,
        },
    } | more  # fmt: skip


def test_discovery_has_the_fields_of_the_specification(client):
    services = client.get("/cds-services").json()["services"]
    assert {s["hook"] for s in services} == {"patient-view", "encounter-start"}
    for service in services:
        assert {"hook", "description", "id", "prefetch"} <= set(service)


def test_cards_have_the_fields_of_the_specification(client):
    cards = client.post(f"/cds-services/{cds.SERVICE}", json=hook()).json()["cards"]
    assert len(cards) == 1
    for card in cards:
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] in ("info", "warning", "critical")
        assert card["source"]["label"] and "Seizure" in card["detail"] and "no diagnosis" in card["detail"]
        assert {"label", "url", "type"} <= set(card["links"][0])
    feedback = {
        "feedback": [
            {"card": cards[0]["uuid"], "outcome": "accepted", "outcomeTimestamp": "2026-01-01T00:00:00Z"}
        ]
    }
    assert client.post(f"/cds-services/{cds.SERVICE}/feedback", json=feedback).status_code == 200
    feedback["feedback"][0]["card"] = "unknown-rare"
    assert client.post(f"/cds-services/{cds.SERVICE}/feedback", json=feedback).status_code == 404


def test_no_usable_finding_gives_no_card(client):
    nothing = hook(prefetch={"patient": PATIENT})
    assert client.post(f"/cds-services/{cds.SERVICE}", json=nothing).json() == {"cards": []}


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"hook": "order-sign"}, 400, "hook"),
        ({"prefetch": {}}, 400, "prefetch"),
        ({"hookInstance": 3}, 400, "hookInstance"),
        ({"context": None}, 400, "context"),
    ],
)
def test_wrong_hooks_name_the_field(client, change, status, field):
    response = client.post(f"/cds-services/{cds.SERVICE}", json=hook(**change))
    assert response.status_code == status and response.json()["errors"][0]["field"] == field


def test_unknown_services(client):
    assert client.post("/cds-services/other", json=hook()).status_code == 404


def test_long_names_are_cut_to_the_summary(desk):
    answer = desk.diagnose(parse_request({"observed": ["HP:0001250"]}))
    answer["rare"]["candidates"][0]["name"] = "A very long name " * 20
    card = cds.cards(answer, read_bundle(bundle(), CODES), "http://x")[0]
    assert len(card["summary"]) == cds.MAX_SUMMARY and card["summary"].endswith("…")
