"""Bundles on disk: one folder a version, written whole or not at all, verified before use.

What belongs here: writing, verifying and finding bundles. What does not: what the parts contain (each part is
filled by the model's own exporter) and how they answer (``predictor``).

Layout: ``<bundles>/<version>/manifest.json`` beside the parts' folders, and the text file
``<bundles>/latest`` with a version, replaced atomically; ``<bundles>/history`` lists what it named before.
Nothing in a bundle may be a pickle: loading one
would run code of the file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from medassets.serving.files import replace_file
from medassets.serving.manifest import (
    SCHEMA_VERSION,
    DataEntry,
    FileEntry,
    Manifest,
    ModelEntry,
    SourceEntry,
    installed_packages,
)

MANIFEST = "manifest.json"
#: Beside it, who made the bundle (``signing``).
SIGNATURE = "manifest.sig"
LATEST = "latest"
HISTORY = "history"
_PICKLE_SUFFIXES = {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".dill"}
_READ = 1 << 20


class BundleError(Exception):
    """A bundle is missing, incomplete or not what its manifest says."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    directory: Path
    manifest: Manifest

    @property
    def version(self) -> str:
        """Content version."""
        return self.manifest.version

    def part(self, name: str) -> Path:
        """Folder of one part.

        Raises:
            BundleError: the bundle has no such part.
        """
        if name not in self.manifest.parts:
            raise BundleError(f"bundle {self.version} has no part {name!r}; it has {self.manifest.parts}")
        return self.directory / name


