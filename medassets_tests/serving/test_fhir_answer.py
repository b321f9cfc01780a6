"""Answers as FHIR R4: the models of fhir.resources (R4B, which keeps these resources) read each of them."""

import pytest
from fastapi.testclient import TestClient
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.provenance import Provenance
from fhir.resources.R4B.riskassessment import RiskAssessment

from medassets.serving.fhir_answer import as_fhir, bundle
from medassets.serving.http import create_app
from medassets.serving.requests import parse_request
from medassets_tests.serving.records import CODES, PATIENT, SNOMED, condition
from medassets_tests.serving.records import bundle as record

MODELS = {
    "RiskAssessment": RiskAssessment,
    "DiagnosticReport": DiagnosticReport,
    "Provenance": Provenance,
    "Bundle": Bundle,
}
CASE = {"observed": ["HP:0001250"], "evidence": ["E_91"]}


def checked(resource):
    return MODELS[resource["resourceType"]].model_validate(resource)


@pytest.fixture
def answer(desk):
    unused = {"field": "entry[1].resource.code", "code": f"{SNOMED}|1", "reason": "no term", "count": 2}
    return desk.diagnose(parse_request(CASE), unmapped=[unused])


def test_a_bundle_holds_assessment_report_and_provenance_of_both(answer):
    made = bundle(answer, "Patient/p1")
    checked(made)
    resources = [checked(entry["resource"]) for entry in made["entry"]]
    assert [type(resource) for resource in resources] == [RiskAssessment, DiagnosticReport, Provenance]
    targets = {target["reference"] for target in made["entry"][2]["resource"]["target"]}
    assert targets == {entry["fullUrl"] for entry in made["entry"][:2]}
    assert bundle(answer, "Patient/p1") == made


def test_everything_is_preliminary_and_says_what_it_is_and_learned_from(answer):
    for form in ("RiskAssessment", "DiagnosticReport"):
        resource = as_fhir(answer, form)
        text = str(resource)
        assert resource["status"] == "preliminary" and "no diagnosis" in text
        assert "published_case" in text and "simulated" in text and "2 recorded statements" in text


def test_probabilities_are_percents_and_codes_those_of_the_systems(answer):
    rare, common = as_fhir(answer, "RiskAssessment")["prediction"]
    assert rare["probabilityDecimal"] == 90 and rare["rationale"] == "for: Seizure"
    assert rare["outcome"]["coding"] == [{"system": "http://www.omim.org", "code": "1", "display": "First"}]
    assert common["outcome"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/icd-10"
    report = as_fhir(answer, "DiagnosticReport")
    assert [o["component"][0]["valueQuantity"]["value"] for o in report["contained"]] == [90, 70]
    assert {r["reference"] for r in report["result"]} == {"#rare", "#common"}


def test_provenance_names_bundle_models_tables_and_origins(answer):
    entities = bundle(answer)["entry"][2]["resource"]["entity"]
    named = {(e["what"]["identifier"]["system"], e["what"]["identifier"]["value"]) for e in entities}
    assert ("urn:medassets:bundle", answer["versions"]["bundle"]) in named
    assert ("urn:medassets:model", "rare_ranker/4") in named
    assert ("urn:medassets:table", "clinical/rare_cases@7") in named
    assert {value for system, value in named if system == "urn:medassets:origin"} == {
        "published_case", "simulated",
    }  # fmt: skip


@pytest.mark.parametrize("missing", ["rare", "common"])
def test_an_answer_of_one_part_or_without_candidates_is_valid_too(answer, missing):
    answer[missing] = None
    answer["not_answered"][missing] = "not asked"
    answer["training_origin"].pop(missing)
    other = "common" if missing == "rare" else "rare"
    answer[other] |= {"candidates": [], "abstain": True, "reason": "nothing fits"}
    for form in ("RiskAssessment", "DiagnosticReport", "Bundle"):
        resource = as_fhir(answer, form)
        checked(resource)
        assert "nothing fits" in str(resource)


@pytest.fixture
def client(desk):
    desk.codes = CODES
    return TestClient(create_app(lambda: desk), raise_server_exceptions=False)


PACKET = {"subject": {"sex": "MALE"}, "phenotypicFeatures": [{"type": {"id": "HP:0001250"}}]}
ROUTES = [
    ("/v1/diagnose", CASE),
    ("/v1/diagnose/phenopacket", PACKET),
    ("/v1/diagnose/fhir", record(PATIENT, condition(SNOMED, "91175000"))),
]


@pytest.mark.parametrize(("path", "body"), ROUTES)
@pytest.mark.parametrize("form", ["RiskAssessment", "DiagnosticReport", "Bundle"])
def test_fhir_comes_on_request(client, path, body, form):
    response = client.post(path, params={"answer_as": form}, json=body)
    assert response.headers["content-type"] == "application/fhir+json"
    assert response.json()["resourceType"] == form
    checked(response.json())


@pytest.mark.parametrize(
    ("accept", "fhir"),
    [
        ("application/fhir+json", True),
        ("application/fhir+json;q=0.9, */*;q=0.1", True),
        ("application/json, application/fhir+json", False),
        ("*/*", False),
    ],
)
def test_the_header_asks_for_fhir_as_well(client, accept, fhir):
    response = client.post("/v1/diagnose", json=CASE, headers={"Accept": accept})
    assert (response.json().get("resourceType") == "Bundle") is fhir


def test_a_kept_answer_is_given_as_fhir_too(client):
    prediction_id = client.post("/v1/diagnose", json=CASE).json()["prediction_id"]
    response = client.get(f"/v1/predictions/{prediction_id}", params={"answer_as": "RiskAssessment"})
    assert checked(response.json()).id == prediction_id


def test_the_patient_of_the_bundle_is_the_subject(client):
    response = client.post("/v1/diagnose/fhir", params={"answer_as": "RiskAssessment"}, json=ROUTES[2][1])
    assert response.json()["subject"] == {"reference": "Patient/p1"} and "Mustermann" not in response.text


def test_what_was_mapped_and_what_was_not_stand_in_the_answer(client):
    packet = record(PATIENT, condition(SNOMED, "91175000"), condition(SNOMED, "1"))
    answer = client.post("/v1/diagnose/fhir", json=packet).json()
    assert answer["rare"]["candidates"] and answer["unmapped"][0]["code"] == f"{SNOMED}|1"
    assert answer["mapped"][0]["used"] == "HP:0001250"
    assert "medassets_unmapped_statements_total 1.0" in client.get("/metrics").text
    assert client.get(f"/v1/predictions/{answer['prediction_id']}").json()["answer"] == answer


def test_a_bundle_of_which_nothing_can_be_used_is_refused_with_each_reason(client):
    response = client.post("/v1/diagnose/fhir", json=record(PATIENT, condition(SNOMED, "1")))
    assert response.status_code == 400
    assert [e["field"] for e in response.json()["errors"]] == ["entry", "entry[1].resource.code"]
    assert client.post("/v1/diagnose/fhir", json={"resourceType": "Patient"}).status_code == 400
