"""Who made a bundle: an Ed25519 signature over its manifest, checked against public keys that a site pinned.

What belongs here: the signing key, the pinned public keys, signing and checking. What does not: the sums of
the files, which the manifest holds and ``bundle`` compares; a signature over the manifest covers every file.

Algorithm: Ed25519 (RFC 8032). The signature lies beside the manifest in ``manifest.sig``; the keys that count
lie outside of every bundle, one a line: ``id base64``. A service pins the maker's key, so that who can write
into the folder of bundles still cannot make it serve another. While a key is changed both are pinned.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from medassets.serving.bundle import MANIFEST, SIGNATURE, BundleError, load_bundle, sign_bundle
from medassets.serving.files import PRIVATE, replace_file
from medassets.settings import Settings

ALGORITHM = "Ed25519"
_ID_LETTERS = 16


class Signer:
    """Signs with a private key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key()
        self.key_id = key_id(self.public)

    @classmethod
    def read(cls, path: Path) -> Signer:
        """The key in a PEM file (PKCS #8).

        Raises:
            BundleError: it cannot be read, others can read it, or it holds no Ed25519 key.
        """
        try:
            if path.stat().st_mode & 0o077:
                raise BundleError(f"signing key {path} can be read by others: chmod 600 it")
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise BundleError(f"signing key {path}: {error.strerror}") from error
        except (ValueError, TypeError):
            raise BundleError(f"signing key {path} holds no key in PEM without a password") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise BundleError(f"signing key {path} is no {ALGORITHM} key")
        return cls(key)

    @classmethod
    def make(cls, path: Path, pinned: PinnedKeys) -> Signer:
        """Make and pin a key, and keep it in a file that only its owner can read, in place of one there."""
        key = Ed25519PrivateKey.generate()
        pinned.pin(key.public_key())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        replace_file(path, pem, PRIVATE)
        return cls(key)

    def sign(self, manifest: bytes) -> bytes:
        """Content of the signature's file."""
        signature = base64.b64encode(self._key.sign(manifest)).decode()
        content = {"algorithm": ALGORITHM, "key": self.key_id, "signature": signature}
        return (json.dumps(content, indent=1) + "\n").encode()


class PinnedKeys:
    """The public keys whose bundles are served, in a file that the site looks after."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> dict[str, Ed25519PublicKey]:
        """Id to key, the newest first.

        Raises:
            BundleError: there is no such file, or a line is malformed.
        """
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            raise BundleError(
                f"no public key is pinned in {self.path}, so no bundle can be trusted: `medassets run` pins "
                "its own, MEDASSETS_BUNDLE_KEYS names a file"
            ) from None
        except OSError as error:
            raise BundleError(f"public keys {self.path}: {error.strerror}") from error
        keys = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.startswith("#"):
                continue
            name, _, encoded = line.strip().partition(" ")
            try:
                keys[name] = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                raise BundleError(f"{self.path}, line {number}: not an id and an {ALGORITHM} key") from None
            if name != key_id(keys[name]):
                raise BundleError(f"{self.path}, line {number}: {name} is not the id of this key")
        return keys

    def pin(self, key: Ed25519PublicKey) -> None:
        """Trust this key too."""
        known = self.all() if self.path.exists() else {}
        self._write({key_id(key): key} | known)

    def drop(self, name: str) -> None:
        """Trust this key no more.

        Raises:
            BundleError: it is not pinned.
        """
        known = self.all()
        if name not in known:
            raise BundleError(f"key {name} is not pinned in {self.path}")
        self._write({other: key for other, key in known.items() if other != name})

    def check(self, directory: Path) -> str:
        """Check who signed a bundle's manifest.

        Returns:
            The id of the key.

        Raises:
            BundleError: it is not signed, the key is not pinned, or the signature is not of this manifest.
        """
        keys = self.all()
        name, signature = _signature(directory)
        key = keys.get(name)
        if key is None:
            raise BundleError(
                f"bundle {directory} is signed with key {name}, which {self.path} does not hold"
            )
        try:
            key.verify(signature, (directory / MANIFEST).read_bytes())
        except InvalidSignature:
            raise BundleError(
                f"bundle {directory}: the signature is not of this manifest: one of the two was changed"
            ) from None
        except OSError as error:
            raise BundleError(f"bundle {directory}: {MANIFEST}: {error.strerror}") from error
        return name

    def _write(self, keys: dict[str, Ed25519PublicKey]) -> None:
        lines = [
            f"{name} {base64.b64encode(key.public_bytes_raw()).decode()}\n" for name, key in keys.items()
        ]
        replace_file(self.path, "".join(lines).encode())


def key_id(key: Ed25519PublicKey) -> str:
    """A key's name: the beginning of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:_ID_LETTERS]


def open_signer(settings: Settings) -> Signer:
    """The key that signs this installation's bundles; its own is made, and pinned, where it has none yet.

    Raises:
        BundleError: the key that the settings name cannot be used.
    """
    file, pinned = settings.signing_key_file, pinned_keys(settings)
    # A key that the site names is the site's to make: a typing error must not make another.
    if not settings.signing_key and not file.exists():
        return Signer.make(file, pinned)
    signer = Signer.read(file)
    if not settings.bundle_keys and not pinned.path.exists():
        pinned.pin(signer.public)
    return signer


@dataclass(frozen=True)
class KeyChange:
    """What became of a change of keys.

    Attributes:
        key_id: of the new key.
        signed: versions signed anew.
        left: versions that were not, and why.
        dropped: ids of keys that are trusted no more.
    """

    key_id: str
    signed: list[str]
    left: dict[str, str]
    dropped: list[str]


def change_key(settings: Settings, *, drop_old: bool = False) -> KeyChange:
    """Make a new signing key, trust it, and sign anew what the old keys vouch for.

    The new key is pinned first: wherever this is cut off, the key of each signature is among those pinned.

    Raises:
        BundleError: the public keys cannot be read.
    """
    pinned = pinned_keys(settings)
    old = list(pinned.all())
    signer = Signer.make(settings.signing_key_file, pinned)
    signed, left = [], {}
    for path in sorted(settings.bundles_dir.glob(f"[!.]*/{MANIFEST}")):
        directory = path.parent
        try:
            load_bundle(directory)
            pinned.check(directory)
        except BundleError as error:
            left[directory.name] = str(error)
        else:
            sign_bundle(directory, signer.sign)
            signed.append(directory.name)
    for name in old if drop_old else ():
        pinned.drop(name)
    return KeyChange(signer.key_id, signed, left, old if drop_old else [])


def pinned_keys(settings: Settings) -> PinnedKeys:
    """The public keys that this installation trusts."""
    return PinnedKeys(settings.bundle_keys_file)


def _signature(directory: Path) -> tuple[str, bytes]:
    path = directory / SIGNATURE
    try:
        content = json.loads(path.read_bytes())
        if content["algorithm"] != ALGORITHM:
            raise BundleError(f"{path} is not an {ALGORITHM} signature")
        return str(content["key"]), base64.b64decode(content["signature"], validate=True)
    except FileNotFoundError:
        raise BundleError(
            f"bundle {directory} is not signed: `medassets bundle sign` signs what was made here"
        ) from None
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError):
        raise BundleError(f"{path} is no signature") from None
