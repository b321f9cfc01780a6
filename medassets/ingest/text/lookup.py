"""Looking phrases up in a lexicon: in one piece, parted by a list, and which of several to keep.

What belongs here: matches as word positions. What does not: offsets, negation and names (``matcher``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from medassets.ingest.text import words
from medassets.ingest.text.lexicon import MAX_WORDS, Entry, Lexicon
from medassets.ingest.text.words import END, MARKS, Words

#: How much less sure a match is for the way it is written.
VERBATIM, INFLECTED, REORDERED, COORDINATED, NESTED = 1.0, 0.95, 0.85, 0.8, 0.7
#: Furthest that a shared word may stand from the other part of its phrase in a list, in content words.
LIST_REACH = 6
#: Entries this close in sureness are alternatives; the match is as unsure as there are such terms.
TIE = 0.02
_OF = frozenset(("of", "in", "de", "del", "en"))

_UNKNOWN, _STOP, _MARK, _END = -1, -2, -3, -4


class Match(NamedTuple):
    """A name at some words of a text: their positions, the name, and how sure it is as written there."""

    tokens: tuple[int, ...]
    entry: Entry
    sure: float


class Passage(NamedTuple):
    """A text on its way through a lexicon.

    Attributes:
        text: as it was given.
        pieces: its words and marks.
        numbers: the number of each word's stem; negative for marks, stop words and words that no name has.
        lexicon: the names.
    """

    text: str
    pieces: Words
    numbers: list[int]
    lexicon: Lexicon

    def entries(self, tokens: Sequence[int], key: int) -> list[Entry]:
        """The names of words with a key; else those by which the same part of the body is abnormal."""
        entries, forms, vague = self.lexicon.entries, self.pieces.forms, self.lexicon.vague
        if found := entries.get(key):
            return found
        loose = [i for i in tokens if forms[i] in vague]
        if len(loose) != 1 or len(tokens) < 2 or any(forms[i] in self.lexicon.joining for i in tokens):
            return []
        return entries.get(key - self.numbers[loose[0]] + self.lexicon.abnormal, [])

    def says_abnormal(self, i: int) -> bool:
        """Whether a word says that something is wrong, and not what."""
        return self.numbers[i] == self.lexicon.abnormal or self.pieces.forms[i] in self.lexicon.vague


def number_in(form: str, lexicon: Lexicon) -> int:
    """The number of a folded word, as ``Passage.numbers`` has it."""
    if form in MARKS.values():
        return _END if form == END else _MARK
    if form in lexicon.stop:
        return _STOP
    number = words.number_of(words.stem(form, lexicon.language))
    return number if number in lexicon.known or form in lexicon.vague else _UNKNOWN


def phrases(passage: Passage) -> Iterator[Match]:
    """Names that stand in one piece; words of degree and side in between may be passed over."""
    _, pieces, numbers, lexicon = passage
    entries, optional, forms = lexicon.entries, lexicon.optional, pieces.forms
    for first, number in enumerate(numbers):
        if number < 0:
            continue
        whole, plain = number, number
        tokens = [first]
        skipped: list[int] = []
        if number in entries and (match := _match((first,), entries[number], passage, VERBATIM)):
            yield match
        for i in range(first + 1, min(len(numbers), first + 3 * MAX_WORDS)):
            number = numbers[i]
            if number == _STOP:
                continue
            extra = forms[i] in optional
            if number < 0 and not (number == _UNKNOWN and extra):
                break
            if number >= 0:
                tokens.append(i)
                whole += number
            if extra:
                skipped.append(i)
            else:
                plain += number
            if len(tokens) > MAX_WORDS:
                break
            named = passage.entries(tokens, whole) if number >= 0 else []
            if named and (match := _match(tuple(tokens), named, passage, VERBATIM)):
                yield match
                continue
            if skipped and not extra and plain in entries:
                kept = tuple(token for token in tokens if token not in skipped)
                if match := _match(kept, entries[plain], passage, INFLECTED):
                    yield match


def lists(passage: Passage) -> Iterator[Match]:
    """Names that a list has parted: 'short and broad thumbs', 'hypoplasia of the thumbs and radius'."""
    forms, numbers = passage.pieces.forms, passage.numbers
    for place, form in enumerate(forms):
        if form not in passage.lexicon.joining:
            continue
        left, right = _beside(passage, place, -1), _beside(passage, place, 1)
        if not left or not right:
            continue
        # A shared last word: each modifier before the conjunction with what follows the one after.
        for i in left[:3]:
            for head in ((right[1:2]), right[1:3], right[2:3]):
                yield from _joined((i, *head), passage, ordered=True)
        # A shared modifier before both: 'cleft lip and palate', where the part before is a name too.
        if len(left) > 1 and numbers[left[1]] + numbers[left[0]] in passage.lexicon.entries:
            yield from _joined((left[1], right[0]), passage, ordered=True)
        # A shared first word with 'of' after it: what stands after the conjunction belongs to it too.
        for i in left:
            if i + 1 < place and forms[i + 1] in _OF:
                for tail in (right[:1], right[:2]):
                    yield from _joined((i, *tail), passage, ordered=False)


def _joined(tokens: tuple[int, ...], passage: Passage, *, ordered: bool) -> Iterator[Match]:
    """The name of parted words, if there is one; ``ordered``: only with the words in the name's order."""
    entries = passage.entries(tokens, sum(passage.numbers[i] for i in tokens)) if len(tokens) > 1 else []
    if ordered and not passage.says_abnormal(tokens[-1]):  # a 'renal abnormality' is one of the kidney
        written = " ".join(passage.pieces.forms[i] for i in tokens)
        entries = [entry for entry in entries if _in_order(entry.surface, written)]
    if match := _match(tokens, entries, passage, COORDINATED):
        yield match


