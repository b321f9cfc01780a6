"""Every route refuses politely: no key, wrong role, bodies too large, too deep, of wrong types, unknown ids.

The routes are those of the application itself, so that a new one is asked as well.
"""

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Route

from medassets.serving.access import RIGHTS, KeyRing
from medassets.serving.cds import SERVICE
from medassets.serving.http import create_app
from medassets.serving.http_parts import MAX_BODY
from medassets.serving.requests import MAX_DEPTH

#: Tell nothing of anyone: the interface's own description, discovery, and counts for a site's monitoring.
OPEN = {"/", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/cds-services", "/metrics"}
#: Who may not pass; every role may browse.
KEPT_OUT = {"POST": "auditor", "GET": "service"}
ALL_MAY = {"/v1/terms", "/v1/model-card"}
APP = create_app(lambda: None)
ROUTES = sorted(
    (method, route.path)
    for route in APP.routes
    if isinstance(route, APIRoute | Route)
    for method in route.methods - {"HEAD"}
)
CLOSED = [(method, path) for method, path in ROUTES if path not in OPEN]
POSTS = [path for method, path in CLOSED if method == "POST"]
NAMED = [(method, path) for method, path in CLOSED if "{" in path]


def named(path, name=SERVICE):
    return path.replace("{service}", name).replace("{prediction_id}", name)


def refusal(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status and problem["title"] and problem["errors"]
    assert all(error["field"] and error["message"] for error in problem["errors"])
    return problem


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "keys.json")


@pytest.fixture
def locked(desk, ring):
    return TestClient(create_app(lambda: desk, ring), raise_server_exceptions=False)


@pytest.fixture
def client(desk):
    return TestClient(create_app(lambda: desk), raise_server_exceptions=False)


def test_what_is_open_is_named_here_and_there_is_no_more():
    assert {path for _, path in ROUTES} >= OPEN
    assert {"/v1/diagnose", "/v1/diagnose/fhir", "/v1/lineage/{prediction_id}"} <= {p for _, p in CLOSED}


@pytest.mark.parametrize(("method", "path"), CLOSED)
@pytest.mark.parametrize("header", [None, "Bearer no", "Bearer mak_x_y", "Basic eDp5", "Bearer "])
def test_without_a_valid_key(locked, method, path, header):
    headers = {"Authorization": header} if header else {}
    response = locked.request(method, named(path), content=b"{}", headers=headers)
    refusal(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), [route for route in CLOSED if route[1] not in ALL_MAY])
def test_with_a_key_of_another_role(locked, ring, method, path):
    headers = {"Authorization": f"Bearer {ring.add('x', KEPT_OUT[method])[1]}"}
    refusal(locked.request(method, named(path), content=b"{}", headers=headers), 403)


@pytest.mark.parametrize("path", sorted(ALL_MAY))
@pytest.mark.parametrize("role", sorted(RIGHTS))
def test_every_role_may_browse(locked, ring, role, path):
    headers = {"Authorization": f"Bearer {ring.add('x', role)[1]}"}
    assert locked.get(path, params={"q": "seizure"}, headers=headers).status_code == 200


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b" " * (MAX_BODY + 1), 413),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), 400),
        (b"[" * 100_000, 400),
        (b"", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"null", 400),
        (b'{"age": NaN}', 400),
        (b'{"age": -Infinity}', 400),
        (b"{'a': 1}", 400),
        (b"\xff\xfe{}", 400),
        (b'{"patient_id": "\\ud800"}', 400),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, bytes) else str(value),
)
def test_bodies_that_are_none(client, path, body, status):
    refusal(client.post(named(path), content=body), status)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("value", [3, "x", [], [[]], {"a": 1}, True, None])
def test_fields_of_the_wrong_type(client, path, value):
    names = [
        "observed", "excluded", "evidence", "age", "sex", "top", "text", "language", "prediction_id",
        "verdict", "phenotypicFeatures", "subject", "resourceType", "entry", "timestamp", "hook",
        "hookInstance", "context", "prefetch", "feedback",
    ]  # fmt: skip
    refusal(client.post(named(path), json=dict.fromkeys(names, value)), 400)


@pytest.mark.parametrize(("method", "path"), NAMED)
@pytest.mark.parametrize("name", ["nope", "%00", "..%2f..", "0" * 32, "e" * 300])
def test_unknown_ids(client, method, path, name):
    refusal(client.request(method, named(path, name), content=b"{}"), 404)


@pytest.mark.parametrize("path", sorted({path for _, path in ROUTES}))
def test_methods_that_are_not_offered(client, path):
    offered = {method for method, other in ROUTES if other == path}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - offered:
        response = client.request(method, named(path))
        refusal(response, 405)
        assert set(response.headers["allow"].split(", ")) >= offered


@pytest.mark.parametrize("path", ["/v1", "/v2/diagnose", "/v1/diagnose/", "/..%2f..%2fetc%2fpasswd"])
def test_paths_that_are_not_there(client, path):
    refusal(client.get(path, follow_redirects=False), 404)


@pytest.mark.parametrize(("method", "path"), [r for r in CLOSED if r[0] == "GET" and "{" not in r[1]])
def test_queries_of_the_wrong_form(client, method, path):
    if path == "/v1/terms":
        for query in (
            {},
            {"q": ""},
            {"q": "a" * 201},
            {"q": "a", "limit": "x"},
            {"q": "a", "language": "fr"},
        ):
            refusal(client.get(path, params=query), 400)
