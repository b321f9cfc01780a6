"""A folder of files with a manifest: written once, verified before use, sealed where there is a key.

What belongs here: storing, sealing and verifying files. What does not: which files (``collecting``) and where
they go back to (``restoring``). A sealed file is a sequence of frames, each AES-256-GCM with the file's name,
its number and whether it is the last: a frame that is changed, moved, left out or cut off is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from medassets.serving.sealing import Sealer, SealError

MANIFEST = "manifest.json"
_SEALED = "manifest.sealed"
_FRAME = 1 << 22
#: Raised when a reader of this version could no longer understand the folder.
SCHEMA = 1


class BackupError(RuntimeError):
    """A backup cannot be made or used; the message names the file and what is wrong."""


@dataclass(frozen=True)
class Entry:
    """A file: its bytes and SHA-256 as they were, before sealing."""

    size: int
    sha256: str


@dataclass
class Manifest:
    """What a backup states about itself.

    Attributes:
        created: ISO 8601, UTC.
        version: of this software.
        home: where the installation lay; paths inside it are rewritten on restoration.
        audit: number and digest of the last audit entry.
        tables: Delta version of each table.
        files: name to size and sum.
        databases: names of PostgreSQL dumps among them.
        schema: form of this manifest.
    """

    created: str
    version: str
    home: str
    audit: tuple[int, str] = (0, "")
    tables: dict[str, int] = field(default_factory=dict)
    files: dict[str, Entry] = field(default_factory=dict)
    databases: list[str] = field(default_factory=list)
    schema: int = SCHEMA

    @classmethod
    def from_json(cls, text: bytes) -> Manifest:
        """Read a manifest.

        Raises:
            BackupError: it is malformed, or of another form.
        """
        try:
            found: dict[str, Any] = json.loads(text)
            found["files"] = {name: Entry(**entry) for name, entry in found["files"].items()}
            found["audit"] = tuple(found["audit"])
            made = cls(**found)
        except (ValueError, TypeError, KeyError) as error:
            raise BackupError(f"{MANIFEST} is no manifest of a backup: {error}") from error
        if made.schema != SCHEMA:
            raise BackupError(f"{MANIFEST} has form {made.schema}; this software reads {SCHEMA}")
        return made


class Archive:
    """The folder of a backup.

    Args:
        folder: where it lies.
        sealer: seals and opens; ``None``: files lie open.
    """

    def __init__(self, folder: Path, sealer: Sealer | None = None) -> None:
        self.folder, self._sealer = folder, sealer

    def add(self, manifest: Manifest, name: str, source: Path) -> None:
        """Take a file in, and note it in the manifest."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        with source.open("rb") as read, path.open("xb") as write:
            path.chmod(0o600)
            for number, (block, last) in enumerate(_frames(read)):
                digest.update(block)
                size += len(block)
                write.write(self._seal(block, name, number, last))
        manifest.files[name] = Entry(size, digest.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest: from now on it is a backup."""
        text = json.dumps(asdict(manifest), indent=1).encode()
        name = MANIFEST if self._sealer is None else _SEALED
        (self.folder / name).write_bytes(self._seal(text, _SEALED, 0, True))
        (self.folder / name).chmod(0o600)

    def manifest(self) -> Manifest:
        """Read the manifest.

        Raises:
            BackupError: there is none, or it is malformed.
            SealError: it does not open with the keys given.
        """
        if (self.folder / _SEALED).exists():
            if self._sealer is None:
                raise BackupError(f"{self.folder} is sealed: set MEDASSETS_KEY_FILE to the keys of its time")
            return Manifest.from_json(self._open((self.folder / _SEALED).read_bytes(), _SEALED, 0, True))
        self._sealer = None
        if not (self.folder / MANIFEST).exists():
            raise BackupError(f"{self.folder} is no backup, or one that was broken off: it has no {MANIFEST}")
        return Manifest.from_json((self.folder / MANIFEST).read_bytes())

    def extract(self, manifest: Manifest, name: str, target: Path) -> None:
        """Write a file to ``target``, verified.

        Raises:
            BackupError: it is missing or not what the manifest says.
        """
        entry, digest, size = manifest.files[name], hashlib.sha256(), 0
        path = self._path(name)
        if not path.is_file():
            raise BackupError(f"{name} is missing in {self.folder}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as read, target.open("wb") as write:
            for block in self._blocks(read, name):
                digest.update(block)
                size += len(block)
                write.write(block)
        if (size, digest.hexdigest()) != (entry.size, entry.sha256):
            found = f"{size} bytes, SHA-256 {digest.hexdigest()}"
            raise BackupError(f"{name} is not what {MANIFEST} says: {found}")

    def _path(self, name: str) -> Path:
        path = self.folder / "files" / name
        if not path.resolve().is_relative_to((self.folder / "files").resolve()):
            raise BackupError(f"{name!r} leads out of the backup")
        return path

    def _blocks(self, stream: BinaryIO, name: str) -> Iterator[bytes]:
        if self._sealer is None:
            yield from iter(lambda: stream.read(_FRAME), b"")
            return
        number, last = 0, False
        while not last:
            head = stream.read(5)
            if len(head) < 5:
                raise BackupError(f"{name} is cut off")
            last = bool(head[4])
            frame = stream.read(int.from_bytes(head[:4], "big"))
            yield self._open(frame, name, number, last)
            number += 1

    def _seal(self, block: bytes, name: str, number: int, last: bool) -> bytes:
        if self._sealer is None:
            return block
        sealed = self._sealer.encrypt(block, _context(name, number, last))
        return sealed if name == _SEALED else len(sealed).to_bytes(4, "big") + bytes([last]) + sealed

    def _open(self, sealed: bytes, name: str, number: int, last: bool) -> bytes:
        # What is not sealed at all would be given as it is; here that is a forgery.
        if self._sealer is None or not Sealer.is_sealed(sealed):
            raise SealError(f"{name}: a part is not sealed")
        return self._sealer.decrypt(sealed, _context(name, number, last))


def _context(name: str, number: int, last: bool) -> bytes:
    return f"backup {name} {number} {last}".encode()


def _frames(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Blocks of a stream, each with whether it is the last; an empty file is one empty block."""
    block = stream.read(_FRAME)
    while True:
        following = stream.read(_FRAME)
        yield block, not following
        if not following:
            return
        block = following
