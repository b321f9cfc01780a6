"""Which ids of OMIM, Orphanet and MONDO mean the same disease, and which codes other terminologies give it.

What belongs here: reading SSSOM mapping tables and merging exact matches. What does not: opening MONDO's
release (``medassets.ingest.mondo``) and the catalogue of diseases (``medassets.cohorts.catalogue``).

Format: SSSOM TSV (Matentzoglu et al., Database 2022). Mappings: MONDO, CC0.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from medassets.knowledge.quarantine import QuarantineRow, SourceError, excerpt

SOURCE = "mondo"
EXACT = "skos:exactMatch"
IDENTITY = "identity"
#: Prefixes under which the terminologies stand here, by the prefix of the mapping file.
PREFIXES = {"Orphanet": "ORPHA", "SCTID": "SNOMEDCT", "ICD10WHO": "ICD10"}
#: Terminologies whose entries are diseases that annotations or cases use; only these are merged.
DISEASE_PREFIXES = ("OMIM", "ORPHA", "DECIPHER", "MONDO")
_CURIE = re.compile(r"^[A-Za-z][A-Za-z0-9._]*:\S+$")
_REQUIRED = ("subject_id", "predicate_id", "object_id")

MAPPINGS = pa.schema(
    [
        ("subject_id", pa.string()),
        ("subject_label", pa.string()),
        ("predicate_id", pa.string()),
        ("object_id", pa.string()),
        ("object_label", pa.string()),
        ("justification", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Conflict:
    """Exact matches that were not followed, because they would have merged two OMIM diseases."""

    disease_ids: tuple[str, ...]
    through: str
    reason: str


def normal_id(curie: str) -> str:
    """Return an id with the prefix used here, for example ``ORPHA:98249`` for ``Orphanet:98249``."""
    prefix, _, number = curie.partition(":")
    return f"{PREFIXES.get(prefix, prefix)}:{number}"


def read_sssom(path: Path | str, content: bytes | None = None) -> tuple[pa.Table, list[QuarantineRow], str]:
    """Read an SSSOM table.

    Args:
        path: file name (for messages, and to read from where ``content`` is not given).
        content: the file's bytes, when it lies in an archive.

    Returns:
        The mappings (see ``MAPPINGS``; ids with the prefixes used here), rejected rows, and the mapping set's
        version.

    Raises:
        SourceError: the file cannot be read, is not UTF-8, or lacks a required column.
    """
    try:
        content = Path(path).read_bytes() if content is None else content
        lines = content.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read as an SSSOM table in UTF-8: {error}") from error
    header = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    version = next((_version(line) for line in lines[:header] if "mapping_set_version" in line), "unknown")
    columns = lines[header].split("\t") if header < len(lines) else []
    for name in _REQUIRED:
        if name not in columns:
            raise SourceError(
                f"{path}: column {name!r} is missing; expected SSSOM with {', '.join(_REQUIRED)}"
            )
    rows: list[tuple[str | None, ...]] = []
    rejected: list[QuarantineRow] = []
    for number, record in enumerate(
        csv.DictReader(lines[header:], delimiter="\t", quoting=csv.QUOTE_NONE), header + 2
    ):
        bad = next((name for name in _REQUIRED if not _CURIE.match(record.get(name) or "")), None)
        if bad is not None:
            value = record.get(bad)
            rejected.append(
                QuarantineRow(SOURCE, str(path), number, record.get("subject_id") or None, bad, value,
                              "not a CURIE", "prefix:local, for example MONDO:0007037", excerpt(record))
            )  # fmt: skip
            continue
        rows.append(
            (normal_id(record["subject_id"]), record.get("subject_label") or None, record["predicate_id"],
             normal_id(record["object_id"]), record.get("object_label") or None,
             record.get("mapping_justification") or None)
        )  # fmt: skip
    arrays = [pa.array([row[i] for row in rows], type=field.type) for i, field in enumerate(MAPPINGS)]
    return pa.Table.from_arrays(arrays, schema=MAPPINGS), rejected, version


class Crosswalk:
    """Equivalent disease ids, each set under one canonical id.

    An OMIM id is preferred, then ORPHA, DECIPHER, MONDO; among several of a kind the smallest. Two OMIM ids
    are never
    merged: where MONDO maps one of its entries to several, none of the OMIM ids is tied to it and
        ``conflicts`` says so.

    Attributes:
        origin: ``mondo`` or ``identity`` (no mapping at hand: every id stands for itself).
        version: version of the mappings, empty for the identity.
        conflicts: exact matches that were not followed.
    """

    def __init__(self, mappings: pa.Table | None = None, version: str = "") -> None:
        """Merge the exact matches of ``mappings`` (see ``MAPPINGS``); without any this is the identity."""
        self.origin = IDENTITY if mappings is None else SOURCE
        self.version = version
        self.conflicts: list[Conflict] = []
        self._canonical: dict[str, str] = {}
        self._members: dict[str, tuple[str, ...]] = {}
        self._mondo: dict[str, str] = {}
        self._codes: dict[str, set[str]] = defaultdict(set)
        self._coded: dict[str, set[str]] = defaultdict(set)
        if mappings is not None:
            self._merge(_exact(mappings))

    @classmethod
    def identity(cls) -> Crosswalk:
        """Return the crosswalk of the bundled origin, which ties nothing to anything."""
        return cls()

    def canonical(self, disease_id: str) -> str:
        """Return the id under which a disease stands; an id that is not mapped stands for itself."""
        return self._canonical.get(normal_id(disease_id), normal_id(disease_id))

    def canonical_column(self, disease_ids: pa.ChunkedArray | pa.Array) -> pa.Array:
        """Return ``canonical`` of each id of a column; nulls stay null."""
        array = disease_ids.combine_chunks() if isinstance(disease_ids, pa.ChunkedArray) else disease_ids
        encoded = array.dictionary_encode()
        names = pa.array([self.canonical(text) for text in encoded.dictionary.to_pylist()], type=pa.string())
        return names.take(encoded.indices)

    def equivalents(self, disease_id: str) -> tuple[str, ...]:
        """Return all ids that mean the same disease, itself included, the canonical one first."""
        canonical = self.canonical(disease_id)
        return self._members.get(canonical, (canonical,))

    def mondo(self, disease_id: str) -> str | None:
        """Return the MONDO id that MONDO matches exactly to this disease, None where there is none."""
        own = normal_id(disease_id)
        return self._mondo.get(own) or self._mondo.get(self.canonical(own))

    def codes(self, disease_id: str, terminology: str) -> tuple[str, ...]:
        """Return a disease's codes in SNOMEDCT, ICD10CM, ICD10 or UMLS, sorted."""
        found = {code for member in self.equivalents(disease_id) for code in self._codes.get(member, ())}
        return tuple(sorted(code for code in found if code.startswith(f"{terminology}:")))

    def from_code(self, code: str) -> tuple[str, ...]:
        """Return the canonical ids of the diseases that a code such as ``ICD10CM:E30.1`` matches exactly."""
        return tuple(sorted({self.canonical(disease) for disease in self._coded.get(normal_id(code), ())}))

    def _merge(self, pairs: list[tuple[str, str]]) -> None:
        """Follow the exact matches, sorted, and set up the lookups."""
        partners: dict[str, set[str]] = defaultdict(set)
        edges = []
        for subject, other in pairs:
            if _prefix(subject) not in DISEASE_PREFIXES:
                continue
            if _prefix(other) not in DISEASE_PREFIXES:
                self._codes[subject].add(other)
                self._coded[other].add(subject)
                continue
            edges.append((subject, other))
            if _prefix(subject) == "MONDO":
                self._mondo.setdefault(other, subject)
            if _prefix(other) == "OMIM":
                partners[subject].add(other)
        several = {subject: found for subject, found in partners.items() if len(found) > 1}
        for subject, found in sorted(several.items()):
            self.conflicts.append(
                Conflict(tuple(sorted(found)), subject, "one entry matches several OMIM diseases")
            )
        self._unite([edge for edge in edges if not (edge[0] in several and _prefix(edge[1]) == "OMIM")])

    def _unite(self, edges: list[tuple[str, str]]) -> None:
        """Merge by union-find, never two OMIM ids in one set; OMIM edges first, so that they decide."""
        root: dict[str, str] = {}
        omim: dict[str, str] = {}

        def find(name: str) -> str:
            while root.setdefault(name, name) != name:
                root[name] = root[root[name]]
                name = root[name]
            return name

        for subject, other in sorted(edges, key=lambda edge: (_prefix(edge[1]) != "OMIM", edge)):
            for name in (subject, other):
                if find(name) == name and _prefix(name) == "OMIM":
                    omim.setdefault(name, name)
            one, two = find(subject), find(other)
            if one == two:
                continue
            if one in omim and two in omim:
                self.conflicts.append(
                    Conflict(
                        tuple(sorted((omim[one], omim[two]))),
                        other,
                        "the matches would tie two OMIM diseases",
                    )
                )
                continue
            root[two] = one
            if two in omim:
                omim[one] = omim.pop(two)
        members: dict[str, list[str]] = defaultdict(list)
        for name in sorted(root):
            members[find(name)].append(name)
        for names in members.values():
            ordered = sorted(names, key=_preference)
            self._members[ordered[0]] = tuple(ordered)
            self._canonical.update(dict.fromkeys(ordered, ordered[0]))


def _exact(mappings: pa.Table) -> list[tuple[str, str]]:
    """Return the exact matches, sorted and distinct."""
    columns: Mapping[str, Iterable[str]] = {name: mappings.column(name).to_pylist() for name in _REQUIRED}
    rows = zip(columns["subject_id"], columns["predicate_id"], columns["object_id"], strict=True)
    return sorted({(subject, other) for subject, predicate, other in rows if predicate == EXACT})


def _prefix(curie: str) -> str:
    return curie.partition(":")[0]


def _preference(curie: str) -> tuple[int, int, str]:
    """Order ids by terminology, then by number."""
    prefix, _, local = curie.partition(":")
    return DISEASE_PREFIXES.index(prefix), int(local) if local.isdigit() else 0, local


def _version(line: str) -> str:
    """Return the release date or the last word of a ``mapping_set_version`` line."""
    dated = re.search(r"\d{4}-\d{2}-\d{2}", line)
    return dated[0] if dated else line.rsplit(maxsplit=1)[-1]
