"""The dictionary of the text matcher: names of phenotypes under keys that forgive how a phrase is written.

What belongs here: which names enter, how sure each is, and the arrays that a bundle carries. What does not:
looking for them in a text (``matcher``).

A phrase's key is the sum of its stems' numbers (``words.number_of``): 'delayed growth' meets 'growth delay'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from medassets.ingest.text import words
from medassets.ingest.text.everyday import PHRASES as EVERYDAY
from medassets.ingest.text.spanish import PHRASES as SPANISH
from medassets.knowledge.ontology import INHERITANCE, PHENOTYPIC_ABNORMALITY, Ontology

ONSET, VARIABILITY = "HP:0003674", "HP:0003812"
#: Roots of what is said of a disease rather than of a patient.
OF_DISEASES = (INHERITANCE, VARIABILITY, ONSET)

#: How sure it is that who writes the name means the term, by where the name stands.
NAME = 1.0
SCOPES = {"EXACT": 0.97, "NARROW": 0.8, "RELATED": 0.65, "BROAD": 0.6}
LAYPERSON, ABBREVIATION, DERIVED = 0.95, 0.7, 0.9
#: Names longer than this (in content words) are never written out in a note.
MAX_WORDS = 10
_ACRONYM = re.compile(r"[A-Z][A-Z0-9-]{2,6}")
#: Abbreviations of two letters mean too much else.
_SHORTEST = 3
#: Synonyms that are everyday words with other meanings far more often than the finding.
_COMMON_WORDS = frozenset(
    (
        "all",
        "fit",
        "failure",
        "disease",
        "syndrome",
        "death",
        "mass",
        "growth",
        "onset",
        "stress",
        "short",
        "small",
        "large",
        "normal",
        "lump",
        "sad",
        "stiff",
        "tall",
        "heavy",
        "slow",
        "weak",
        "order",
        "ordering",
        "fall",
        "falls",
        "imprinted",
        "imprinting",
        "jumping",
    )
)


class Entry(NamedTuple):
    """One name of one term.

    Attributes:
        term: HPO id.
        surface: the name, folded, one space between words.
        sure: between 0 and 1.
        cased: the name as it must stand, letter by letter (abbreviations), or empty.
    """

    term: str
    surface: str
    sure: float
    cased: str


class Lexicon:
    """Entries by key.

    Attributes:
        entries: key -> entries, the surest first.
        known: stems' numbers that occur in any key; a word outside ends every phrase.
        language: ``en`` or ``es``.
        stop: words that keys leave out.
        optional: words that a name may lack.
        joining: conjunctions.
        vague: words for which a name says 'abnormal'.
        abnormal: the number of that word's stem.
    """

    def __init__(self, keyed: Iterable[tuple[int, Entry]], known: Iterable[int], language: str) -> None:
        spanish = language == "es"
        self.language = language
        self.stop = words.STOP_ES if spanish else words.STOP_EN
        self.optional = words.OPTIONAL_ES if spanish else words.OPTIONAL_EN
        self.joining = words.AND_ES if spanish else words.AND_EN
        self.vague = words.VAGUE_ES if spanish else words.VAGUE_EN
        self.abnormal = words.number_of(words.stem("anomalia" if spanish else "abnormal", language))
        self.known = frozenset(known)
        self.entries: dict[int, list[Entry]] = {}
        for key, entry in keyed:
            self.entries.setdefault(key, []).append(entry)
        for entries in self.entries.values():
            entries.sort(key=lambda entry: (-entry.sure, entry.term, entry.surface))

    @classmethod
    def of(cls, entries: Iterable[Entry], language: str) -> Lexicon:
        """Key the entries; a term keeps its surest entry under each key."""
        best: dict[tuple[int, str, str], Entry] = {}
        known: set[int] = set()
        for entry in entries:
            numbers = content(entry.surface, language)
            if not numbers or len(numbers) > MAX_WORDS:
                continue
            known.update(numbers)
            place = (sum(numbers), entry.term, entry.surface)
            if place not in best or entry.sure > best[place].sure:
                best[place] = entry
        return cls(((key, entry) for (key, _, _), entry in best.items()), known, language)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The lexicon as arrays (no pickle), sorted: the same lexicon gives the same bytes."""
        rows = sorted((key, *entry) for key, entries in self.entries.items() for entry in entries)
        keys, terms, surfaces, sure, cased = zip(*rows, strict=True) if rows else ((),) * 5
        return {
            "keys": np.array(keys, dtype=np.int64),
            "sure": np.array(sure, dtype=np.float64),
            "known": np.array(sorted(self.known), dtype=np.int64),
            "rules": np.frombuffer(words.RULES, dtype=np.uint8),
            **{name: _packed(texts) for name, texts in
               (("terms", terms), ("surfaces", surfaces), ("cased", cased))},
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], language: str) -> Lexicon:
        """Rebuild from ``to_arrays``; keys made by other rules for words are made again.

        Raises:
            KeyError: an array is missing.
            ValueError: the arrays are of different lengths.
        """
        columns = (_unpacked(arrays["terms"]), _unpacked(arrays["surfaces"]), arrays["sure"].tolist(),
                   _unpacked(arrays["cased"]))  # fmt: skip
        entries = (Entry(*row) for row in zip(*columns, strict=True))
        if "rules" not in arrays or arrays["rules"].tobytes() != words.RULES:
            return cls.of(entries, language)
        keyed = zip(arrays["keys"].tolist(), entries, strict=True)
        return cls(keyed, arrays["known"].tolist(), language)


