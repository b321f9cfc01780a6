"""The prediction store: what was asked and answered, from which versions, and a chain that shows tampering.

What belongs here: appending and reading predictions, feedback and the audit chain. What does not: where they
lie (``databases``), what an answer means, and the walk to its sources (``provenance``).

An answer is written before it leaves: prediction and audit entry are one transaction, so a crash between the
two leaves neither, and the caller gets no answer. Each audit entry holds the SHA-256 of the entry before it
(as in a certificate log), so that a changed, removed or reordered entry breaks the chain at a place that
``verify`` names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from medassets.serving.databases import Execute, StoreError, open_database

_CHAINED = (
    "seq", "at", "actor", "action", "prediction_id", "bundle", "input_digest", "output_digest", "previous",
)  # fmt: skip
FEEDBACK = "feedback"
#: A person was erased: the entry stays, what it is about is gone.
ERASED = "erase"
#: Tables with sealed columns: name, key, columns.
_SEALED = (
    ("predictions", "prediction_id", ("request", "answer")),
    ("feedback", "feedback_id", ("comment",)),
)
#: Rows sealed anew in one transaction, which writers wait for.
_ROTATED_AT_ONCE = 200
#: What the first entry points back to.
GENESIS = "0" * 64


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

    @property
    def in_shadow(self) -> bool:
        """Whether a challenger answered in nobody's sight (``challenge``)."""
        return bool(self.answer.get("versions", {}).get("arm") == "shadow")


