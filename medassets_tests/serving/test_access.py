"""API keys: hashed, by role, revocable at once."""

import pytest

from medassets.serving.access import RIGHTS, AccessError, KeyRing


@pytest.fixture
def ring(tmp_path):
    return KeyRing(tmp_path / "secrets" / "keys.json")


def test_a_key_opens_what_its_role_may(ring):
    key, token = ring.add("ward 3", "clinician")
    assert ring.check(token, "ask") == f"clinician:{key.key_id}"
    with pytest.raises(AccessError, match="clinician may not audit") as error:
        ring.check(token, "audit")
    assert error.value.known


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t + "x", lambda t: "", lambda t: None,
                                    lambda t: t.replace("mak_", "abc_"), lambda t: "mak__"])  # fmt: skip
def test_other_tokens_open_nothing(ring, change):
    _, token = ring.add("ward 3", "service")
    with pytest.raises(AccessError, match="valid API key") as error:
        ring.check(change(token), "ask")
    assert not error.value.known


def test_a_revoked_key_ends_at_once_in_every_process(ring):
    key, token = ring.add("ward 3", "service")
    other = KeyRing(ring.path)
    assert other.check(token, "ask")
    ring.revoke(key.key_id)
    with pytest.raises(AccessError):
        other.check(token, "ask")
    assert other.all()[0].revoked
    with pytest.raises(KeyError):
        ring.revoke("nope")


def test_the_file_holds_no_key_and_is_its_owners(ring):
    _, token = ring.add("ward 3", "auditor")
    assert token.split("_", 2)[2] not in ring.path.read_text()
    assert ring.path.stat().st_mode & 0o777 == 0o600


def test_roles_are_those_of_the_documentation(ring):
    assert set(RIGHTS) == {"clinician", "service", "auditor"}
    with pytest.raises(ValueError, match="one of clinician"):
        ring.add("x", "king")
    assert "ask" not in RIGHTS["auditor"] and "audit" not in RIGHTS["clinician"]