def content(phrase: str, language: str) -> list[int]:
    """Numbers of the stems of a folded phrase's words, stop words left out."""
    stop = words.STOP_ES if language == "es" else words.STOP_EN
    forms = phrase.split()
    return [
        words.number_of(words.stem(_absence(forms, i), language))
        for i, form in enumerate(forms)
        if form not in stop
    ]


def _absence(forms: list[str], i: int) -> str:
    """'Absence of X' says that X is absent; 'absence seizure' does not."""
    return "absent" if forms[i] == "absence" and forms[i + 1 : i + 2] == ["of"] else forms[i]


def surface_of(name: str) -> str:
    """The name's words, folded."""
    return " ".join(form for form in words.split(name).forms if form not in words.MARKS.values())


def english(ontology: Ontology, *, inheritance: bool = False) -> Iterator[Entry]:
    """Names, synonyms and everyday phrases of the phenotypes; with ``inheritance`` also ``OF_DISEASES``."""
    wanted = ontology.is_phenotype.copy()
    for root in OF_DISEASES if inheritance else ():
        if root in ontology.index:
            wanted |= ontology.under(root)
    for i in np.flatnonzero(wanted):
        term = ontology.terms[i]
        if term in (PHENOTYPIC_ABNORMALITY, INHERITANCE, ONSET):
            continue
        yield from _variants(term, ontology.names[i], NAME)
        for synonym in ontology.synonyms[i]:
            sure = SCOPES[synonym.scope]
            if len(synonym.text) < _SHORTEST:
                continue
            if synonym.kind == "abbreviation" or _ACRONYM.fullmatch(synonym.text):
                yield Entry(term, surface_of(synonym.text), sure * ABBREVIATION, synonym.text)
            else:
                layperson = synonym.kind == "layperson"
                yield from _variants(term, synonym.text, sure * (LAYPERSON if layperson else 1.0))
    for term, phrases in _ours(ontology, wanted, EVERYDAY):
        yield from (Entry(term, surface_of(phrase), LAYPERSON, "") for phrase in phrases)


def spanish(ontology: Ontology) -> Iterator[Entry]:
    """The Spanish phrases whose terms this release of the ontology holds."""
    for term, phrases in _ours(ontology, ontology.is_phenotype, SPANISH):
        for place, phrase in enumerate(phrases):
            yield Entry(term, surface_of(phrase), SCOPES["EXACT"] if place else NAME, "")


def _ours(
    ontology: Ontology, wanted: np.ndarray, phrases: dict[str, tuple[str, ...]]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Our own phrases by the id of the wanted term that they name."""
    ids = {ontology.names[i]: ontology.terms[i] for i in np.flatnonzero(wanted)}
    return ((ids[name], own) for name, own in phrases.items() if name in ids)


def _variants(term: str, name: str, sure: float) -> Iterator[Entry]:
    """The name, and what is left of it when words are dropped that only ontologies use."""
    surface = surface_of(name)
    if not surface or surface in _COMMON_WORDS:
        return
    yield Entry(term, surface, sure, "")
    plain = re.sub(r"\b(?:morphology|physiology|finding)\b", "", re.sub(r"\s*\([^)]*\)", "", name))
    shorter = surface_of(plain)
    if shorter != surface and len(shorter.split()) > 1:
        yield Entry(term, shorter, sure * DERIVED, "")


def _packed(texts: Iterable[str]) -> np.ndarray:
    return np.frombuffer("".join(f"{text}\n" for text in texts).encode(), dtype=np.uint8)


def _unpacked(packed: np.ndarray) -> list[str]:
    return packed.tobytes().decode().split("\n")[:-1]
