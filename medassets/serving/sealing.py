"""Encryption of what is kept, and pseudonyms of patients; both from one key that the site supplies.

What belongs here: AES-256-GCM over requests and answers. What does not: where they are kept (``store``), and
the keyed hash of patient identifiers (``ingest.pseudonyms``).

Each ciphertext names the key it was made with, so that a new key can come before the old one goes (``rotate``
in ``store``). The row's id is authenticated with it: a ciphertext copied to another row does not open.
Pseudonyms (``ingest.pseudonyms``) are made with a key derived from the oldest one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medassets.ingest import pseudonyms
from medassets.serving.store import StoreError

KEY_BYTES = pseudonyms.KEY_BYTES
_NONCE = 12
_MARK = b"MA1"


class SealError(StoreError):
    """A key is missing or wrong, or what is kept does not open with it."""


class Sealer:
    """Encrypts with the first key and decrypts with any.

    Args:
        keys: id (4 hex digits) to key, the current one first.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys.values()):
            raise SealError(f"a key has {KEY_BYTES} bytes, written as base64")
        self._ciphers = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._current = next(iter(self._ciphers))
        # The oldest key: pseudonyms must not change when the encryption key does.
        oldest = pseudonyms.oldest(keys)
        self._pseudonyms = pseudonyms.Pseudonymizer(oldest)
        self._digests = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"medassets digest").derive(oldest)

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """Ciphertext, bound to ``context``."""
        nonce = os.urandom(_NONCE)
        return _MARK + self._current + nonce + self._ciphers[self._current].encrypt(nonce, plain, context)

    @staticmethod
    def is_sealed(content: bytes) -> bool:
        """Whether it was sealed, by whatever key."""
        return content.startswith(_MARK)

    def keyed(self, purpose: str, content: bytes) -> bytes:
        """Digest that only who has the key can make (HMAC-SHA256); another one for each purpose."""
        # The parts are told apart by the purpose's length, so that no two pairs give the same bytes.
        return hmac.digest(self._digests, f"{len(purpose)} {purpose} ".encode() + content, "sha256")

    def decrypt(self, sealed: bytes, context: bytes) -> bytes:
        """Plain text; what was kept before there was a key is given as it is.

        Raises:
            SealError: the key is not here, or ciphertext or context was changed.
        """
        if not self.is_sealed(sealed):
            return sealed
        name, rest = sealed[3:7], sealed[7:]
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise SealError(
                f"kept under key {name.decode(errors='replace')}, which is not among the keys given"
            )
        try:
            return cipher.decrypt(rest[:_NONCE], rest[_NONCE:], context)
        except InvalidTag:
            raise SealError("an encrypted entry was changed or belongs to another row") from None

    def pseudonym(self, patient_id: str) -> str:
        """The same pseudonym for the same patient, and no way back without the key."""
        return self._pseudonyms.pseudonym(patient_id)


def keyed_digest(sealer: Sealer | None, purpose: str, content: bytes) -> bytes:
    """Digest of some content, keyed where the site has a key."""
    return (
        sealer.keyed(purpose, content)
        if sealer
        else hashlib.sha256(f"{purpose} ".encode() + content).digest()
    )


def new_key() -> str:
    """A line for the key file: id and key."""
    return f"{os.urandom(2).hex()}:{base64.b64encode(os.urandom(KEY_BYTES)).decode()}"


def read_keys(path: Path) -> dict[str, bytes]:
    """Read a key file: one ``id:base64`` a line, the current key first.

    Raises:
        SealError: the file cannot be read, others can read it, or a line is malformed. No key is in the
        message.
    """
    try:
        return pseudonyms.read_keys(path)
    except pseudonyms.KeyFileError as error:
        raise SealError(str(error)) from None
