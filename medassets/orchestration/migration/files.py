"""Delta tables and bundles between folders and S3, file by file, so that every version comes along.

What belongs here: copying and comparing trees of files. What does not: one S3 file (``stores.objects``). A
Delta table's data files go before its log, and the log in the order of its versions: what is readable is
whole.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from medassets.orchestration.migration.parts import Part, Summary
from medassets.stores.objects import ObjectStore

_LOG = "_delta_log/"


class Tree(Protocol):
    """Files by relative name."""

    def names(self, prefix: str = "") -> list[str]:
        """All names."""

    def get(self, name: str, target: Path) -> None:
        """Write a file's content to a local path."""

    def put(self, name: str, source: Path) -> None:
        """Take a file in."""


class Folder:
    """A local folder as a tree; unfinished and hidden files are left out."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, prefix: str = "") -> list[str]:
        """All names, sorted."""
        found = (p.relative_to(self.root) for p in (self.root / prefix).rglob("*") if p.is_file())
        return sorted(p.as_posix() for p in found if not any(part.startswith(".") for part in p.parts))

    def get(self, name: str, target: Path) -> None:
        """Copy a file out."""
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((self.root / name).read_bytes())

    def put(self, name: str, source: Path) -> None:
        """Copy a file in; it is there whole or not at all."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        coming = path.with_name(f".coming-{path.name}")
        coming.write_bytes(source.read_bytes())
        coming.replace(path)


def tree_at(address: str | Path) -> Tree:
    """The tree at a path or an ``s3://`` address."""
    return ObjectStore(address) if isinstance(address, str) else Folder(address)


def files_part(name: str, source: Tree, target: Tree) -> Part:
    """Move a tree of files; broken off, it goes on with what is missing."""

    def resumable() -> bool:
        here, there = digests(source), digests(target)
        return all(here.get(file) == digest for file, digest in there.items())

    def copy() -> None:
        present = set(target.names())
        with tempfile.TemporaryDirectory() as scratch:
            for file in _ordered(set(source.names()) - present):
                path = Path(scratch, "file")
                source.get(file, path)
                target.put(file, path)

    return Part(name, lambda: _summary(source), lambda: _summary(target), copy, resumable)


def digests(tree: Tree) -> dict[str, str]:
    """SHA-256 of every file by name."""
    return dict(_digests(tree))


def _digests(tree: Tree) -> Iterator[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as scratch:
        for name in tree.names():
            path = Path(scratch, "file")
            tree.get(name, path)
            with path.open("rb") as stream:
                yield name, hashlib.file_digest(stream, "sha256").hexdigest()


def _summary(tree: Tree) -> Summary:
    found = digests(tree)
    return Summary(_counts(found), hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest())


def _counts(found: Mapping[str, str]) -> dict[str, int]:
    """Files of each table or bundle."""
    counts: dict[str, int] = {}
    for name in found:
        group = "/".join(name.split("/")[:2])
        counts[group] = counts.get(group, 0) + 1
    return counts


def _ordered(names: set[str]) -> list[str]:
    """Data before logs, logs by version, and a bundle's manifest and the pointer last."""
    last = ("manifest.json", "history", "latest")

    def rank(name: str) -> tuple[bool, int, str]:
        short = name.rsplit("/", 1)[-1]
        return (_LOG in name, last.index(short) + 1 if short in last else 0, name)

    return sorted(names, key=rank)
