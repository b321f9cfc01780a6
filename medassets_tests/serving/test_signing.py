"""A bundle is served only where a pinned key has signed its manifest."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from medassets.serving.bundle import MANIFEST, SIGNATURE, BundleError, load_bundle, sign_bundle
from medassets.serving.predictor import Diagnoser
from medassets.serving.signing import PinnedKeys, Signer, change_key, open_signer, pinned_keys
from medassets.serving.swap import DeskKeeper
from medassets.settings import Settings
from medassets_tests.serving.conftest import FakeRare, fake_bundle


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


@pytest.fixture
def bundle(settings):
    return fake_bundle(settings.bundles_dir)


def refused(settings, bundle, said):
    with pytest.raises(BundleError, match=said):
        pinned_keys(settings).check(bundle.directory)


def test_the_first_bundle_is_signed_with_a_key_made_and_pinned_here(settings, bundle):
    key = open_signer(settings).key_id
    assert pinned_keys(settings).check(bundle.directory) == key == open_signer(settings).key_id
    assert settings.signing_key_file.stat().st_mode & 0o777 == 0o600
    assert load_bundle(bundle.directory) == bundle


def test_a_bundle_that_nobody_signed_is_refused(settings, bundle):
    (bundle.directory / SIGNATURE).unlink()
    refused(settings, bundle, "is not signed")
    assert fake_bundle(settings.bundles_dir).version == bundle.version  # made again: signed again
    assert pinned_keys(settings).check(bundle.directory)


def test_a_signature_by_someone_else_is_refused(settings, bundle):
    sign_bundle(bundle.directory, Signer(Ed25519PrivateKey.generate()).sign)
    refused(settings, bundle, "which .* does not hold")


def test_someone_elses_signature_under_a_trusted_name_is_refused(settings, bundle):
    path = bundle.directory / SIGNATURE
    trusted = json.loads(path.read_text())
    forged = json.loads(Signer(Ed25519PrivateKey.generate()).sign((bundle.directory / MANIFEST).read_bytes()))
    path.write_text(json.dumps(forged | {"key": trusted["key"]}))
    refused(settings, bundle, "not of this manifest")


def test_a_manifest_changed_after_signing_is_refused(settings, bundle):
    path = bundle.directory / MANIFEST
    path.write_text(path.read_text().replace('"numpy": "', '"numpy": "9'))
    load_bundle(bundle.directory)  # its sums still hold
    refused(settings, bundle, "not of this manifest")


def test_another_bundles_signature_is_refused(settings, bundle):
    other = fake_bundle(settings.bundles_dir, profile="full")
    (bundle.directory / SIGNATURE).write_bytes((other.directory / SIGNATURE).read_bytes())
    refused(settings, bundle, "not of this manifest")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"algorithm": "none", "key": "x", "signature": ""}',
        b'{"algorithm": "Ed25519", "key": "x", "signature": "?"}',
    ],
)
def test_what_is_no_signature_is_refused(settings, bundle, content):
    (bundle.directory / SIGNATURE).write_bytes(content)
    refused(settings, bundle, r"manifest\.sig is")


def test_without_pinned_keys_nothing_is_trusted(settings, bundle):
    settings.bundle_keys_file.unlink()
    refused(settings, bundle, "no public key is pinned")


@pytest.mark.parametrize("line", ["abc", "abc ????", "0123456789abcdef " + "A" * 43 + "="])
def test_a_malformed_line_of_public_keys_is_named(tmp_path, line):
    (tmp_path / "keys").write_text(f"# ours\n{line}\n")
    with pytest.raises(BundleError, match="keys, line 2"):
        PinnedKeys(tmp_path / "keys").all()


def test_keys_change_while_bundles_stay_served(settings, bundle):
    old = open_signer(settings).key_id
    (fake_bundle(settings.bundles_dir, profile="full").directory / SIGNATURE).unlink()
    done = change_key(settings)
    assert done.signed == [bundle.version] and len(done.left) == 1
    assert pinned_keys(settings).check(bundle.directory) == done.key_id != old
    assert list(pinned_keys(settings).all()) == [done.key_id, old]
    last = change_key(settings, drop_old=True)
    assert list(pinned_keys(settings).all()) == [last.key_id] and last.dropped == [done.key_id, old]
    assert pinned_keys(settings).check(bundle.directory) == last.key_id
    with pytest.raises(BundleError, match="is not pinned"):
        pinned_keys(settings).drop(old)


def test_a_key_of_the_sites_own_is_used_and_never_made(settings, tmp_path):
    own = settings.model_copy(update={"signing_key": tmp_path / "own.pem"})
    with pytest.raises(BundleError, match=r"own\.pem: No such file"):
        open_signer(own)
    Signer.make(tmp_path / "own.pem", PinnedKeys(tmp_path / "elsewhere"))
    assert open_signer(own).key_id in pinned_keys(own).all()
    (tmp_path / "own.pem").chmod(0o644)
    with pytest.raises(BundleError, match="chmod 600"):
        open_signer(own)


@pytest.mark.parametrize("content", [b"no key", None])
def test_a_file_that_is_no_signing_key_is_refused(tmp_path, content):
    path = tmp_path / "key.pem"
    rsa = generate_private_key(65537, 2048)
    path.write_bytes(content or rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(BundleError, match=r"holds no key in PEM|is no Ed25519 key"):
        Signer.read(path)


def test_a_service_refuses_a_strangers_bundle_and_says_why(settings, bundle, ontology):
    keeper = DeskKeeper(settings, load=lambda path: Diagnoser(load_bundle(path), rare=FakeRare(ontology)))
    assert keeper.open()
    fake_bundle(settings.bundles_dir, profile="full", sign=Signer(Ed25519PrivateKey.generate()).sign)
    assert not keeper.check() and keeper().diagnoser.bundle == bundle
    fresh = DeskKeeper(settings)
    assert not fresh.open()
    with pytest.raises(BundleError, match="is signed with key"):
        fresh()
