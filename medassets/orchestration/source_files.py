"""The record of a source file as it was received: what lineage ends at.

What belongs here: path, size, SHA-256, release and licence of a file (or of a folder of files), and proof
that it is still the same. What does not: finding the files (``ingest``) and reading them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from medassets.orchestration.content import file_sha256

#: Data version of a source that this installation does not have.
ABSENT = "absent"


@dataclass(frozen=True)
class SourceFile:
    """One source as received.

    Attributes:
        name: name of the source, for example ``phenopackets``.
        origin: ``bundled``, ``folder``, ``download`` or ``absent``.
        path: file or folder; None where the source is absent.
        sha256: sum of the file; of a folder, the sum over its files' names and sums.
        bytes: size.
        modified: newest modification time, nanoseconds; spares hashing a file that has not been touched.
        url: where the release is published.
        release: release as its publisher names it.
        licence: SPDX name, or the publisher's words.
    """

    name: str
    origin: str
    path: str | None = None
    sha256: str | None = None
    bytes: int = 0
    modified: int = 0
    url: str | None = None
    release: str | None = None
    licence: str | None = None

    @property
    def version(self) -> str:
        """Data version: the sum, or ``absent``."""
        return self.sha256 or ABSENT

    @property
    def present(self) -> bool:
        """Say whether this installation has the source."""
        return self.path is not None

    def open_path(self) -> Path:
        """Give the path of a source that must be there.

        Raises:
            FileNotFoundError: the source is absent.
        """
        if self.path is None:
            raise FileNotFoundError(f"source {self.name} is absent from this installation")
        return Path(self.path)

    def verify(self) -> None:
        """Check that the file is the one that was recorded.

        Raises:
            FileNotFoundError: the file is gone.
            ValueError: its content has changed.
        """
        if self.path is None:
            return
        path = Path(self.path)
        if not path.exists():
            raise FileNotFoundError(f"source {self.name}: {path} is gone; its record says {self.sha256}")
        size, modified = _size_and_time(path)
        if (size, modified) != (self.bytes, self.modified) and (found := _sha256(path)) != self.sha256:
            raise ValueError(
                f"source {self.name}: {path} has changed since it was recorded "
                f"({self.sha256} then, {found} now): materialize the sources again"
            )


def record(
    name: str,
    origin: str,
    path: Path | None,
    *,
    url: str | None = None,
    release: str | None = None,
    licence: str | None = None,
) -> SourceFile:
    """Measure a source.

    Raises:
        FileNotFoundError: the path does not exist.
    """
    if path is None:
        return SourceFile(name, ABSENT, url=url, licence=licence)
    if not path.exists():
        raise FileNotFoundError(f"source {name}: {path} does not exist")
    size, modified = _size_and_time(path)
    return SourceFile(name, origin, str(path), _sha256(path), size, modified, url, release, licence)


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def _size_and_time(path: Path) -> tuple[int, int]:
    stats = [file.stat() for file in _files(path)]
    return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)


def _sha256(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file.relative_to(path).as_posix()}:{file_sha256(file)};".encode())
    return digest.hexdigest()
