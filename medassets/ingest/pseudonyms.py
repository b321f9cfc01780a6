"""Pseudonyms of patients: one keyed hash for what comes in by file, by server and by request.

What belongs here: the key file and the hash. What does not: sealing of stored answers (``serving.sealing``,
which uses the same key file), and finding identifiers (each reader). It lies below serving because
identifiers are replaced where data enter, before anything is stored.

Pseudonyms are HMAC-SHA256 under a key derived by HKDF (RFC 5869) from the oldest key of the file, so that
they outlive a new encryption key and say nothing of it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from medassets.knowledge.quarantine import SourceError
from medassets.settings import Settings

KEY_BYTES = 32
_PREFIX, _HEX_DIGITS = "ps_", 32


class KeyFileError(SourceError):
    """The key file is missing, readable by others or malformed; no key is in the message."""


class Pseudonymizer:
    """Gives the same pseudonym for the same identifier, and no way back without the key.

    Args:
        key: 32 bytes; the oldest of a key file (``oldest``).
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise KeyFileError(f"a key has {KEY_BYTES} bytes, written as base64")
        self._key = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"medassets pseudonym").derive(key)

    @classmethod
    def from_settings(cls, settings: Settings) -> Pseudonymizer:
        """Take the key of the installation.

        Raises:
            KeyFileError: no key file is configured, or it cannot be used.
        """
        if settings.key_file is None:
            raise KeyFileError(
                "patients' records need MEDASSETS_KEY_FILE, so that no identifier of theirs is stored: "
                "`medassets keys new-secret` writes one"
            )
        return cls(oldest(read_keys(settings.key_file)))

    def pseudonym(self, identifier: str) -> str:
        """Give the pseudonym of an identifier; blanks around it do not count."""
        digest = hmac.digest(self._key, identifier.strip().encode(), "sha256")
        return _PREFIX + digest.hex()[:_HEX_DIGITS]


def oldest(keys: Mapping[str, bytes]) -> bytes:
    """Give the key that pseudonyms are made with: the last of the file, which came first."""
    return list(keys.values())[-1]


def read_keys(path: Path) -> dict[str, bytes]:
    """Read a key file: one ``id:base64`` a line, the current key first.

    Raises:
        KeyFileError: the file cannot be read, others can read it, or a line is malformed.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others: chmod 600 it")
        lines = path.read_text(encoding="utf-8").split()
    except OSError as error:
        raise KeyFileError(f"key file {path}: {error.strerror}") from error
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, start=1):
        name, _, encoded = line.partition(":")
        try:
            keys[name] = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            raise KeyFileError(f"{path}, line {number}: not id:base64") from None
        if len(name) != 4 or len(keys[name]) != KEY_BYTES:
            raise KeyFileError(f"{path}, line {number}: an id of 4 letters and a key of {KEY_BYTES} bytes")
    if not keys:
        raise KeyFileError(f"{path} holds no key: `medassets keys new-secret` writes one")
    return keys
