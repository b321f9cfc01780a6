"""Whatever a body holds, an endpoint answers with a status that its document names, and never with 5xx."""

import asyncio
import json
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medassets.serving.http import create_app

TERMS = st.sampled_from(
    ["HP:0001250", "HP:0000252", "HP:0007359", "HP:9", "E_91", "E_54_@_V_161", "", "\x00"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | TERMS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
#: Fields that the endpoints know, so that hostile values reach what is behind the first check.
FIELDS = (
    "observed", "excluded", "unknown", "evidence", "age", "sex", "text", "language", "top", "patient_id",
    "prediction_id", "verdict", "diagnosis", "comment", "phenotypicFeatures", "subject", "type",
    "timeAtLastEncounter", "resourceType", "entry", "resource", "code", "coding", "system", "birthDate",
    "item", "timestamp", "hook", "hookInstance", "context", "prefetch", "feedback", "card", "outcome",
)  # fmt: skip
OBJECTS = st.recursive(
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5),
    lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner | st.lists(inner, max_size=3), max_size=4),
    max_leaves=6,
)
BODIES = st.binary(max_size=60) | (OBJECTS | VALUES).map(lambda value: json.dumps(value).encode())
FHIR = st.lists(OBJECTS, max_size=3).map(
    lambda found: {"resourceType": "Bundle", "entry": [{"resource": resource} for resource in found]}
)
SHAPED = {
    "/v1/diagnose/fhir": FHIR,
    "/cds-services/medassets-differential": st.builds(
        lambda bundle, context: {
            "hook": "patient-view", "hookInstance": "1", "context": context, "prefetch": {"found": bundle}
        },
        FHIR, st.dictionaries(st.text(max_size=5), VALUES, max_size=2),
    ),
    "/v1/diagnose/phenopacket": st.builds(
        lambda features, subject: {"phenotypicFeatures": features, "subject": subject},
        st.lists(OBJECTS, max_size=3), VALUES | OBJECTS,
    ),
}  # fmt: skip


@pytest.fixture
def client(desk):
    # Not as a context: no lifespan is needed.
    return TestClient(create_app(lambda: desk), raise_server_exceptions=False)


PATHS = (
    "/diagnose", "/v1/diagnose", "/v1/annotate", "/v1/next-questions", "/v1/feedback",
    "/v1/diagnose/phenopacket", "/v1/diagnose/fhir", "/cds-services/medassets-differential",
    "/cds-services/medassets-differential/feedback",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_body_makes_an_error_of_the_server_or_an_undocumented_answer(client, path, data):
    shaped = SHAPED.get(path, OBJECTS).map(lambda value: json.dumps(value).encode())
    body = data.draw(BODIES | shaped)
    response = client.post(path, content=body)
    assert response.status_code < 500, response.text
    documented = next(
        operation["post"]["responses"]
        for template, operation in client.app.openapi()["paths"].items()
        if template == path.replace("medassets-differential", "{service}")
    )
    assert str(response.status_code) in documented
    json.loads(response.content)


@pytest.mark.parametrize("path", ["/v1/predictions/{}", "/v1/lineage/{}", "/v1/terms?q={}"])
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(min_size=1, max_size=30))
def test_no_path_or_query_makes_an_error_of_the_server(client, path, value):
    assert client.get(path.format(quote(value, safe=""))).status_code in (200, 400, 404)


def test_a_caller_that_leaves_in_the_middle_of_its_body_is_no_error_of_the_server(client):
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/diagnose", "raw_path": b"/v1/diagnose", "headers": [],
        "query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("x", 1), "client": ("x", 2),
    }  # fmt: skip
    asyncio.run(client.app(scope, receive, send))
    assert sent[0]["status"] == 400