def _beside(passage: Passage, place: int, step: int) -> list[int]:
    """Words beside a conjunction, nearest first: before it as far as its list goes, after it one phrase."""
    numbers, forms = passage.numbers, passage.pieces.forms
    found: list[int] = []
    i = place + step
    while 0 <= i < len(numbers) and len(found) < LIST_REACH and abs(i - place) <= 3 * LIST_REACH:
        if numbers[i] == _END or (step > 0 and numbers[i] in (_MARK, _UNKNOWN)):
            break
        if step > 0 and found and numbers[i] == _STOP:
            break
        if numbers[i] >= 0 and forms[i] not in passage.lexicon.joining:
            found.append(i)
            if step < 0 and passage.says_abnormal(i):
                break  # what is before belongs to it
        elif step < 0 and numbers[i] == _UNKNOWN:
            break
        i += step
    return found


def _match(tokens: tuple[int, ...], entries: list[Entry], passage: Passage, way: float) -> Match | None:
    """The surest entry for the words, and how sure it is as written here; None if none fits."""
    pieces = passage.pieces
    written = " ".join(pieces.forms[tokens[0] : tokens[-1] + 1])
    best: Entry | None = None
    best_sure = 0.0
    rivals = 0
    for entry in entries:
        if entry.cased:
            as_written = passage.text[pieces.starts[tokens[0]] : pieces.ends[tokens[-1]]]
            if as_written not in (entry.cased, f"{entry.cased}s"):
                continue
            factor = 1.0
        elif entry.surface == written:
            factor = VERBATIM
        elif len(tokens) == 1 and not words.inflected(written, entry.surface):
            continue
        elif way == COORDINATED:
            factor = COORDINATED
        else:
            factor = min(way, INFLECTED if _in_order(entry.surface, written) else REORDERED)
        sure = entry.sure * factor
        if sure > best_sure + TIE:
            best, best_sure, rivals = entry, sure, 1
        elif best is not None and entry.term != best.term and sure > best_sure - TIE:
            rivals += 1
    return None if best is None else Match(tokens, best, best_sure / rivals)


def _in_order(surface: str, written: str) -> bool:
    """Whether the phrase begins as the name does: the words' first letters, in order."""
    ones, others = surface.split(), written.split()
    return ones[0][:3] == others[0][:3] and ones[-1][:3] == others[-1][:3]


def chosen(matches: list[Match], nested: bool) -> list[Match]:
    """The longest matches that do not overlap; a list's parts share words but each has its own."""
    taken: set[int] = set()
    kept: list[Match] = []
    order = sorted(matches, key=lambda m: (_parted(m), -len(m.tokens), -m.sure, m.tokens, m.entry.term))
    for match in order:
        own = [token for token in match.tokens if token not in taken]
        inner = nested and not own and not _parted(match)
        if len(own) == len(match.tokens) or (_parted(match) and own) or inner:
            taken.update(match.tokens)
            kept.append(match._replace(sure=match.sure * NESTED) if inner else match)
    return sorted(kept, key=lambda match: (match.tokens, match.entry.term))


def _parted(match: Match) -> bool:
    """Whether a list stands between the words of a match."""
    return match.sure <= COORDINATED and match.tokens[-1] - match.tokens[0] >= len(match.tokens)
