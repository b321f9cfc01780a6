"""Installation without a network: everything on a medium, with sums, and a script that installs from it.

What belongs here: what goes on the medium, and whether it is whole. What does not: the operating system's own
packages, which a site mirrors by its own means; the script names those that are missing.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medassets.settings import Settings

#: What an installation is made of, beside the wheels.
SOURCE = (
    "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "NOTICE", "Makefile", "dagster.yaml",
    "workspace.yaml", "medassets", "bentos", "deployment",
)  # fmt: skip
SUMS = "SHA256SUMS"
#: Builds the package itself on the target, where no index can be asked.
BUILD = ("setuptools>=77", "wheel", "pip")
INSTALL = """#!/bin/sh
# Installs medassets from this medium, with no network: sh install.sh FOLDER
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${1:?usage: sh install.sh FOLDER}
cd "$here" && sha256sum --check --quiet SHA256SUMS
python=$(command -v python3.11) || { echo "missing: apt-get install python3.11 python3.11-venv" >&2; exit 2; }
mkdir -p "$target" && cp -r "$here/source/." "$target"
"$python" -m venv "$target/.venv"
pip="$target/.venv/bin/python -m pip --disable-pip-version-check install --quiet"
pip="$pip --no-index --find-links $here/wheels"
$pip --upgrade pip setuptools wheel
$pip --no-build-isolation -c "$target/constraints.txt" -e "$target@EXTRAS@"
touch "$target/.venv/.installed"
if [ -d "$here/home" ]; then mkdir -p "$target/var" && cp -rn "$here/home/." "$target/var"; fi
cd "$target" && .venv/bin/medassets doctor
"""


class MediumError(Exception):
    """The medium cannot be written, or is not whole; the message says what to do."""


@dataclass(frozen=True)
class Medium:
    """What was written.

    Attributes:
        folder: where it lies.
        wheels: number of wheels.
        bundle: version of the bundle on it, if any.
        size: bytes.
    """

    folder: Path
    wheels: int
    bundle: str | None
    size: int


def build_wheels(checkout: Path, folder: Path, extras: str) -> None:
    """Fetch or build a wheel of everything that an installation needs, for this machine's kind.

    Raises:
        MediumError: pip could not; the message is its own.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    command += [
        "--wheel-dir",
        str(folder),
        "-c",
        str(checkout / "constraints.txt"),
        f"{checkout}{extras}",
        *BUILD,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MediumError(f"pip: {done.stderr.strip()[-1500:]}")
    for own in folder.glob("medassets-*.whl"):
        own.unlink()  # installed from its source, which has the service and the manifests beside it


def write_medium(
    settings: Settings,
    folder: Path,
    *,
    extras: str = "[platform,native]",
    wheels: Callable[[Path, Path, str], None] = build_wheels,
) -> Medium:
    """Write wheels, source, the latest bundle with the keys that it is trusted by, a script, and sums of all.

    Args:
        settings: the installation whose bundle goes along.
        folder: where to; new or empty.
        extras: of the package; ``""`` for a machine that only answers.
        wheels: puts the wheels into a folder.

    Raises:
        MediumError: the folder holds something, this is no checkout, or pip failed.
    """
    checkout = Path(__file__).parents[2]
    if not (checkout / "pyproject.toml").is_file():
        raise MediumError(f"{checkout} is no checkout: run from one, or an editable installation")
    if folder.exists() and any(folder.iterdir()):
        raise MediumError(f"{folder} is not empty: name a new folder")
    (folder / "wheels").mkdir(parents=True)
    wheels(checkout, folder / "wheels", extras)
    for name in SOURCE:
        _copy(checkout / name, folder / "source" / name)
    bundle = _copy_bundle(settings, folder / "home")
    (folder / "install.sh").write_text(INSTALL.replace("@EXTRAS@", extras), encoding="utf-8")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    lines = [f"{_sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")
    return Medium(
        folder,
        len(list((folder / "wheels").glob("*.whl"))),
        bundle,
        sum(file.stat().st_size for file in files),
    )


def verify_medium(folder: Path) -> int:
    """Compare every file with its sum.

    Returns:
        The number of files.

    Raises:
        MediumError: a file is missing or was changed; all such files are named.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise MediumError(f"{folder} is no medium of medassets: {error}") from error
    wrong = []
    for line in lines:
        digest, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file():
            wrong.append(f"{name} is missing")
        elif _sha256(file) != digest:
            wrong.append(f"{name} was changed")
    if wrong:
        raise MediumError("; ".join(wrong) + ": write the medium anew")
    return len(lines)


def _copy_bundle(settings: Settings, home: Path) -> str | None:
    from medassets.serving.bundle import BundleError, latest_bundle

    try:
        directory = latest_bundle(settings.bundles_dir)
    except BundleError:
        return None
    shutil.copytree(directory, home / "bundles" / directory.name)
    (home / "bundles" / "latest").write_text(f"{directory.name}\n", encoding="utf-8")
    if settings.bundle_keys_file.exists():
        _copy(settings.bundle_keys_file, home / "secrets" / settings.bundle_keys_file.name)
    return directory.name


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info"))
    else:
        shutil.copy2(source, target)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
