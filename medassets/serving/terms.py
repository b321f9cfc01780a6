"""Search over the names of findings, tolerant of typos, accents and word order.

What belongs here: the index over HPO names and synonyms and over the common-disease evidences. What does not:
finding terms in running text (``ingest``).

Strings are compared by their letter trigrams (Dice's coefficient), the usual measure for misspelled names; a
name that begins with what was typed so far comes first.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology

#: Below this similarity a name is no longer a likely meaning of what was typed.
MIN_SIMILARITY = 0.35
MAX_QUERY = 200
#: Rewards for an exact match and for a name (or one of its words) that begins with the query.
_EXACT, _PREFIX, _WORD_PREFIX = 1.0, 0.5, 0.25
#: What is neither letter nor digit is read as a space.
_SPACED = {code: " " for code in range(128) if not chr(code).isalnum()}
_NO_HITS = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class Finding:
    """Something that can be said of a patient.

    Attributes:
        id: HPO id or evidence code.
        kind: ``hpo`` or ``evidence``.
        label: name shown, by language.
        names: all names that it is found by.
    """

    id: str
    kind: str
    label: dict[str, str]
    names: tuple[str, ...]


def hpo_findings(ontology: Ontology) -> list[Finding]:
    """The phenotypes of the ontology, with their synonyms."""
    return [
        Finding(
            ontology.terms[i],
            "hpo",
            {"en": ontology.names[i]},
            (ontology.names[i], *(synonym.text for synonym in ontology.synonyms[i])),
        )
        for i in np.flatnonzero(ontology.is_phenotype)
    ]


def evidence_findings(knowledge: CommonKnowledge) -> list[Finding]:
    """The evidences of the common conditions, in English and Spanish."""
    return [
        Finding(e.code, "evidence", {"en": e.label_en, "es": e.label_es}, (e.label_en, e.label_es))
        for e in knowledge.evidences
    ]


class TermIndex:
    """Trigram index over the names of findings."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = list(findings)
        names = [list(dict.fromkeys(map(normalize, finding.names))) for finding in self.findings]
        self._texts = [name for own in names for name in own]
        self._owner = np.repeat(np.arange(len(names)), [len(own) for own in names])
        # All names are read as one text, in letters of their own: a trigram is then a number of three digits.
        padded = [_padded(name) for name in self._texts]
        codes = _codes("".join(padded))
        self._alphabet = np.flatnonzero(np.bincount(codes))
        # A trigram that reaches from one name into the next is none.
        name_of = np.repeat(np.arange(len(padded)), [len(name) for name in padded])
        within = name_of[:-2] == name_of[2:]
        ends = np.cumsum([0, *(len(name) - 2 for name in padded)])
        found = (np.ones(ends[-1], dtype=np.int32), self._numbers(codes)[within], ends)
        postings = csr_array(found, shape=(len(padded), len(self._alphabet) ** 3)).tocsc()
        postings.sum_duplicates()
        # For each trigram, side by side, the names that hold it.
        self._postings, self._starts = postings.indices, postings.indptr
        self._size = np.bincount(self._postings, minlength=len(padded))

    def search(
        self, query: str, *, limit: int = 10, language: str = "en", kinds: Sequence[str] = ("hpo", "evidence")
    ) -> list[dict[str, Any]]:
        """Findings whose names are most like the query, best first.

        Args:
            query: what was typed; also an id.
            limit: most results.
            language: of the labels, where there is one.
            kinds: ``hpo``, ``evidence`` or both.

        Returns:
            ``{"id", "kind", "label", "matched", "similarity"}`` of each.
        """
        text = normalize(query[:MAX_QUERY])
        if not text or not self._texts:
            return []
        own = _trigrams(text)
        known = [gram for gram in self._numbers(_codes("".join(own)))[::3] if gram >= 0]
        hits = [self._postings[self._starts[gram] : self._starts[gram + 1]] for gram in known]
        shared = np.bincount(np.concatenate([_NO_HITS, *hits]), minlength=len(self._texts))
        score = 2 * shared / (self._size + len(own))
        # Only names that share many trigrams can begin with the query; the exact test is for those.
        for i in np.flatnonzero(shared >= max(1, len(own) - 2)):
            name = self._texts[i]
            if name == text:
                score[i] += _EXACT
            elif name.startswith(text):
                score[i] += _PREFIX
            elif f" {text}" in name:
                score[i] += _WORD_PREFIX
        results: list[dict[str, Any]] = []
        seen: set[int] = set()
        # Stable: equal names stand in the order of their ids.
        for i in np.argsort(-score, kind="stable"):
            if score[i] < MIN_SIMILARITY or len(results) == limit:
                break
            owner = int(self._owner[i])
            finding = self.findings[owner]
            if owner in seen or finding.kind not in kinds:
                continue
            seen.add(owner)
            results.append(
                {
                    "id": finding.id,
                    "kind": finding.kind,
                    "label": finding.label.get(language, finding.label["en"]),
                    "matched": self._texts[i],
                    "similarity": round(float(min(score[i], 1.0)), 3),
                }
            )
        return results

    def _numbers(self, codes: np.ndarray) -> np.ndarray:
        """Every three letters that follow each other as a number: int64 (n_letters - 2,), -1 for unknown."""
        base = len(self._alphabet)
        digit = np.searchsorted(self._alphabet[:-1], codes)
        known = self._alphabet[digit] == codes
        numbers = (digit[:-2] * base + digit[1:-1]) * base + digit[2:]
        return np.where(known[:-2] & known[1:-1] & known[2:], numbers, -1)


def normalize(text: str) -> str:
    """Lower case, no accents, single spaces in place of punctuation."""
    if text.isascii():
        return " ".join(text.lower().translate(_SPACED).split())
    letters = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join(
        "".join(c if c.isalnum() else " " for c in letters if not unicodedata.combining(c)).split()
    )


def _padded(name: str) -> str:
    """A name with the spaces that make its first letters count twice."""
    return f"  {name} "


def _trigrams(name: str) -> set[str]:
    padded = _padded(name)
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _codes(text: str) -> np.ndarray:
    """The code point of each letter: int64 (n_letters,)."""
    return np.frombuffer(text.encode("utf-32-le"), dtype="<u4").astype(np.int64)
