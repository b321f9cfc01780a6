"""Files of GA4GH phenopackets, version 2: one JSON a person, in a folder or a zip.

What belongs here: finding and parsing the files, and setting aside what is no phenopacket of its own. What
does not: the fields of a packet (``medassets.ingest.packets``) and the declared tables
(``medassets.cohorts.rare_cases``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.ingest.archives import zip_members
from medassets.ingest.packets import SOURCE, Packet, PacketReader
from medassets.ingest.quarantine import IngestError, QuarantineRow, excerpt
from medassets.knowledge.ontology import Ontology


@dataclass(slots=True)
class PhenopacketRead:
    """Packets that can be used, in the order of their file names, and what was set aside."""

    packets: list[Packet]
    quarantine: list[QuarantineRow]


def read_phenopackets(path: Path | str, ontology: Ontology) -> PhenopacketRead:
    """Read every phenopacket of a zip, a folder (searched in depth) or a single JSON file.

    A packet that cannot be used at all (not JSON, no id, id already taken, another version of the schema) is
    set aside whole. A bad value inside a packet is set aside alone and the rest of the packet is kept.

    Raises:
        IngestError: the path does not exist, is neither, is a corrupt zip or holds no JSON file; names the
            file.
    """
    path = Path(path)
    packets: dict[str, Packet] = {}
    digests: dict[str, bytes] = {}
    quarantine: list[QuarantineRow] = []
    for name, content in _members(path):
        try:
            document = _parse(content)
            case_id = document["id"]
            digest = hashlib.sha256(content).digest()
            if case_id in packets:
                which = "the same packet" if digests[case_id] == digest else "another packet with this id"
                reason = f"{which} stands in {packets[case_id].source_file}"
                raise _UnusableError("id", case_id, reason, "an id of its own", document)
        except _UnusableError as error:
            quarantine.append(error.row(name))
            continue
        digests[case_id] = digest
        packets[case_id] = PacketReader(document, name, ontology, quarantine).read()
    return PhenopacketRead(list(packets.values()), quarantine)


class _UnusableError(ValueError):
    """A file that gives no case."""

    def __init__(self, field: str, value: object, reason: str, allowed: str, document: object) -> None:
        super().__init__(reason)
        self._field, self._reason, self._allowed, self._document = field, reason, allowed, document
        self._value = None if value is None else str(value)

    def row(self, source_file: str) -> QuarantineRow:
        """Return the rejection of the whole file."""
        known = self._document.get("id") if isinstance(self._document, dict) else None
        case_id = known if isinstance(known, str) and known else None
        return QuarantineRow(
            SOURCE, source_file, None, case_id, self._field, self._value,
            self._reason, self._allowed, excerpt(self._document),
        )  # fmt: skip


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each JSON file, sorted by name."""
    if path.is_dir():
        files = sorted(path.rglob("*.json"), key=lambda file: file.relative_to(path).as_posix())
        if not files:
            raise IngestError(f"{path}: holds no phenopacket (*.json)")
        for file in files:
            yield file.relative_to(path).as_posix(), file.read_bytes()
    elif not path.is_file():
        raise IngestError(f"{path}: does not exist; expected a zip or a folder of phenopackets")
    elif path.suffix == ".json":
        yield path.name, path.read_bytes()
    else:
        n = 0
        for member in zip_members(path, ".json"):
            n += 1
            yield member
        if not n:
            raise IngestError(f"{path}: the archive holds no phenopacket (*.json)")


def _parse(content: bytes) -> dict[str, Any]:
    """Return the phenopacket that a file holds.

    Raises:
        _UnusableError: not JSON, not a phenopacket of version 2, or without id.
    """
    try:
        document = json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        text = content[:10_000].decode("utf-8", "replace")
        raise _UnusableError(
            "document", None, f"not valid JSON: {error}", "a complete JSON object in UTF-8", text
        ) from error
    if not isinstance(document, dict):
        kind = type(document).__name__
        raise _UnusableError("document", kind, "not a JSON object", "a phenopacket object", document)
    case_id = document.get("id")
    if not isinstance(case_id, str) or not case_id.strip():
        raise _UnusableError("id", case_id, "the packet has no id", "a non-empty text", document)
    for other in ("proband", "members"):
        if other in document:
            raise _UnusableError(
                other, None, "a family or cohort, not a phenopacket", "one phenopacket a file", document
            )
    meta = document.get("metaData")
    version = meta.get("phenopacketSchemaVersion") if isinstance(meta, dict) else None
    # Version 1 negates findings with another field: read as version 2, what was excluded would pass as
    # observed.
    if version is not None and not str(version).startswith("2"):
        raise _UnusableError(
            "metaData.phenopacketSchemaVersion", version, "another schema version", "2 or 2.x", document
        )
    return document
