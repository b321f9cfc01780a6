"""Which of the public releases a folder holds.

What belongs here: the layout in which releases lie in ``MEDASSETS_DATA_DIR`` and in the download folder, and
the size and SHA-256 of each file found. What does not: reading the files (one module a format) and fetching
them (``download``).

Layout: a folder a source, or everything flat in one folder; what is there is used, what is not is None.

=================== ========================================================================
phenopackets        ``phenopackets/*.zip`` (or ``*.json``), flat ``*phenopackets*.zip``
ddxplus_patients    ``ddxplus/release_*_patients*`` (zip, csv or no ending)
ddxplus_knowledge   ``ddxplus/release_conditions.json`` and ``release_evidences.json``, both;
                    and ``evidence_given_condition.csv`` if it is there
mondo               ``mondo/*.zip`` or ``mondo/*.sssom.tsv``, flat ``mondo*``
hpo                 ``hpo/hp.obo`` and ``hpo/phenotype.hpoa``, both
orphanet            ``orphanet/*product*.xml`` (Orphadata 1, 4, 6, 9), flat ``*_product*.xml``
pubmed              ``pubmed/*.xml`` or ``*.xml.gz`` (baseline, updates), flat ``pubmed*``
fhir                ``fhir/*.zip``, ``*.ndjson`` or ``*.json``, flat ``*fhir*``
=================== ========================================================================
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from medassets.ingest.quarantine import IngestError

#: source -> (patterns in the source's own folder, the folder, patterns in a flat folder, files that must all
#: be there)
_LAYOUT: dict[str, tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "phenopackets": ("phenopackets", ("*.zip", "**/*.json"), ("*phenopacket*.zip",), ()),
    "ddxplus_patients": ("ddxplus", ("release_*_patients*",), ("release_*_patients*",), ()),
    "ddxplus_knowledge": (
        "ddxplus",
        ("release_conditions.json", "release_evidences.json", "evidence_given_condition.csv"),
        ("release_conditions.json", "release_evidences.json", "evidence_given_condition.csv"),
        ("release_conditions.json", "release_evidences.json"),
    ),
    "mondo": ("mondo", ("*.zip", "*.sssom.tsv"), ("mondo*.zip", "mondo*.sssom.tsv"), ()),
    "hpo": ("hpo", ("hp.obo", "phenotype.hpoa"), ("hp.obo", "phenotype.hpoa"), ("hp.obo", "phenotype.hpoa")),
    "orphanet": ("orphanet", ("*product*.xml",), ("*_product*.xml",), ()),
    "pubmed": ("pubmed", ("*.xml", "*.xml.gz"), ("pubmed*.xml", "pubmed*.xml.gz"), ()),
    "fhir": ("fhir", ("*.zip", "**/*.ndjson", "**/*.json"), ("*fhir*.zip", "*.ndjson"), ()),
}

#: Names of the sources that a folder may hold.
SOURCES = tuple(_LAYOUT)
#: Endings of files that are not there yet, or not for reading.
_UNFINISHED = (".part", ".tmp")


@dataclass(frozen=True)
class SourceFile:
    """A file as received."""

    path: Path
    size: int
    sha256: str


def describe(path: Path) -> SourceFile:
    """Return a file's size and SHA-256.

    Raises:
        IngestError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return SourceFile(path, path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest())
    except OSError as error:
        raise IngestError(f"{path}: cannot be read: {error.strerror}") from error


def find(data_dir: Path) -> dict[str, list[Path] | None]:
    """Return the files of each source, sorted by name, without reading them; None where the folder has none.

    Raises:
        IngestError: the folder does not exist, or holds only one of two files that belong together.
    """
    if not data_dir.is_dir():
        raise IngestError(f"{data_dir} is not a folder")
    return {source: _files(data_dir, source) for source in SOURCES}


def locate(data_dir: Path) -> dict[str, list[SourceFile] | None]:
    """Return the files of each source with size and SHA-256; None where the folder has none.

    Raises:
        IngestError: see ``find``; or a file cannot be read.
    """
    found = find(data_dir)
    return {source: [describe(path) for path in paths] if paths else None for source, paths in found.items()}


def _files(data_dir: Path, source: str) -> list[Path] | None:
    folder, inside, flat, together = _LAYOUT[source]
    own = data_dir / folder
    if own.is_dir():
        paths = {path for pattern in inside for path in own.glob(pattern)}
    else:
        paths = {path for pattern in flat for path in data_dir.glob(pattern)}
    files = sorted(path for path in paths if path.is_file() and path.suffix not in _UNFINISHED)
    names = {path.name for path in files}
    missing = [name for name in together if name not in names]
    if files and missing:
        if len(missing) == len(together):
            return None  # only files that mean nothing alone
        place = own if own.is_dir() else data_dir
        raise IngestError(f"{place}: {', '.join(missing)} is missing beside {', '.join(sorted(names))}")
    return files or None
