"""Phenotypes in clinical text by dictionary: where, which term, how sure, and whether denied.

What belongs here: looking phrases up and choosing among them. What does not: what counts as the same word
(``words``), the names (``lexicon``) and negation (``context``).

A phrase matches a name when both have the same stems in any order; the longest match wins, and lists that
share a word are taken apart ('short and broad thumbs'). No model is involved: the same text gives the same
findings. Signatures of words, whatever their order, follow FastHPOCR (Groza et al. 2024).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from medassets.ingest.text import words
from medassets.ingest.text.context import CONTEXTS
from medassets.ingest.text.lexicon import Lexicon, english, spanish
from medassets.ingest.text.lookup import Passage, chosen, lists, number_in, phrases
from medassets.knowledge.ontology import Ontology

LANGUAGES = ("en", "es")
_CACHE = 200_000


class Finding(NamedTuple):
    """A phenotype in a text.

    Attributes:
        hpo_id: the term.
        name: its preferred name in the ontology (English).
        start: offset of the first character.
        end: offset after the last; ``text[start:end]`` is ``text`` below.
        text: the words as written; of a list's shared word everything between.
        negated: the sentence denies it.
        uncertain: the sentence leaves it open (possible, suspected, to be ruled out).
        family: said of a relative.
        confidence: between 0 and 1, that the phrase means the term.
    """

    hpo_id: str
    name: str
    start: int
    end: int
    text: str
    negated: bool
    uncertain: bool
    family: bool
    confidence: float

    @property
    def observed(self) -> bool:
        """Whether the text says that the patient has it."""
        return not (self.negated or self.uncertain or self.family)


class TextMatcher:
    """Finds phenotypes in English and Spanish text."""

    def __init__(self, lexicons: dict[str, Lexicon], names: dict[str, str]) -> None:
        self.lexicons = lexicons
        self.names = names
        self._numbers: dict[str, dict[str, int]] = {language: {} for language in lexicons}

    @classmethod
    def from_ontology(cls, ontology: Ontology, *, inheritance: bool = False) -> TextMatcher:
        """Build the dictionaries from the ontology's names and synonyms and our own Spanish phrases.

        Args:
            ontology: names and synonyms, with their scopes.
            inheritance: find modes of inheritance, variability and onset too (for corpora: they are said of
                diseases).
        """
        lexicons = {
            "en": Lexicon.of(english(ontology, inheritance=inheritance), "en"),
            "es": Lexicon.of(spanish(ontology), "es"),
        }
        found = {
            entry.term for lexicon in lexicons.values() for rows in lexicon.entries.values() for entry in rows
        }
        return cls(lexicons, {term: ontology.names[ontology.index[term]] for term in sorted(found)})

    def save(self, path: Path) -> None:
        """Write one ``.npz`` without pickle."""
        arrays = {
            f"{language}_{name}": array
            for language, lexicon in self.lexicons.items()
            for name, array in lexicon.to_arrays().items()
        }
        labels = [f"{term}\t{name}\n" for term, name in sorted(self.names.items())]
        with path.open("wb") as file:
            arrays["labels"] = np.frombuffer("".join(labels).encode(), np.uint8)
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> TextMatcher:
        """Read what ``save`` wrote.

        Raises:
            OSError: the file cannot be read.
            KeyError: an array is missing.
        """
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        lexicons = {
            language: Lexicon.from_arrays(
                {
                    k.removeprefix(f"{language}_"): v
                    for k, v in arrays.items()
                    if k.startswith(f"{language}_")
                },
                language,
            )
            for language in LANGUAGES
        }
        lines = arrays["labels"].tobytes().decode().split("\n")[:-1]
        return cls(lexicons, dict(line.split("\t", 1) for line in lines))

    def find(self, text: str, language: str = "en", *, nested: bool = False) -> list[Finding]:
        """The phenotypes in a text, in the order of their place.

        Args:
            text: any text; offsets refer to it as given.
            language: ``en`` or ``es``.
            nested: also the names inside longer ones that end as they do ('hearing loss' in 'severe hearing
                loss'), as annotated corpora have them; the longer one implies them in most cases.

        Raises:
            ValueError: another language.
        """
        if language not in self.lexicons:
            raise ValueError(f"language is {language!r}; known are {', '.join(self.lexicons)}")
        lexicon = self.lexicons[language]
        pieces = words.split(text)
        passage = Passage(text, pieces, self._numbered(pieces.forms, lexicon), lexicon)
        matches = chosen([*phrases(passage), *lists(passage)], nested)
        if not matches:
            return []
        context = CONTEXTS[language]
        cues = context.cues(pieces.forms)
        inside = frozenset(token for match in matches for token in match.tokens)
        findings = []
        for match in matches:
            first, last = match.tokens[0], match.tokens[-1]
            flags = context.flags(pieces.forms, cues, first, last + 1, inside)
            start, end = pieces.starts[first], pieces.ends[last]
            findings.append(
                Finding(match.entry.term, self.names[match.entry.term], start, end, text[start:end], *flags,
                        round(match.sure, 3))
            )  # fmt: skip
        return findings

    def _numbered(self, forms: list[str], lexicon: Lexicon) -> list[int]:
        """The number of each word's stem, or what it is instead (negative)."""
        cache = self._numbers[lexicon.language]
        if len(cache) > _CACHE:
            cache.clear()  # words come from outside: the memory is bounded
        numbers = []
        for i, form in enumerate(forms):
            number = cache.get(form)
            if number is None:
                number = cache[form] = number_in(form, lexicon)
            if form == "absence" and forms[i + 1 : i + 2] == ["of"]:
                number = number_in("absent", lexicon)
            numbers.append(number)
        return numbers
