"""Dead letters of a stream whose broker has no topic for them: documents, sealed where there is a key.

What belongs here: what is kept of a message that is no event, so that it can be corrected and sent again.
What does not: the store (``stores.documents``) and the quarantine table, which holds the reason without the
payload.
"""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Protocol

from medassets.ingest.streams.pipeline import Rejected
from medassets.stores.documents import Documents

COLLECTION = "dead_letters"


class Cipher(Protocol):
    """Encrypts what is kept; ``context`` binds a ciphertext to its place."""

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """Ciphertext of ``plain``."""


class DocumentLetters:
    """Keeps dead letters as documents.

    Args:
        store: where.
        cipher: seals payloads; without it they are kept as they came.
    """

    def __init__(self, store: Documents, cipher: Cipher | None = None) -> None:
        self._store, self._cipher = store, cipher

    def send(self, rejected: Rejected) -> None:
        """Keep messages under their log and offset; told twice, they are there once."""
        for message, error in rejected:
            key = f"{message.log}/{message.offset}"
            payload = message.payload
            if self._cipher is not None:
                payload = self._cipher.encrypt(payload, key.encode())
            document = {
                "payload": base64.b64encode(payload).decode(),
                "sealed": self._cipher is not None,
                "received_us": message.received_us,
                "field": error.field,
                "reason": error.reason,
                "allowed": error.allowed,
            }
            self._store.put(COLLECTION, key, document)


def letters_before(store: Documents, moment: datetime) -> list[str]:
    """Keys of the dead letters that were received before a moment, sorted."""
    before = moment.timestamp() * 1e6
    return [key for key, letter in store.all(COLLECTION) if letter["received_us"] < before]
