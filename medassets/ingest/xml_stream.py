"""Large XML files element by element, in bounded memory, without entity attacks.

What belongs here: opening and walking. What does not: what the elements mean (``orphanet``, ``pubmed``).
Declared entities and external references are refused by ``defusedxml``; a DOCTYPE that only names a DTD is
allowed, and the DTD is not fetched.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, ParseError

from medassets.ingest.quarantine import IngestError


def elements(path: Path, *tags: str) -> Iterator[Element]:
    """Yield each outermost element of one of the tags, whole; it is emptied when the next one is asked for.

    Args:
        path: an XML file, gzipped where its name ends in ``.gz``.
        tags: names of the elements.

    Raises:
        IngestError: the file cannot be read, is not well-formed to its end, or declares entities.
    """
    from defusedxml.common import DefusedXmlException

    try:
        with _opened(path) as stream:
            yield from _walk(stream, frozenset(tags))
    except ParseError as error:
        line, column = error.position
        raise IngestError(f"{path.name}, line {line}, column {column}: not well-formed: {error}") from error
    except DefusedXmlException as error:
        raise IngestError(f"{path.name}: declares entities, which are refused: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        raise IngestError(f"{path.name}: cannot be read: {error}") from error


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _walk(stream: Any, tags: frozenset[str]) -> Iterator[Element]:
    from defusedxml.ElementTree import iterparse

    open_elements: list[Element] = []
    inside = 0
    events: Iterator[tuple[str, Any]] = iterparse(stream, events=("start", "end"))
    for event, element in events:
        if event == "start":
            inside += element.tag in tags
            open_elements.append(element)
            continue
        open_elements.pop()
        if element.tag in tags:
            inside -= 1
            if not inside:
                yield element
        if not inside and open_elements:
            # What has been seen is taken out of its parent: memory stays that of one element.
            open_elements[-1].remove(element)


def text_of(element: Element | None, path: str = "") -> str | None:
    """Give the text of an element, or of the first one at a path below it, with that of inner markup."""
    found = element.find(path) if element is not None and path else element
    text = " ".join("".join(found.itertext()).split()) if found is not None else ""
    return text or None