class PredictionStore:
    """Predictions, feedback and the audit chain of one installation; safe for threads and processes.

    Args:
        place: SQLite file, made with its folder if it does not exist; or address of a PostgreSQL database.
        cipher: encrypts requests, answers and comments.

    Raises:
        StoreError: the file cannot be opened, or the address cannot be read.
    """

    def __init__(self, place: Path | str, cipher: Cipher | None = None) -> None:
        self._cipher = cipher or Plain()
        self.database = open_database(place)

    def close(self) -> None:
        """Close the file, or the connections."""
        self.database.close()

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

        def write(execute: Execute) -> None:
            execute("INSERT INTO predictions VALUES (?, ?, ?, ?, ?, ?)", *row)
            entry = (
                record.at,
                actor,
                action,
                record.prediction_id,
                record.bundle,
                _sha(request),
                _sha(answer),
            )
            _chain(execute, entry)

        self.database.transaction(write)

    def get(self, prediction_id: str) -> Record:
        """The prediction with this id.

        Raises:
            NoPredictionError: there is none.
        """
        rows = self.database.read("SELECT * FROM predictions WHERE prediction_id = ?", prediction_id)
        if not rows:
            raise NoPredictionError(f"no prediction {prediction_id!r}")
        return self._record(rows[0])

    def records(self, since: str = "", *, shadow: bool = False) -> Iterator[Record]:
        """Predictions made at or after ``since`` (ISO 8601), oldest first.

        Args:
            since: ISO 8601.
            shadow: those that a challenger made in nobody's sight, instead of those that were given.
        """
        rows = self.database.read("SELECT * FROM predictions WHERE at >= ? ORDER BY at, prediction_id", since)
        return (record for record in map(self._record, rows) if record.in_shadow == shadow)

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

        def write(execute: Execute) -> int:
            made = execute(
                "INSERT INTO feedback (prediction_id, at, verdict, diagnosis, comment) VALUES (?, ?, ?, ?, ?)"
                " RETURNING feedback_id",
                prediction_id, at, verdict, diagnosis, sealed,
            )  # fmt: skip
            _chain(execute, (at, actor, FEEDBACK, prediction_id, bundle, _sha(content), _sha(b"")))
            return int(made[0][0])

        return self.database.transaction(write)

    def feedback(self, since: str = "") -> list[dict[str, Any]]:
        """Feedback given at or after ``since``, oldest first."""
        names = ("feedback_id", "prediction_id", "at", "verdict", "diagnosis", "comment")
        rows = self.database.read(
            f"SELECT {', '.join(names)} FROM feedback WHERE at >= ? ORDER BY feedback_id", since
        )
        found = [dict(zip(names, row, strict=True)) for row in rows]
        for row in found:
            row["comment"] = self._cipher.decrypt(row["comment"], row["prediction_id"].encode()).decode()
        return found

    def of_patient(self, pseudonym: str) -> list[str]:
        """Ids of the predictions about one person, oldest first; every request is opened to find them."""
        rows = self.database.read("SELECT * FROM predictions ORDER BY at, prediction_id")
        found = (record for record in map(self._record, rows))
        return [r.prediction_id for r in found if r.request.get("patient_id") == pseudonym]

    def erase(self, predictions: Sequence[str], *, actor: str) -> int:
        """Remove predictions with their feedback, and note in the audit log that they were erased.

        The log keeps who asked and when, and digests that a keyed pseudonym went into; it still verifies.

        Returns:
            Verdicts that went with them.
        """

        def write(execute: Execute) -> int:
            verdicts = 0
            for prediction_id in predictions:
                removed = execute(
                    "DELETE FROM feedback WHERE prediction_id = ? RETURNING feedback_id", prediction_id
                )
                [(bundle,)] = execute(
                    "DELETE FROM predictions WHERE prediction_id = ? RETURNING bundle", prediction_id
                )
                _chain(execute, (now(), actor, ERASED, prediction_id, bundle, _sha(b""), _sha(b"")))
                verdicts += len(removed)
            return verdicts

        return self.database.transaction(write)

    def actors(self, since: str = "") -> dict[str, str]:
        """Who asked for each prediction made at or after ``since``: prediction id to the key's name."""
        rows = self.database.read(
            "SELECT prediction_id, actor FROM audit WHERE at >= ? AND action NOT IN (?, ?)",
            since, FEEDBACK, ERASED,
        )  # fmt: skip
        return {prediction_id: actor for prediction_id, actor in rows}

    def rotate(self) -> int:
        """Seal everything anew with the cipher's current key; the audit chain, over plain content, stays.

        In batches, so that answers go on being written; where it is cut off, both keys are still needed, and
        a second call finishes it.

        Returns:
            The number of predictions.
        """
        predictions, _ = (self._rotate_table(*table) for table in _SEALED)
        return predictions

    def _rotate_table(self, table: str, key: str, columns: tuple[str, ...]) -> int:
        names = ", ".join((key, "prediction_id", *columns))
        assignments = ", ".join(f"{column} = ?" for column in columns)

        def batch(execute: Execute, after: tuple[Any, ...]) -> list[Any]:
            where = f"WHERE {key} > ?" if after else ""
            rows = execute(
                f"SELECT {names} FROM {table} {where} ORDER BY {key} LIMIT {_ROTATED_AT_ONCE}", *after
            )
            for row_id, prediction_id, *values in rows:
                context = prediction_id.encode()
                sealed = [self._cipher.encrypt(self._cipher.decrypt(v, context), context) for v in values]
                execute(f"UPDATE {table} SET {assignments} WHERE {key} = ?", *sealed, row_id)
            return [row[0] for row in rows]

        count = 0
        last: tuple[Any, ...] = ()
        while done := self.database.transaction(partial(batch, after=last)):
            count, last = count + len(done), (done[-1],)
        return count

    def verify(self) -> int:
        """Walk the audit chain from its beginning and compare it with the predictions kept.

        Returns:
            The number of entries.

        Raises:
            AuditError: naming the first entry that was changed, removed, added or reordered.
        """
        columns = ", ".join([f"a.{name}" for name in (*_CHAINED, "digest")] + ["p.request", "p.answer"])
        previous, number = GENESIS, 0
        with self.database.snapshot() as read:
            rows = read("SELECT prediction_id FROM audit WHERE action = ?", ERASED)
            erased = {prediction_id for (prediction_id,) in rows}
            rows = read(
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
                gone = entry["prediction_id"] in erased and request is None
                if entry["action"] not in (FEEDBACK, ERASED) and not gone:
                    self._compare(number, entry, request, answer)
                previous = digest
            orphans = read(
                "SELECT prediction_id FROM predictions WHERE prediction_id NOT IN"
                " (SELECT prediction_id FROM audit WHERE action NOT IN (?, ?))",
                FEEDBACK, ERASED,
            )  # fmt: skip
            for (orphan,) in orphans:
                raise AuditError(f"prediction {orphan} has no audit entry")
        return number

    def head(self) -> tuple[int, str]:
        """Number and digest of the last audit entry: kept elsewhere, it shows a cut-off end too."""
        return _head(self.database.read)

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


def _head(execute: Execute) -> tuple[int, str]:
    last = execute("SELECT seq, digest FROM audit ORDER BY seq DESC LIMIT 1")
    return (last[0][0], last[0][1]) if last else (0, GENESIS)


def _chain(execute: Execute, entry: tuple[str, ...]) -> None:
    number, previous = _head(execute)
    values = (number + 1, *entry, previous)
    execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *values, _entry_digest(values))