def write_bundle(
    bundles_dir: Path,
    *,
    parts: Mapping[str, Callable[[Path], object]],
    settings_origin: str,
    profile: str,
    models: Sequence[ModelEntry],
    data: Sequence[DataEntry],
    sources: Sequence[SourceEntry],
    make_latest: bool = True,
    sign: Callable[[bytes], bytes] | None = None,
) -> Bundle:
    """Write a bundle and make it the latest.

    Args:
        bundles_dir: folder of all bundles.
        parts: folder name to exporter; an exporter gets its existing, empty folder and fills it.
        settings_origin: bundled, folder or download.
        profile: quick or full.
        models: what the bundle carries.
        data: tables that the models learned from.
        sources: files that the tables came from.
        make_latest: move ``latest`` to it.
        sign: makes the signature of the manifest's bytes (``signing.Signer``); services refuse an unsigned
            bundle.

    Returns:
        The verified bundle; an existing one where the content is the same.

    Raises:
        BundleError: a part is empty or holds a pickle.
    """
    bundles_dir.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=bundles_dir))
    try:
        for name, export in parts.items():
            folder = building / name
            folder.mkdir()
            export(folder)
            if not any(_files(folder)):
                raise BundleError(f"part {name!r} of the bundle is empty: its exporter wrote nothing")
        manifest = Manifest(
            version="",
            created=datetime.now(UTC).replace(microsecond=0),
            settings_origin=settings_origin,
            profile=profile,
            parts=sorted(parts),
            models=list(models),
            data=list(data),
            sources=list(sources),
            packages=installed_packages(),
            files={_relative(path, building): _entry(path) for path in _files(building)},
        )
        manifest.version = manifest.content_version()
        (building / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        building.chmod(0o755)  # mkdtemp's 0700 would hide the bundle from another service user
        target = bundles_dir / manifest.version
        if target.exists():
            shutil.rmtree(building)
            load_bundle(target)  # before it is signed: it may have been changed since
        else:
            os.replace(building, target)
        if sign:
            sign_bundle(target, sign)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    bundle = load_bundle(target)
    if make_latest:
        point_latest(bundles_dir, bundle.version)
    return bundle


def sign_bundle(directory: Path, sign: Callable[[bytes], bytes]) -> None:
    """Sign a bundle's manifest, in place of the signature that it had.

    Raises:
        BundleError: there is no manifest, or the signature cannot be written.
    """
    # Not in the bundle's own folder: who verifies it meanwhile would find a file that is not listed.
    try:
        signature = sign((directory / MANIFEST).read_bytes())
        replace_file(directory / SIGNATURE, signature, beside=directory.parent)
    except OSError as error:
        raise BundleError(f"bundle {directory} cannot be signed: {error.strerror}") from error


def load_bundle(directory: Path) -> Bundle:
    """Read a bundle and verify each file against its manifest.

    Raises:
        BundleError: naming each file that is missing, changed, unlisted or a pickle.
    """
    manifest = read_manifest(directory)
    faults = list(_faults(directory, manifest))
    if faults:
        raise BundleError(f"bundle {directory} is not what its manifest says: " + "; ".join(faults))
    return Bundle(directory, manifest)


def read_manifest(directory: Path) -> Manifest:
    """Read the manifest alone, without verifying the files.

    Raises:
        BundleError: it is missing, malformed, of another schema, or its version is not that of its content.
    """
    path = directory / MANIFEST
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise BundleError(f"{path} does not exist: {directory} is no bundle") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "the document"
        raise BundleError(f"{path}: {field}: {first['msg']}") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise BundleError(f"{path}: schema {manifest.schema_version}, this software reads {SCHEMA_VERSION}")
    if manifest.version != manifest.content_version():
        raise BundleError(
            f"{path}: version {manifest.version}, but its content is {manifest.content_version()}"
        )
    return manifest


def latest_bundle(bundles_dir: Path) -> Path:
    """Folder of the latest bundle.

    Raises:
        BundleError: there is none yet, or the pointer names a bundle that is gone.
    """
    pointer = bundles_dir / LATEST
    try:
        version = pointer.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise BundleError(f"no bundle in {bundles_dir} yet: `medassets run` makes one") from error
    directory = bundles_dir / version
    if not version or not (directory / MANIFEST).is_file():
        raise BundleError(f"{pointer} names bundle {version!r}, which is not there")
    return directory


def point_latest(bundles_dir: Path, version: str) -> None:
    """Make a version the latest, in one step that a crash cannot leave half done.

    Raises:
        BundleError: no such version.
    """
    if not (bundles_dir / version / MANIFEST).is_file():
        raise BundleError(f"no bundle {version!r} in {bundles_dir}")
    history = _history(bundles_dir)
    if not history or history[-1] != version:
        history.append(version)
    _point(bundles_dir, version, history)


def roll_back(bundles_dir: Path, check: Callable[[Path], object] | None = None) -> str:
    """Make the version the latest that was so before the present one.

    Args:
        bundles_dir: folder of all bundles.
        check: refuses a bundle beyond its sums, for example for its signature (``signing.PinnedKeys.check``).

    Returns:
        That version, verified.

    Raises:
        BundleError: there was none before, or it is not what its manifest says.
    """
    history = _history(bundles_dir)[:-1]
    while history and not (bundles_dir / history[-1] / MANIFEST).is_file():
        history.pop()
    if not history:
        raise BundleError(f"no earlier bundle in {bundles_dir} to go back to")
    load_bundle(bundles_dir / history[-1])
    if check:
        check(bundles_dir / history[-1])
    _point(bundles_dir, history[-1], history)
    return history[-1]


def _history(bundles_dir: Path) -> list[str]:
    """Versions that were the latest, oldest first; the present one stands last."""
    try:
        present = (bundles_dir / LATEST).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return []
    path = bundles_dir / HISTORY
    known = path.read_text(encoding="utf-8").split() if path.exists() else []
    # A crash between the two files leaves the pointer right and the history one entry short or long.
    if present in known:
        return known[: len(known) - known[::-1].index(present)]
    return [*known, present]


def _point(bundles_dir: Path, version: str, history: list[str]) -> None:
    for name, lines in ((HISTORY, history), (LATEST, [version])):
        replace_file(bundles_dir / name, "".join(f"{line}\n" for line in lines).encode())


def list_bundles(bundles_dir: Path) -> list[Manifest]:
    """Manifests of all bundles, newest first."""
    manifests = [read_manifest(path.parent) for path in bundles_dir.glob(f"[!.]*/{MANIFEST}")]
    return sorted(manifests, key=lambda manifest: (manifest.created, manifest.version), reverse=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ):
            digest.update(block)
    return digest.hexdigest()


def _faults(directory: Path, manifest: Manifest) -> Iterator[str]:
    present = {_relative(path, directory): path for path in _files(directory)}
    for own in (MANIFEST, SIGNATURE):
        present.pop(own, None)
    for name, entry in manifest.files.items():
        path = present.pop(name, None)
        if path is None:
            yield f"{name} is missing"
            continue
        size = path.stat().st_size
        if size != entry.size:
            yield f"{name} has {size} bytes, the manifest says {entry.size}"
        elif (actual := file_sha256(path)) != entry.sha256:
            yield f"{name} has SHA-256 {actual}, the manifest says {entry.sha256}"
    yield from (f"{name} is not listed" for name in sorted(present))


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as stream:
        head = stream.read(2)
    if path.suffix.lower() in _PICKLE_SUFFIXES or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"):
        raise BundleError(f"{path.name} is a pickle: a bundle holds data, never code")
    return FileEntry(size=path.stat().st_size, sha256=file_sha256(path))


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def _relative(path: Path, directory: Path) -> str:
    return path.relative_to(directory).as_posix()
