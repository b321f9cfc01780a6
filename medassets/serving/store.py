"""The prediction store: what was asked and answered, from which versions, and a chain that shows tampering.

What belongs here: appending and reading predictions, feedback and the audit chain in SQLite. What does not:
what an answer means, and the walk to its sources (``provenance``).

An answer is written before it leaves: prediction and audit entry are one transaction, so a crash between the
two leaves neither, and the caller gets no answer. Each audit entry holds the SHA-256 of the entry before it
(as in a certificate log), so that a changed, removed or reordered entry breaks the chain at a place that
``verify`` names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
    prediction_id TEXT PRIMARY KEY, at TEXT NOT NULL, bundle TEXT NOT NULL, bento TEXT NOT NULL,
    request BLOB NOT NULL, answer BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS feedback (
    feedback_id INTEGER PRIMARY KEY AUTOINCREMENT, prediction_id TEXT NOT NULL REFERENCES predictions,
    at TEXT NOT NULL, verdict TEXT NOT NULL, diagnosis TEXT NOT NULL, comment BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    prediction_id TEXT NOT NULL, bundle TEXT NOT NULL,
    input_digest TEXT NOT NULL, output_digest TEXT NOT NULL, previous TEXT NOT NULL, digest TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS predictions_at ON predictions (at);
CREATE INDEX IF NOT EXISTS feedback_prediction ON feedback (prediction_id);
"""
_CHAINED = (
    "seq", "at", "actor", "action", "prediction_id", "bundle", "input_digest", "output_digest", "previous",
)  # fmt: skip
FEEDBACK = "feedback"
#: Tables with sealed columns: name, key, columns.
_SEALED = (
    ("predictions", "prediction_id", ("request", "answer")),
    ("feedback", "feedback_id", ("comment",)),
)
#: What the first entry points back to.
GENESIS = "0" * 64
#: Seconds that a writer waits for another process's transaction.
BUSY_TIMEOUT = 10.0


class StoreError(Exception):
    """The store cannot be read or written, or does not hold what was asked for."""


class NoPredictionError(StoreError):
    """There is no prediction of this id."""


class AuditError(StoreError):
    """The audit chain is broken; the message names the entry."""


class Cipher(Protocol):
    """Encrypts what is kept; ``context`` binds a ciphertext to its row."""

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """Ciphertext of ``plain``."""

    def decrypt(self, sealed: bytes, context: bytes) -> bytes:
        """Plain text; raises where ciphertext or context was changed."""


class Plain:
    """No encryption."""

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """``plain`` itself."""
        return plain

    def decrypt(self, sealed: bytes, context: bytes) -> bytes:
        """``sealed`` itself."""
        return sealed


@dataclass(frozen=True)
class Record:
    """A prediction as kept."""

    prediction_id: str
    at: str
    bundle: str
    bento: str
    request: dict[str, Any]
    answer: dict[str, Any]


