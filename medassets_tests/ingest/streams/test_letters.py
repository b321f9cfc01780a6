"""A dead letter can be opened with the key, corrected and sent again; without the key it tells nothing."""

import base64

from medassets.ingest.streams.events import EventError
from medassets.ingest.streams.letters import COLLECTION, DocumentLetters
from medassets.serving.sealing import Sealer
from medassets.stores.documents import SqliteDocuments
from medassets_tests.ingest.streams.samples import message

ERROR = EventError("patient", None, "is no pseudonym", "ps_ and hexadecimal digits")


def test_a_letter_is_sealed_and_kept_once(tmp_path):
    store, sealer = SqliteDocuments(tmp_path / "d.db"), Sealer({"ab12": b"k" * 32})
    letters = DocumentLetters(store, sealer)
    for _ in range(2):
        letters.send([(message(7, b'{"patient": "Maria"}'), ERROR)])
    [(key, letter)] = store.all(COLLECTION)
    assert (key, letter["field"], letter["sealed"]) == ("kafka/t/0/7", "patient", True)
    payload = base64.b64decode(letter["payload"])
    assert b"Maria" not in payload
    assert sealer.decrypt(payload, key.encode()) == b'{"patient": "Maria"}'


def test_without_a_key_it_is_kept_as_it_came(tmp_path):
    store = SqliteDocuments(tmp_path / "d.db")
    DocumentLetters(store).send([(message(7, b"{x"), ERROR)])
    letter = store.get(COLLECTION, "kafka/t/0/7")
    assert base64.b64decode(letter["payload"]) == b"{x"
    assert not letter["sealed"]
