"""A record system gets its cards from the served bento, over a small model that was really learned."""

import httpx
import pytest
from fastapi.testclient import TestClient

from medassets.commands.server import running
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets.serving.access import KeyRing
from medassets.serving.bento import build_bento
from medassets.serving.cds import SERVICE
from medassets.serving.http import create_app
from medassets.serving.signing import open_signer
from medassets.settings import Settings
from medassets_tests.ehr_simulator import FhirServer, RecordSystem, SpecificationError, check_card, filled
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology, typical_findings
from medassets_tests.serving.conftest import fake_bundle
from medassets_tests.serving.records import HPO, PATIENT, condition, observation

SMALL = ListwiseConfig(hidden=8, epochs=3, batch=8, negatives=10)
CONTEXT = {"patientId": "p1", "userId": "Practitioner/1", "encounterId": "e1"}


def record(terms):
    of_patient = {"subject": {"reference": "Patient/p1"}}
    other = {"subject": {"reference": "Patient/p2"}}
    return FhirServer(
        {
            "Patient": [PATIENT],
            "Condition": [condition(HPO, term, **of_patient) for term in terms[:-1]]
            + [condition(HPO, "HP:9999999", **other)],
            "Observation": [observation(HPO, terms[-1], valueBoolean=True, **of_patient)],
        }
    )


def test_templates_are_filled_from_the_context_only():
    assert filled("Condition?patient={{context.patientId}}", CONTEXT) == "Condition?patient=p1"
    with pytest.raises(SpecificationError):
        filled("Patient/{{context.other}}", CONTEXT)


@pytest.mark.parametrize(
    "change",
    [
        {"summary": "x" * 140},
        {"indicator": "red"},
        {"links": [{"label": "a", "url": "/here", "type": "absolute"}]},
        {"detail": ""},
        {"suggestions": [{"label": "a"}]},
        {"overrideReasons": [{"code": "a", "system": "b"}]},
    ],
)
def test_the_simulator_knows_a_wrong_card(change):
    card = {
        "uuid": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "summary": "a",
        "indicator": "info",
        "source": {"label": "a"},
    }
    check_card(card)
    with pytest.raises(SpecificationError):
        check_card(card | change)


def test_cards_and_feedback_in_process(desk):
    system = RecordSystem(TestClient(create_app(lambda: desk)), record(["HP:0001250", "HP:0000252"]))
    services = system.discover()
    assert {service["hook"] for service in services} == {"patient-view", "encounter-start"}
    for service in services:
        cards = system.call(service, CONTEXT)
        assert len(cards) == 1
        system.accept(service, cards[0])
        system.override(service, cards[0], "known since birth")
    assert {row["verdict"] for row in desk.store.feedback()} == {"card accepted", "card overridden"}
    assert "Condition?patient=p1" in system.fhir.asked


@pytest.mark.integration
def test_a_record_system_gets_its_cards_from_the_served_bento(tmp_path):
    ontology = made_ontology()
    cases = made_cases(ontology)
    config = RankerConfig("quick", ("clean", "published"), 2, 1, SMALL)
    ranker = RareRanker(config).fit(made_knowledge(ontology, cases), cases)
    settings = Settings(home=tmp_path)
    made = fake_bundle(
        settings.bundles_dir, parts={"rare": ranker.export_bundle}, sign=open_signer(settings).sign
    )
    bento = build_bento(made.directory, settings.home / "bentoml")
    key = KeyRing(settings.api_keys).add("record system", "service")[1]
    reader = KeyRing(settings.api_keys).add("doctor", "clinician")[1]
    with running(bento.path, settings) as address:
        http = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=20)
        system = RecordSystem(http, record(typical_findings(4)[:5]))
        service = system.discover()[0]
        assert service["id"] == SERVICE
        (card,) = system.call(service, CONTEXT)
        assert "published_case" in card["detail"] and "no diagnosis" in card["detail"]
        system.override(service, card, "not now")
        link = card["links"][0]["url"]
        answer = httpx.get(link, headers={"Authorization": f"Bearer {reader}"}, timeout=20).json()["answer"]
        assert answer["rare"]["candidates"][0]["disease_id"] == "OMIM:900004"
        assert httpx.post(f"{address}/cds-services/{SERVICE}", json={}, timeout=20).status_code == 401
