"""Identifiers taken out of free text: what the patient's own record names, and what looks like a contact.

What belongs here: removal of known names, addresses, contacts and identifiers, and of e-mail addresses,
telephone numbers and web addresses by their form. What does not: recognizing names of people whom the record
does not name; notes remain personal data, kept under pseudonyms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from medassets.ingest.fhir_values import maps, texts

#: What stands in place of an identifier.
MARK = "[removed]"
#: Shorter parts of names are words or initials.
_SHORTEST = 2
_TITLES = frozenset(
    {"dr", "mr", "mrs", "ms", "miss", "prof", "jr", "sr", "md", "phd", "de", "la", "van", "von"}
)
_FORMS = (
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    r"https?://\S+",
    r"\b\d{3}-\d{2}-\d{4}\b",
    r"(?<![\w.])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)|\d{3,4})[ .-]\d{3}[ .-]\d{3,4}(?![\w.])",
)


class Redactor:
    """Removes given identifiers, whole words, whatever their case.

    Args:
        identifiers: names and other identifiers; names are removed part by part.
    """

    def __init__(self, identifiers: Iterable[str]) -> None:
        words = {part for text in identifiers for part in _parts(text)}
        ordered = sorted(words, key=lambda word: (-len(word), word))
        known = [rf"(?<!\w){re.escape(word)}(?!\w)" for word in ordered]
        self._pattern = re.compile("|".join([*_FORMS, *known]), re.IGNORECASE)

    def clean(self, text: str) -> tuple[str, int]:
        """Give the text without identifiers, and how many places were changed."""
        return self._pattern.subn(MARK, text)


def identifiers_of(patient: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a Patient resource names its patient and relatives by."""
    people = [patient, *maps(patient.get("contact"))]
    for person in people:
        for name in maps(person.get("name")):
            for field in ("text", "family", "given"):
                yield from texts(name.get(field))
        for contact in maps(person.get("telecom")):
            yield from texts(contact.get("value"))
        for address in maps(person.get("address")):
            for field in ("text", "line", "city", "postalCode"):
                yield from (f"={text}" for text in texts(address.get(field)))
    for identifier in maps(patient.get("identifier")):
        yield from (f"={text}" for text in texts(identifier.get("value")))
    for extension in maps(patient.get("extension")):
        if str(extension.get("url", "")).endswith("MaidenName"):
            yield from texts(extension.get("valueString"))


def displays_of(resource: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names by which a resource calls its patient and its authors."""
    for field in ("subject", "author", "authenticator"):
        for found in maps(resource.get(field)):
            yield from texts(found.get("display"))


def _parts(text: str) -> Iterator[str]:
    """Yield what is removed for one identifier: the whole if marked by ``=``, else each part that names."""
    if text.startswith("="):
        yield text[1:]
        return
    for part in re.split(r"[\s,;]+", text):
        word = part.strip(".'\"()")
        if len(word) >= _SHORTEST and word.lower() not in _TITLES:
            yield word
