"""Drop folders: what arrives is put under its day, read, and moved to ``done/`` or ``failed/``.

What belongs here: moving files, naming them without their names, and the report beside a file. What does
not: reading the files (one module a format) and when (sensors).

Layout of an inbox::

    <inbox>/file                    dropped by the sender (written under .part, then renamed, or just copied)
    <inbox>/arrived/<day>/file      staged: belongs to the day on which it was seen first (UTC)
    <inbox>/done/<day>/file         read; file.errors.json beside it where some of it was rejected
    <inbox>/failed/<day>/file       nothing of it could be used; file.errors.json says why

Every step is a rename inside one file system. A day is read again from all three folders, so that a run that
dies at any place is simply repeated. The files hold identifiers: only the owner may enter these folders, and
retention may remove them; a day whose files are gone is not read again, its tables would come out empty.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from medassets.knowledge.quarantine import QuarantineRow

ARRIVED, DONE, FAILED = "arrived", "done", "failed"
#: Ending of the report beside a file.
ERRORS = ".errors.json"
#: Files that are still being written.
_UNFINISHED = (".part", ".tmp", ".partial", ".filepart", ERRORS)
#: Seconds that a file must have been left alone before it is taken.
SETTLED = 2.0
_LABEL_DIGITS = 12
#: Stands in a day's folder under ``done/`` once the day's files were removed.
_REMOVED = ".removed"


class DayRemovedError(RuntimeError):
    """The files of a day were removed: reading it again would empty its tables."""


@dataclass(frozen=True)
class Delivery:
    """One file as it was dropped.

    Attributes:
        path: where it lies now.
        label: what the lake calls it: start of its SHA-256 and its ending, because names may name people.
    """

    path: Path
    label: str

    @classmethod
    def of(cls, path: Path) -> Delivery:
        """Take a file up by its content."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(path, digest[:_LABEL_DIGITS] + "".join(path.suffixes[-2:]).lower()[-12:])