class PredictionStore:
    """Predictions, feedback and the audit chain of one installation; safe for threads and processes.

    Args:
        path: SQLite file; made with its folder if it does not exist.
        cipher: encrypts requests, answers and comments.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, path: Path, cipher: Cipher | None = None) -> None:
        self.path = path
        self._cipher = cipher or Plain()
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT, check_same_thread=False, isolation_level=None
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            # FULL: a commit is on the disk before the answer leaves, also if the power fails.
            self._connection.execute("PRAGMA synchronous=FULL")
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"prediction store {path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def append(self, record: Record, *, actor: str = "anonymous", action: str = "diagnose") -> None:
        """Keep a prediction and its audit entry, both or neither.

        Raises:
            StoreError: it could not be written (the answer must then not leave), or the id is taken.
        """
        context = record.prediction_id.encode()
        request, answer = canonical(record.request), canonical(record.answer)
        row = (
            record.prediction_id, record.at, record.bundle, record.bento,
            self._cipher.encrypt(request, context), self._cipher.encrypt(answer, context),
        )  # fmt: skip

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?)", row)
            entry = (
                record.at,
                actor,
                action,
                record.prediction_id,
                record.bundle,
                _sha(request),
                _sha(answer),
            )
            _chain(connection, entry)

        self._transaction(write)

    def get(self, prediction_id: str) -> Record:
        """The prediction with this id.

        Raises:
            NoPredictionError: there is none.
        """
        row = self._one("SELECT * FROM predictions WHERE prediction_id = ?", prediction_id)
        if row is None:
            raise NoPredictionError(f"no prediction {prediction_id!r}")
        return self._record(row)

    def records(self, since: str = "") -> Iterator[Record]:
        """Predictions made at or after ``since`` (ISO 8601), oldest first."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT * FROM predictions WHERE at >= ? ORDER BY at, prediction_id", (since,)
            ).fetchall()
        return (self._record(row) for row in rows)

    def add_feedback(
        self, prediction_id: str, verdict: str, diagnosis: str, comment: str = "", *, actor: str = "anonymous"
    ) -> int:
        """Keep a clinician's verdict on a prediction.

        Returns:
            The number of the feedback.

        Raises:
            NoPredictionError: no such prediction.
        """
        bundle = self.get(prediction_id).bundle
        at = now()
        sealed = self._cipher.encrypt(comment.encode(), prediction_id.encode())
        content = canonical({"verdict": verdict, "diagnosis": diagnosis, "comment": comment})

        def write(connection: sqlite3.Connection) -> int:
            cursor = connection.execute(
                "INSERT INTO feedback VALUES (NULL, ?, ?, ?, ?, ?)",
                (prediction_id, at, verdict, diagnosis, sealed),
            )
            _chain(connection, (at, actor, FEEDBACK, prediction_id, bundle, _sha(content), _sha(b"")))
            return int(cursor.lastrowid or 0)

        return self._transaction(write)

    def feedback(self, since: str = "") -> list[dict[str, Any]]:
        """Feedback given at or after ``since``, oldest first."""
        names = ("feedback_id", "prediction_id", "at", "verdict", "diagnosis", "comment")
        with self._lock:
            rows = self._connection.execute(
                f"SELECT {', '.join(names)} FROM feedback WHERE at >= ? ORDER BY feedback_id", (since,)
            ).fetchall()
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for row in found:
            row["comment"] = self._cipher.decrypt(row["comment"], row["prediction_id"].encode()).decode()
        return found

    def actors(self, since: str = "") -> dict[str, str]:
        """Who asked for each prediction made at or after ``since``: prediction id to the key's name."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT prediction_id, actor FROM audit WHERE at >= ? AND action != ?", (since, FEEDBACK)
            ).fetchall()
        return dict(rows)

    def rotate(self) -> int:
        """Seal everything anew with the cipher's current key; the audit chain, over plain content, stays.

        Returns:
            The number of predictions.
        """

        def write(connection: sqlite3.Connection) -> int:
            counts = []
            for table, key, columns in _SEALED:
                names = ", ".join((key, "prediction_id", *columns))
                rows = connection.execute(f"SELECT {names} FROM {table}").fetchall()
                counts.append(len(rows))
                for row_id, prediction_id, *values in rows:
                    context = prediction_id.encode()
                    sealed = [self._cipher.encrypt(self._cipher.decrypt(v, context), context) for v in values]
                    assignments = ", ".join(f"{column} = ?" for column in columns)
                    connection.execute(f"UPDATE {table} SET {assignments} WHERE {key} = ?", (*sealed, row_id))
            return counts[0]

        return self._transaction(write)

    def verify(self) -> int:
        """Walk the audit chain from its beginning and compare it with the predictions kept.

        Returns:
            The number of entries.

        Raises:
            AuditError: naming the first entry that was changed, removed, added or reordered.
        """
        columns = ", ".join([f"a.{name}" for name in (*_CHAINED, "digest")] + ["p.request", "p.answer"])
        previous, number = GENESIS, 0
        # A connection of its own: answers go on being written while a long chain is walked.
        with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT)) as connection:
            connection.execute("BEGIN")
            rows = connection.execute(
                f"SELECT {columns} FROM audit a LEFT JOIN predictions p USING (prediction_id) ORDER BY a.seq"
            )
            for number, (*values, digest, request, answer) in enumerate(rows, start=1):
                entry = dict(zip(_CHAINED, values, strict=True))
                if entry["seq"] != number:
                    raise AuditError(f"audit entry {number} is missing: the next one is {entry['seq']}")
                if entry["previous"] != previous:
                    raise AuditError(f"audit entry {number} does not follow entry {number - 1}")
                if digest != _entry_digest(values):
                    raise AuditError(f"audit entry {number} was changed")
                if entry["action"] != FEEDBACK:
                    self._compare(number, entry, request, answer)
                previous = digest
            orphan = connection.execute(
                "SELECT prediction_id FROM predictions WHERE prediction_id NOT IN"
                " (SELECT prediction_id FROM audit WHERE action != ?)",
                (FEEDBACK,),
            ).fetchone()
        if orphan:
            raise AuditError(f"prediction {orphan[0]} has no audit entry")
        return number

    def head(self) -> tuple[int, str]:
        """Number and digest of the last audit entry: kept elsewhere, it shows a cut-off end too."""
        row = self._one("SELECT seq, digest FROM audit ORDER BY seq DESC LIMIT 1")
        return (0, GENESIS) if row is None else (row[0], row[1])

    def _compare(
        self, number: int, entry: dict[str, Any], request: bytes | None, answer: bytes | None
    ) -> None:
        prediction_id = entry["prediction_id"]
        if request is None or answer is None:
            raise AuditError(f"audit entry {number}: prediction {prediction_id} was removed")
        for name, sealed in (("input", request), ("output", answer)):
            if _sha(self._cipher.decrypt(_bytes(sealed), prediction_id.encode())) != entry[f"{name}_digest"]:
                raise AuditError(f"audit entry {number}: the {name} of {prediction_id} was changed")

    def _record(self, row: tuple[Any, ...]) -> Record:
        prediction_id, at, bundle, bento, request, answer = row
        context = prediction_id.encode()
        asked, answered = (json.loads(self._cipher.decrypt(sealed, context)) for sealed in (request, answer))
        return Record(prediction_id, at, bundle, bento, asked, answered)

    def _one(self, query: str, *values: str) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return row

    def _transaction(self, write: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                # IMMEDIATE: the chain's last entry is read under the write lock, so two processes cannot fork
                # it.
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    result = write(self._connection)
                    self._connection.execute("COMMIT")
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise StoreError(f"prediction store {self.path}: {error}") from error
        return result


def now() -> str:
    """The present instant, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def canonical(value: Any) -> bytes:
    """JSON bytes that depend on the content only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bytes(value: bytes | str) -> bytes:
    """SQLite hands a blob back as text where someone wrote text over it."""
    return value.encode() if isinstance(value, str) else value


def _entry_digest(values: list[Any] | tuple[Any, ...]) -> str:
    return _sha(canonical(list(values)))


def _chain(connection: sqlite3.Connection, entry: tuple[str, ...]) -> None:
    last = connection.execute("SELECT seq, digest FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    number, previous = (1, GENESIS) if last is None else (last[0] + 1, last[1])
    values = (number, *entry, previous)
    connection.execute(
        "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, _entry_digest(values))
    )
