"""Texts to phenotypes: the text matcher over tables of notes and of abstracts.

What belongs here: one row a finding, for any text. What does not: finding (``ingest.text``) and which texts
(``fhir``, ``pubmed``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medassets.ingest.text import TextMatcher


def phenotypes_in(matcher: TextMatcher, text: str, language: str) -> Iterator[dict[str, Any]]:
    """Yield what a text names, in order, each term once at each place."""
    seen: set[tuple[str, int, int]] = set()
    for found in matcher.find(text, language):
        place = (found.hpo_id, found.start, found.end)
        if place not in seen:
            seen.add(place)
            yield found._asdict()
