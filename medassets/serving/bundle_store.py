"""Bundles in an S3-compatible store: published by the machine that makes them, fetched by those that serve.

What belongs here: copying bundles, verified on both sides. What does not: the store's client
(``stores.objects``) and the bundle itself (``bundle``). The manifest goes last: what has one is whole. The
object ``latest`` names the newest version, as the file of that name does in a folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from medassets.serving.bundle import LATEST, MANIFEST, Bundle, BundleError, load_bundle, point_latest
from medassets.stores.objects import ObjectStore


def publish_bundle(bundle: Bundle, store: ObjectStore, *, make_latest: bool = True) -> bool:
    """Upload a verified bundle.

    Returns:
        Whether it had to be uploaded; a version that is there already is left as it is.

    Raises:
        medassets.stores.objects.ObjectError: the store cannot be written to.
    """
    manifest = f"{bundle.version}/{MANIFEST}"
    missing = manifest not in store.names(bundle.version)
    if missing:
        others = (path for path in sorted(bundle.directory.rglob("*")) if path.is_file())
        for path in others:
            name = path.relative_to(bundle.directory).as_posix()
            if name != MANIFEST:
                store.put(f"{bundle.version}/{name}", path)
        store.put(manifest, bundle.directory / MANIFEST)
    if make_latest:
        store.put_bytes(LATEST, f"{bundle.version}\n".encode())
    return missing


def published(store: ObjectStore) -> list[str]:
    """Versions that are whole in the store, sorted."""
    return sorted(name.split("/")[0] for name in store.names() if name.endswith(f"/{MANIFEST}"))


def fetch_bundle(
    store: ObjectStore, bundles_dir: Path, version: str | None = None, *, make_latest: bool = True
) -> Bundle:
    """Download a bundle, verify every file against its manifest, and only then make it visible.

    Args:
        store: where it was published.
        bundles_dir: folder of all bundles here.
        version: default: the store's latest.
        make_latest: serve it from now on.

    Raises:
        BundleError: the store has no such version, or what came is not what its manifest says.
        medassets.stores.objects.ObjectError: the store cannot be read.
    """
    version = version or store.get_bytes(LATEST).decode().strip()
    if version not in published(store):
        raise BundleError(f"{store.url} holds no bundle {version!r}; it has {published(store)}")
    target = bundles_dir / version
    if not target.exists():
        bundles_dir.mkdir(parents=True, exist_ok=True)
        coming = Path(tempfile.mkdtemp(prefix=".coming-", dir=bundles_dir))
        try:
            for name in store.names(version):
                store.get(name, coming / name.removeprefix(f"{version}/"))
            if load_bundle(coming).version != version:
                raise BundleError(f"{store.url}/{version} holds another bundle than it says")
            coming.chmod(0o755)
            os.replace(coming, target)
        finally:
            shutil.rmtree(coming, ignore_errors=True)
    bundle = load_bundle(target)
    if make_latest:
        point_latest(bundles_dir, version)
    return bundle