class Inbox:
    """A drop folder.

    Args:
        root: the folder; made where it does not exist.
        endings: endings of the files that it takes, others are left lying.
    """

    def __init__(self, root: Path, endings: Sequence[str]) -> None:
        self.root = root
        self.endings = tuple(endings)

    def stage(self, day: date, now: float | None = None) -> list[Path]:
        """Put settled new files under a day and return where they lie now, sorted by name."""
        if not self.root.is_dir():
            return []
        before = (time.time() if now is None else now) - SETTLED
        found = sorted(p for p in self.root.iterdir() if self._takes(p) and p.stat().st_mtime <= before)
        return [self._move(path, ARRIVED, day.isoformat()) for path in found]

    def waiting(self) -> dict[str, list[str]]:
        """Give the staged files that no run has read yet: day to what tells each file from any other."""
        folder = self.root / ARRIVED
        days = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        files = {day.name: sorted(_identity(p) for p in day.iterdir() if self._takes(p)) for day in days}
        return {day: found for day, found in files.items() if found}

    def deliveries(self, day: str) -> list[Delivery]:
        """Give every file of a day, read or not; the same content twice counts once.

        Raises:
            DayRemovedError: retention removed the day's files.
        """
        if (self.root / DONE / day / _REMOVED).exists():
            raise DayRemovedError(
                f"{self.root}: the files of {day} were removed (MEDASSETS_RETENTION__INBOX_DAYS), so the day "
                "cannot be read again; `medassets forget` takes a person out of its tables"
            )
        found: dict[str, Delivery] = {}
        for state in (DONE, FAILED, ARRIVED):
            folder = self.root / state / day
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if self._takes(path):
                    delivery = Delivery.of(path)
                    found.setdefault(delivery.label, delivery)
        return sorted(found.values(), key=lambda delivery: (delivery.path.name, delivery.label))

    def finish(
        self, day: str, used: Sequence[Delivery], failed: Iterable[str], rejected: Iterable[QuarantineRow]
    ) -> None:
        """Move a day's files to where they belong and write what was rejected of each beside it.

        Args:
            day: ISO day.
            used: the files that were read.
            failed: labels of the files of which nothing could be used.
            rejected: rejected values of all of them; ``source_file`` begins with a file's label.
        """
        broken = set(failed)
        reports: dict[str, list[dict[str, Any]]] = {}
        for row in rejected:
            reports.setdefault(row.source_file.split("#")[0], []).append(report_of(row))
        for delivery in used:
            state = FAILED if delivery.label in broken else DONE
            path = self._move(delivery.path, state, day)
            delivery.path.with_name(delivery.path.name + ERRORS).unlink(missing_ok=True)
            beside = path.with_name(path.name + ERRORS)
            if report := reports.get(delivery.label):
                beside.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        self._finish_repeated(day, {delivery.label for delivery in used})

    def offer(self, paths: Iterable[Path]) -> list[Path]:
        """Copy files into the inbox that it has never held, by content; they are taken as if dropped.

        Returns:
            Where the copies lie.
        """
        wanted = [path for path in paths if self._takes(path)]
        sizes = {path.stat().st_size for path in wanted}
        there = (path for path in self.root.rglob("*") if self._takes(path) and path.stat().st_size in sizes)
        held = {Delivery.of(path).label for path in there}
        self.root.mkdir(parents=True, exist_ok=True)
        offered = []
        for delivery in map(Delivery.of, wanted):
            if delivery.label not in held:
                part = self.root / f"{delivery.label}.part"
                shutil.copyfile(delivery.path, part)
                offered.append(part.replace(self.root / delivery.label))
                held.add(delivery.label)
        return offered

    def remove_before(self, day: date, *, really: bool) -> int:
        """Remove the files of the days before one that were read; a day with unread files stays.

        Args:
            day: the first day that stays.
            really: False only counts.

        Returns:
            Files that are, or would be, removed, with the reports beside them.
        """
        files: dict[str, list[Path]] = {}
        for state in (DONE, FAILED):
            for path in sorted(self.root.glob(f"{state}/*/*")):
                if path.parent.name < day.isoformat() and path.name != _REMOVED:
                    files.setdefault(path.parent.name, []).append(path)
        for unread in self.waiting():
            files.pop(unread, None)
        for name, paths in files.items() if really else ():
            mark = self.root / DONE / name / _REMOVED
            mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark.touch()  # first: a run that begins now must not read half a day
            for path in paths:
                path.unlink()
        return sum(map(len, files.values()))

    def _finish_repeated(self, day: str, labels: set[str]) -> None:
        """Files with the content of one that was read are done with it."""
        folder = self.root / ARRIVED / day
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if self._takes(path) and Delivery.of(path).label in labels:
                self._move(path, DONE, day)

    def _takes(self, path: Path) -> bool:
        name = path.name.lower()
        plain = path.is_file() and not path.is_symlink() and not name.startswith(".")
        return plain and name.endswith(self.endings) and not name.endswith(_UNFINISHED)

    def _move(self, path: Path, state: str, day: str) -> Path:
        """Move a file to its place; a name that is taken there gets a number."""
        folder = self.root / state / day
        if path.parent == folder:
            return path
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / state).mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        target, number = folder / path.name, 2
        while target.exists():
            target, number = folder / f"{number}-{path.name}", number + 1
        return path.replace(target)


def _identity(path: Path) -> str:
    """Tell a file from one of the same name that comes later; the content is not read for that."""
    stat = path.stat()
    return f"{path.name}:{stat.st_size}:{stat.st_mtime_ns}"


def report_of(row: QuarantineRow) -> dict[str, Any]:
    """Give what the sender needs of a rejected value."""
    member = row.source_file.partition("#")[2]
    return {
        **({"member": int(member)} if member else {}),
        "row": row.row,
        "field": row.field,
        "value": row.value,
        "reason": row.reason,
        "allowed": row.allowed,
    }
