"""Bearer tokens against a small identity provider on this machine: what passes, and all that must not."""

import base64
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.testclient import TestClient

from medassets.serving.access import AccessError, KeyRing
from medassets.serving.http import create_app
from medassets.serving.oidc import (
    COOLDOWN,
    DISCOVERY,
    KEYS_SURVIVE,
    Gates,
    ProviderError,
    ProviderKeys,
    TokenGate,
    open_gate,
)
from medassets.settings import Settings
from medassets.settings_sections import OidcSettings

AUDIENCE = "medassets"


class Provider:
    """Discovery document and key set over HTTP, tokens signed with its keys."""

    def __init__(self):
        self.keys, self.listed, self.asked, self.broken = {}, [], [], False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                provider.asked.append(self.path)
                documents = {
                    DISCOVERY: {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/keys"},
                    "/keys": {"keys": provider.listed},
                }
                self.send_response(500 if provider.broken else 200)
                self.end_headers()
                self.wfile.write(json.dumps(documents[self.path]).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def add(self, name, key, algorithm):
        public = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        self.keys[name] = (key, algorithm)
        self.listed.append(public | {"kid": name, "use": "sig"})

    def token(self, key="one", headers=None, **claims):
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": AUDIENCE, "sub": "u-17", "iat": now, "exp": now + 60,
                 "roles": ["clinician"]}  # fmt: skip
        content = {name: value for name, value in (usual | claims).items() if value is not None}
        secret, algorithm = self.keys[key]
        return jwt.encode(content, secret, algorithm, headers={"kid": key} | (headers or {}))


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def provider(rsa_key):
    provider = Provider()
    provider.add("one", rsa_key, "RS256")
    yield provider
    provider.server.shutdown()
    provider.server.server_close()


class Clock:
    at = 1000.0

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gate(provider, clock):
    settings = OidcSettings(issuer=provider.issuer, audience=AUDIENCE, leeway_seconds=30)
    return TokenGate(settings, ProviderKeys(provider.issuer, clock=clock))


def refused(gate, token, right="ask"):
    with pytest.raises(AccessError) as error:
        gate.check(token, right)
    return error.value


def test_a_token_opens_what_its_role_may(gate, provider):
    assert gate.check(provider.token(), "ask") == "clinician:oidc:u-17"
    assert gate.holder(provider.token()) == "oidc:u-17"
    denied = refused(gate, provider.token(), "audit")
    assert denied.known and "clinician may not audit" in str(denied)
    both = provider.token(roles=["clinician", "auditor"])
    assert gate.check(both, "audit") == "auditor:oidc:u-17"
    assert provider.asked == [DISCOVERY, "/keys"]


def test_elliptic_keys_pass_as_well(gate, provider):
    provider.add("curve", ec.generate_private_key(ec.SECP256R1()), "ES256")
    assert gate.check(provider.token("curve"), "ask")


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": int(time.time()) - 60}, "has expired"),
        ({"exp": None}, "lacks a claim"),
        ({"nbf": int(time.time()) + 86_400}, "not valid yet"),
        ({"aud": "another"}, "not meant for this service"),
        ({"aud": None}, "not meant for this service|lacks a claim"),
        ({"iss": "https://elsewhere.example"}, "does not come from this site's"),
        ({"sub": None}, "lacks a claim"),
        ({"sub": "a\nb"}, "cannot be printed"),
    ],
)
def test_wrong_claims_are_refused_with_the_reason(gate, provider, claims, said):
    denied = refused(gate, provider.token(**claims))
    assert not denied.known
    assert re.search(said, str(denied))


def test_the_providers_clock_may_be_off_by_the_leeway(gate, provider):
    assert gate.check(provider.token(exp=int(time.time()) - 2), "ask")


def _part(content):
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_no_signature_and_a_public_key_as_secret_are_refused(gate, provider, rsa_key):
    head, body, _ = provider.token().split(".")
    none = f"{_part({'alg': 'none', 'typ': 'JWT', 'kid': 'one'})}.{body}."
    assert "signed otherwise" in str(refused(gate, none))
    public = rsa_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = f"{_part({'alg': 'HS256', 'kid': 'one'})}.{body}"
    mac = jwt.get_algorithm_by_name("HS256").sign(signed.encode(), public)
    forged = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert "signed otherwise" in str(refused(gate, forged))
    assert "wrong signature" in str(refused(gate, f"{head}.{body}.AAAA"))


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c", "x" * 20_000])
def test_what_is_no_token_is_refused(gate, token):
    assert not refused(gate, token).known


