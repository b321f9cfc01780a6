"""The record of a source as it was received: what lineage ends at.

What belongs here: path, size, SHA-256, release and licence of a source's files, and proof that they are still
the same. What does not: finding the files (``ingest.sources``) and reading them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.orchestration.content import file_sha256

#: Data version, and origin, of a source that this installation does not have.
ABSENT = "absent"


@dataclass(frozen=True)
class FilePart:
    """One file of a source: its path, size, sum and modification time in nanoseconds."""

    path: str
    bytes: int
    sha256: str
    modified: int


@dataclass(frozen=True)
class SourceFile:
    """One source as received: a file, or the files of a folder that count.

    Attributes:
        name: name of the source, for example ``phenopackets``.
        origin: ``bundled``, ``folder``, ``download`` or ``absent``.
        path: file or folder to read; None where the source is absent.
        sha256: sum of the file; of several, the sum over their names and sums; None where absent.
        bytes: size of all files.
        files: the files that count.
        url: where the release is published.
        release: release as its publisher names it.
        licence: SPDX name, or the publisher's words.
    """

    name: str
    origin: str
    path: str | None = None
    sha256: str | None = None
    bytes: int = 0
    files: tuple[FilePart, ...] = ()
    url: str | None = None
    release: str | None = None
    licence: str | None = None

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> SourceFile:
        """Read the record back."""
        return cls(**{**content, "files": tuple(FilePart(**part) for part in content["files"])})

    @property
    def version(self) -> str:
        """Data version: the sum, or ``absent``."""
        return self.sha256 or ABSENT

    @property
    def present(self) -> bool:
        """Say whether this installation has the source."""
        return self.path is not None

    def exists(self) -> bool:
        """Say whether the files that were recorded are still there; an absent source has none to miss."""
        return all(Path(part.path).exists() for part in self.files)

    def open_path(self) -> Path:
        """Give the path of a source that must be there.

        Raises:
            FileNotFoundError: the source is absent.
        """
        if self.path is None:
            raise FileNotFoundError(f"source {self.name} is absent from this installation")
        return Path(self.path)

    def paths(self) -> list[Path]:
        """Give the files that count; none where the source is absent."""
        return [Path(part.path) for part in self.files]

    def verify(self) -> None:
        """Check that the files are the ones that were recorded; a file that was not touched is not hashed
        again.

        Raises:
            FileNotFoundError: a file is gone.
            ValueError: a file's content has changed.
        """
        for part in self.files:
            path = Path(part.path)
            if not path.exists():
                raise FileNotFoundError(f"source {self.name}: {path} is gone; its record says {part.sha256}")
            stat = path.stat()
            untouched = (stat.st_size, stat.st_mtime_ns) == (part.bytes, part.modified)
            if not untouched and (found := file_sha256(path)) != part.sha256:
                raise ValueError(
                    f"source {self.name}: {path} has changed since it was recorded "
                    f"({part.sha256} then, {found} now): materialize the sources again"
                )


def record(
    name: str,
    origin: str,
    path: Path | None,
    files: Iterable[Path] = (),
    *,
    url: str | None = None,
    release: str | None = None,
    licence: str | None = None,
) -> SourceFile:
    """Measure a source.

    Args:
        name: name of the source.
        origin: where it comes from.
        path: file or folder to read; None where the source is absent.
        files: the files that count; the path itself, or every file under it, where none is named.
        url: where the release is published.
        release: release as its publisher names it.
        licence: licence of the content.

    Raises:
        FileNotFoundError: a file does not exist.
    """
    if path is None:
        return SourceFile(name, ABSENT, url=url, licence=licence)
    counted = sorted(files) or (
        [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    )
    if not counted:
        raise FileNotFoundError(f"source {name}: {path} does not exist or is empty")
    parts = tuple(_measure(file) for file in counted)
    size = sum(part.bytes for part in parts)
    return SourceFile(name, origin, str(path), _sum(parts, path), size, parts, url, release, licence)


def _measure(path: Path) -> FilePart:
    stat = path.stat()
    return FilePart(str(path), stat.st_size, file_sha256(path), stat.st_mtime_ns)


def _sum(parts: tuple[FilePart, ...], root: Path) -> str:
    """Give the one file's sum, or the sum over the files' names below ``root`` and sums."""
    if len(parts) == 1 and Path(parts[0].path) == root:
        return parts[0].sha256
    digest = hashlib.sha256()
    for part in parts:
        name = (
            Path(part.path).relative_to(root).as_posix()
            if Path(part.path).is_relative_to(root)
            else part.path
        )
        digest.update(f"{name}:{part.sha256};".encode())
    return digest.hexdigest()
