"""Building the bento: the service, the serving half of this package, one bundle; nothing that trains.

What belongs here: what goes into a bento. What does not: how it is served (``bentos/diagnosis/service.py``).

The build needs no network: requirements are written down with the versions in use here, and installed only
where the bento is turned into an image.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from medassets.serving.bundle import SIGNATURE, file_sha256, load_bundle
from medassets.settings import TELEMETRY_OFF

NAME = "diagnosis"
#: Packages of this project that the service imports; learners and orchestration stay out.
CODE = (
    "settings.py",
    "settings_sections.py",
    "__init__.py",
    "knowledge",
    "ingest",
    "cohorts",
    "features",
    "serving",
)
#: Distributions that the service imports. What they need in turn is resolved at installation.
REQUIREMENTS = (
    "bentoml", "cryptography", "fastapi", "httpx", "numpy", "onnxruntime", "prometheus-client", "psycopg",
    "psycopg-binary", "pyarrow", "pydantic", "pydantic-settings", "pyjwt", "redis", "scipy",
)  # fmt: skip


class BentoError(Exception):
    """BentoML could not build."""


@dataclass(frozen=True)
class BuiltBento:
    """A bento in BentoML's store."""

    tag: str
    path: Path
    size: int


def service_dir() -> Path:
    """Folder of ``service.py`` and ``bentofile.yaml``: ``bentos/diagnosis`` beside the package.

    Raises:
        FileNotFoundError: the package was installed without it.
    """
    directory = Path(str(resources.files("medassets"))).parent / "bentos" / NAME
    if not (directory / "service.py").is_file():
        raise FileNotFoundError(f"{directory}/service.py: run from a checkout, or an editable installation")
    return directory


def build_bento(bundle_dir: Path, store_dir: Path) -> BuiltBento:
    """Build the bento of a bundle.

    Args:
        bundle_dir: the bundle to carry; verified first.
        store_dir: BentoML's home, where bentos are kept.

    Returns:
        Tag, folder and size in bytes. The tag names bundle and code: what is there already is not built
        again.

    Raises:
        BundleError: the bundle is not what its manifest says.
        BentoError: BentoML refused; the message is its own.
    """
    bundle = load_bundle(bundle_dir)
    with tempfile.TemporaryDirectory(prefix="medassets-bento-") as folder:
        context = Path(folder)
        _stage_code(context)
        # A bundle signed anew is another bento: the copy inside carries the signature.
        signature = bundle.directory / SIGNATURE
        if signature.exists():
            shutil.copy2(signature, context / SIGNATURE)
        version = f"{bundle.version}-{_digest(context)[:8]}"
        path = store_dir / "bentos" / NAME / version
        if not (path / "bento.yaml").is_file():
            shutil.copytree(bundle.directory, context / "bundle")
            _build(context, version, store_dir)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return BuiltBento(f"{NAME}:{version}", path, size)


def requirements() -> list[str]:
    """What the service needs, pinned to the versions in use here."""
    return [f"{name}=={metadata.version(name)}" for name in REQUIREMENTS]


def _stage_code(context: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    package = Path(str(resources.files("medassets")))
    for name in CODE:
        source, target = package / name, context / "medassets" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy2(source, target)
    for name in ("service.py", "bentofile.yaml"):
        shutil.copy2(service_dir() / name, context / name)
    (context / "requirements.txt").write_text("\n".join(requirements()) + "\n", encoding="utf-8")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _build(context: Path, version: str, store_dir: Path) -> None:
    """Run BentoML in a process of its own: it keeps home and modules as long as it lives."""
    store_dir.mkdir(parents=True, exist_ok=True)
    # The service reads the settings at import, in a folder of its own: relative paths would mislead it.
    own = {name: value for name, value in os.environ.items() if not name.startswith("MEDASSETS_")}
    environment = TELEMETRY_OFF | own | {"BENTOML_HOME": str(store_dir)}
    # The service must be read from the staged copy, as it will run.
    environment["PYTHONPATH"] = str(context)
    command = [sys.executable, "-m", "bentoml", "build", ".", "--version", version]
    result = subprocess.run(
        command, cwd=context, env=environment, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise BentoError(f"bentoml build failed: {(result.stderr or result.stdout).strip()[-2000:]}")
