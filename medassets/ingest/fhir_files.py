"""FHIR R4 resources in files: bundles, bulk ndjson, either of them zipped or gzipped.

What belongs here: taking resources out of files, with their place. What does not: whether a resource is valid
(``fhir_models``) and what it says (``fhir_rows``).

HL7 FHIR R4 (https://hl7.org/fhir/R4/bundle.html) and Bulk Data Access (one resource a line). A place is the
line of an ndjson file or the number of a bundle's entry; the field's path is FHIR's own, so that the sender
finds it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from medassets.ingest.archives import zip_members
from medassets.ingest.inbox import Delivery
from medassets.ingest.quarantine import IngestError, QuarantineRow

SOURCE = "fhir"
#: Endings of files that hold FHIR resources.
ENDINGS = (".json", ".ndjson", ".json.gz", ".ndjson.gz", ".zip")

Reject = Callable[[QuarantineRow], None]


class Located(NamedTuple):
    """A resource and where it stands.

    Attributes:
        file: label of the file, and of a zip ``#`` and the member's number by name.
        row: line, or number of the bundle's entry, from 1.
        place: path of the resource in the file, empty or ``Bundle.entry[n].resource.``.
        url: the entry's full URL, by which other entries of the bundle refer to it.
        resource: the resource as JSON.
    """

    file: str
    row: int
    place: str
    url: str
    resource: dict[str, Any]

    @property
    def kind(self) -> str:
        """Resource type, empty where the resource names none."""
        kind = self.resource.get("resourceType")
        return kind if isinstance(kind, str) else ""

    @property
    def id(self) -> str:
        """Logical id; of an entry that is yet to get one, its temporary one; else empty."""
        found = self.resource.get("id")
        return found if isinstance(found, str) else self.url.removeprefix("urn:uuid:")

    def rejected(self, field: str, value: str | None, reason: str, allowed: str) -> QuarantineRow:
        """Report a value of this resource; the record itself is not copied: it may name the patient."""
        return QuarantineRow(
            SOURCE, self.file, self.row, None, f"{self.place}{field}", value, reason, allowed
        )


def resources(delivery: Delivery, reject: Reject, kinds: frozenset[str] | None = None) -> Iterator[Located]:
    """Yield the resources of one file in order.

    Args:
        delivery: the file.
        reject: told of what is no resource.
        kinds: resource types that are wanted; lines that cannot hold one are not parsed.

    Raises:
        IngestError: the file as a whole cannot be read; the message names it by its label only.
    """
    for label, lines, content in _members(delivery):
        if lines:
            yield from _lines(label, content, reject, kinds)
        else:
            yield from _bundle(label, content, reject, kinds)


def _members(delivery: Delivery) -> Iterator[tuple[str, bool, bytes]]:
    """Yield label, whether it is ndjson, and content of each member of a file."""
    name = delivery.path.name.lower()
    try:
        if name.endswith(".zip"):
            members = [m for m in zip_members(delivery.path, "json") if m[0].endswith((".json", ".ndjson"))]
            for number, (member, content) in enumerate(members, start=1):
                yield f"{delivery.label}#{number}", member.endswith(".ndjson"), content
            if not members:
                raise IngestError(f"{delivery.label}: the zip holds no .json and no .ndjson")
            return
        content = delivery.path.read_bytes()
        if name.endswith(".gz"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise IngestError(f"{delivery.label}: cannot be read: {type(error).__name__}") from error
    yield delivery.label, ".ndjson" in Path(name).suffixes, content


def _lines(label: str, content: bytes, reject: Reject, kinds: frozenset[str] | None) -> Iterator[Located]:
    hints = [kind.encode() for kind in kinds] if kinds else []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip() or (hints and not any(hint in line for hint in hints)):
            continue
        resource = _parsed(label, number, line, reject)
        if resource is not None and (kinds is None or resource.get("resourceType") in kinds):
            yield Located(label, number, "", "", resource)


def _bundle(label: str, content: bytes, reject: Reject, kinds: frozenset[str] | None) -> Iterator[Located]:
    resource = _parsed(label, 1, content, reject)
    if resource is None:
        return
    if resource.get("resourceType") != "Bundle":
        if kinds is None or resource.get("resourceType") in kinds:
            yield Located(label, 1, "", "", resource)
        return
    entries = resource.get("entry", [])
    if not isinstance(entries, list):
        reject(_bad(label, 1, "Bundle.entry", "is not a list", "a list of entries"))
        return
    for number, entry in enumerate(entries, start=1):
        place = f"Bundle.entry[{number - 1}].resource"
        held = entry.get("resource") if isinstance(entry, dict) else None
        request = entry.get("request") if isinstance(entry, dict) else None
        if isinstance(request, dict) and request.get("method") == "DELETE":
            reject(_bad(label, number, place, "deletions are not carried out", "a resource"))
        elif not isinstance(held, dict):
            reject(_bad(label, number, place, "the entry holds no resource", "a resource"))
        elif kinds is None or held.get("resourceType") in kinds:
            url = entry.get("fullUrl")
            yield Located(label, number, f"{place}.", url if isinstance(url, str) else "", held)


def _parsed(label: str, number: int, text: bytes, reject: Reject) -> dict[str, Any] | None:
    """Parse one JSON object; what is none is rejected without quoting it."""
    try:
        value = json.loads(text.decode("utf-8-sig"), parse_constant=_no_constant)
        if b"\\ud" in text or b"\\uD" in text:
            # Half of a surrogate pair is valid JSON, but no text.
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno + number - 1}, column {error.colno}"
        reject(_bad(label, number, "resource", f"not JSON: {error.msg} at {place}", "a JSON object"))
        return None
    except (UnicodeError, RecursionError, ValueError) as error:
        reject(_bad(label, number, "resource", f"not JSON in UTF-8: {type(error).__name__}", "a JSON object"))
        return None
    if not isinstance(value, dict):
        reject(_bad(label, number, "resource", "is no JSON object", "a JSON object"))
        return None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _bad(label: str, number: int, field: str, reason: str, allowed: str) -> QuarantineRow:
    return QuarantineRow(SOURCE, label, number, None, field, None, reason, allowed)
