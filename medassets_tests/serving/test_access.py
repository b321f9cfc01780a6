"""API keys: hashed, by role, revocable at once."""

from concurrent.futures import ThreadPoolExecutor

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


def test_scopes_narrow_what_the_role_may(ring):
    key, token = ring.add("example", "service", ["ask"])
    assert KeyRing(ring.path).check(token, "ask") == f"service:{key.key_id}"
    with pytest.raises(AccessError, match="may not give feedback with this key's scopes") as error:
        ring.check(token, "give feedback")
    assert error.value.known
    with pytest.raises(ValueError, match="scope 'audit': the role service has"):
        ring.add("example", "service", ["audit"])


def test_a_lent_key_ends_with_the_block_also_on_an_error(ring):
    with pytest.raises(ZeroDivisionError), ring.lent("example", "service") as token:
        assert ring.check(token, "ask")
        raise ZeroDivisionError
    with pytest.raises(AccessError):
        ring.check(token, "ask")


def test_no_change_of_the_keys_is_lost_between_threads(ring):
    rings = [KeyRing(ring.path) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: [one.add("x", "service") for _ in range(10)], rings))
    assert len(ring.all()) == 40


def test_the_file_holds_no_key_and_is_its_owners(ring):
    _, token = ring.add("ward 3", "auditor")
    assert token.split("_", 2)[2] not in ring.path.read_text()
    assert ring.path.stat().st_mode & 0o777 == 0o600


def test_roles_are_those_of_the_documentation(ring):
    assert set(RIGHTS) == {"clinician", "service", "auditor"}
    with pytest.raises(ValueError, match="one of clinician"):
        ring.add("x", "king")
    assert "ask" not in RIGHTS["auditor"] and "audit" not in RIGHTS["clinician"]
