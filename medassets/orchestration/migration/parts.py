"""One part of an installation on its way: counted and digested on both sides.

What belongs here: the order of comparing, refusing, copying and comparing again. What does not: how a part is
read and copied (the modules beside this one).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Room of the sums of digests.
_MODULUS = 1 << 256


class MigrationError(RuntimeError):
    """A part cannot be moved; the message says which and why. The source is never changed."""


@dataclass(frozen=True)
class Summary:
    """What one side holds.

    Attributes:
        counts: rows or files by name.
        digest: of the content, whatever its order.
    """

    counts: dict[str, int]
    digest: str

    @property
    def empty(self) -> bool:
        """Whether there is nothing."""
        return not any(self.counts.values())


@dataclass(frozen=True)
class Part:
    """One part to move.

    Attributes:
        name: for the person who waits.
        source: summarizes what is to be moved.
        target: summarizes what is there.
        copy: copies all, or what is still missing.
        resumable: says that what the target holds is a beginning of the same, which ``copy`` continues.
    """

    name: str
    source: Callable[[], Summary]
    target: Callable[[], Summary]
    copy: Callable[[], None]
    resumable: Callable[[], bool] = field(default=lambda: False)


@dataclass(frozen=True)
class Moved:
    """What became of a part: its counts, its digest, and whether it had to be copied."""

    name: str
    counts: dict[str, int]
    digest: str
    copied: bool


def move(part: Part) -> Moved:
    """Copy a part unless it is there, and compare both sides afterwards.

    Raises:
        MigrationError: the target holds something else, the source changed meanwhile, or something was lost.
    """
    wanted, found = part.source(), part.target()
    if found == wanted:
        return Moved(part.name, wanted.counts, wanted.digest, copied=False)
    if not found.empty and not part.resumable():
        raise MigrationError(
            f"{part.name}: the target is not empty ({_shown(found)}) and is not what is to be moved"
        )
    part.copy()
    if part.source() != wanted:
        raise MigrationError(f"{part.name}: the source changed meanwhile: stop what writes to it")
    found = part.target()
    if found != wanted:
        raise MigrationError(
            f"{part.name}: after copying the target holds {_shown(found)}, not {_shown(wanted)}"
        )
    return Moved(part.name, wanted.counts, wanted.digest, copied=True)


class RowDigest:
    """Digest of rows whatever their order: the sum of the SHA-256 of each."""

    def __init__(self) -> None:
        self._sum = 0
        self.count = 0

    def add(self, name: str, rows: Iterable[Sequence[Any]]) -> int:
        """Take rows of a table in; give how many they were."""
        before = self.count
        for row in rows:
            text = json.dumps([name, *map(_plain, row)], ensure_ascii=True)
            self._sum = (self._sum + int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")) % _MODULUS
            self.count += 1
        return self.count - before

    def hexdigest(self) -> str:
        """The digest so far."""
        return f"{self._sum:064x}"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {"bytes": bytes(value).hex()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _shown(summary: Summary) -> str:
    return ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count) or "nothing"