def test_a_key_of_someone_else_under_a_known_name_is_refused(gate, provider):
    provider.keys["one"] = (rsa.generate_private_key(65537, 2048), "RS256")
    assert "wrong signature" in str(refused(gate, provider.token()))


def test_a_key_must_suit_the_algorithm_that_the_token_names(gate, provider):
    provider.keys["two"] = (ec.generate_private_key(ec.SECP256R1()), "ES256")
    assert "does not list" in str(refused(gate, provider.token("two", headers={"kid": "one"})))


def test_a_rotated_key_is_fetched_once_and_an_unknown_one_not_again_and_again(gate, provider, clock):
    assert gate.check(provider.token(), "ask")
    provider.listed.clear()
    provider.add("new", rsa.generate_private_key(65537, 2048), "RS256")
    assert not refused(gate, provider.token("new")).known  # too soon after the last fetch
    clock.at += COOLDOWN + 1
    assert gate.check(provider.token("new"), "ask")
    assert "does not list" in str(refused(gate, provider.token("one")))
    before = len(provider.asked)
    for _ in range(5):
        refused(gate, provider.token("one"))
    assert len(provider.asked) == before


def test_unknown_roles_open_nothing(gate, provider):
    for roles in (["king"], [], None, 7, [["clinician"]]):
        denied = refused(gate, provider.token(roles=roles))
        assert denied.known and "names no role" in str(denied)


def test_roles_lie_where_the_site_says_and_mean_what_it_says(provider):
    settings = OidcSettings(
        issuer=provider.issuer, audience=AUDIENCE, role_claim="realm_access.roles", roles={"md": "clinician"}
    )
    token = provider.token(realm_access={"roles": ["md"]})
    assert TokenGate(settings).check(token, "ask") == "clinician:oidc:u-17"


def test_a_provider_that_is_down_is_asked_less_and_less_and_known_keys_go_on(gate, provider, clock):
    provider.broken = True
    for _ in range(3):
        with pytest.raises(ProviderError):
            gate.check(provider.token(), "ask")
    assert len(provider.asked) == 1 and gate.holder(provider.token()) is None
    provider.broken = False
    clock.at += 2
    assert gate.check(provider.token(), "ask")
    provider.broken = True
    clock.at += KEYS_SURVIVE - 1
    assert gate.check(provider.token(), "ask")
    clock.at += 2
    with pytest.raises(ProviderError):
        gate.check(provider.token(), "ask")


def test_the_api_says_that_it_cannot_check_tokens_now(desk, gate, provider):
    provider.broken = True
    with TestClient(create_app(lambda: desk, gate)) as client:
        headers = {"Authorization": f"Bearer {provider.token()}"}
        answered = client.post("/v1/diagnose", json={"observed": ["HP:0001250"]}, headers=headers)
    assert answered.status_code == 503 and answered.json()["errors"][0]["field"] == "authorization"


@pytest.mark.parametrize("issuer", ["http://provider.example", "ftp://127.0.0.1", "provider"])
def test_keys_are_not_fetched_in_the_clear(issuer):
    with pytest.raises(ValueError, match="must begin with https"):
        TokenGate(OidcSettings(issuer=issuer, audience=AUDIENCE))


def test_keys_and_tokens_open_the_same_api(desk, gate, provider, tmp_path):
    ring = KeyRing(tmp_path / "keys.json")
    _, key = ring.add("ward", "clinician")
    question = {"url": "/v1/diagnose", "json": {"observed": ["HP:0001250"]}}
    with TestClient(create_app(lambda: desk, Gates(ring, gate))) as client:
        for token, status in ((key, 200), (provider.token(), 200), (provider.token(aud="x"), 401),
                              (provider.token(roles=["auditor"]), 403), ("mak_x_y", 401)):  # fmt: skip
            answered = client.post(**question, headers={"Authorization": f"Bearer {token}"})
            assert answered.status_code == status, answered.text
        assert client.post(**question).status_code == 401
    assert set(desk.store.actors().values()) == {f"clinician:{ring.all()[0].key_id}", "clinician:oidc:u-17"}


def test_settings_decide_what_opens_the_api(tmp_path):
    assert open_gate(Settings(home=tmp_path, auth="off")) is None
    assert isinstance(open_gate(Settings(home=tmp_path)), KeyRing)
    oidc = {"issuer": "https://provider.example", "audience": "x"}
    assert isinstance(open_gate(Settings(home=tmp_path, auth="oidc", oidc=oidc)), TokenGate)
    assert isinstance(open_gate(Settings(home=tmp_path, auth="both", oidc=oidc)), Gates)
    with pytest.raises(ValueError, match="MEDASSETS_OIDC__ISSUER"):
        Settings(home=tmp_path, auth="oidc")
