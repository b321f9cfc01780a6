"""A numbered log on disk for messages of a broker that has no offsets.

What belongs here: keeping messages until they are in the lake, and recognizing one that the broker sends
again (by the digest of its bytes). What does not: MQTT (``mqtt``), and an event that its sender repeats
(``window``). A message is acknowledged after it is on the disk, so a crash at any point leaves it with the
broker, here, or both.
"""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path

from medassets.ingest.streams.events import Message

#: Keys of delivered messages that are remembered, to recognize one that the broker sends again.
KEYS_KEPT = 200_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL UNIQUE, received_us INTEGER NOT NULL, payload BLOB
);
CREATE INDEX IF NOT EXISTS waiting ON messages (number) WHERE payload IS NOT NULL;
CREATE TABLE IF NOT EXISTS spool (name TEXT PRIMARY KEY);
"""


class Spool:
    """A spool in one SQLite file.

    Args:
        path: the file; made with its folder.
        keys_kept: delivered messages whose keys are remembered.
    """

    def __init__(self, path: Path, keys_kept: int = KEYS_KEPT) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._keys_kept = keys_kept
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # FULL: what is acknowledged to the broker survives a power cut.
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)
        # A name of its own: numbers of a spool that was made anew do not continue those of the one before.
        self._connection.execute(
            "INSERT INTO spool SELECT ? WHERE NOT EXISTS (SELECT 1 FROM spool)",
            (f"mqtt/{uuid.uuid4().hex[:12]}",),
        )
        self.name: str = self._connection.execute("SELECT name FROM spool").fetchone()[0]

    def put(self, messages: Sequence[tuple[bytes, int]]) -> int:
        """Keep payloads with the microsecond they came at; on the disk when this returns.

        Returns:
            Those that were not here yet.
        """
        before = self._connection.total_changes
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT OR IGNORE INTO messages (key, received_us, payload) VALUES (?, ?, ?)",
            [
                (hashlib.blake2b(payload, digest_size=16).digest(), received, payload)
                for payload, received in messages
            ],
        )
        self._connection.execute("COMMIT")
        return self._connection.total_changes - before

    def after(self, number: int, most: int) -> list[Message]:
        """Give up to ``most`` messages from number ``number`` on, oldest first."""
        rows = self._connection.execute(
            "SELECT number, payload, received_us FROM messages"
            " WHERE number >= ? AND payload IS NOT NULL ORDER BY number LIMIT ?",
            (number, most),
        )
        return [Message(self.name, row[0], row[1], row[2]) for row in rows]

    def waiting(self) -> int:
        """Give the span of numbers that are not in the lake yet: at least as many as messages wait."""
        first, last = self._connection.execute(
            "SELECT min(number), max(number) FROM messages WHERE payload IS NOT NULL"
        ).fetchone()
        return 0 if first is None else last - first + 1

    def release(self, end: int) -> None:
        """Let go of the payloads below ``end``, which are in the lake; the newest keys stay."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(
            "UPDATE messages SET payload = NULL WHERE number < ? AND payload IS NOT NULL", (end,)
        )
        self._connection.execute("DELETE FROM messages WHERE number < ?", (end - self._keys_kept,))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
