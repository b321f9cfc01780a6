"""PubMed's XML: case reports that name a disease of the catalogue, without retracted ones.

What belongs here: reading baseline, update and E-utilities files, and choosing articles. What does not:
fetching (``pubmed_search``) and phenotypes (``notes``). Format: PubMed DTD
(https://dtd.nlm.nih.gov/ncbi/pubmed/doc/out/250101/index.html).

Files are read in the order of their names: an article of a later file replaces an earlier one, and
``DeleteCitation`` removes it. Retracted is what says so itself (publication type, or a note of its
retraction) and what a notice of retraction names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from medassets.ingest.quarantine import QuarantineRow
from medassets.ingest.text import words
from medassets.ingest.xml_stream import elements, text_of

SOURCE = "pubmed"
ENDINGS = (".xml", ".xml.gz")
CASE_REPORT, RETRACTED = "Case Reports", "Retracted Publication"
_SPANISH = "spa"
#: Names of one word are taken only if they are this long: shorter ones are abbreviations and words.
_SHORTEST_WORD = 7
_NUMBERED = re.compile(r"[ ,]+(?:type )?(?:\d+[a-z]?|[ivx]+)$")


@dataclass
class Reports:
    """Case reports by the columns of ``clinical/case_reports``, and how many articles were seen of each kind.

    Attributes:
        rows: the reports, by PMID.
        counts: articles, case reports, what was left out and why, and what was kept.
        rejected: articles that cannot be read.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    rejected: list[QuarantineRow] = field(default_factory=list)


class DiseaseNames:
    """Finds names of diseases in a text, longest first, whole words.

    Args:
        names: pairs of a disease's id and one of its names; a name that several diseases share means all of
            them, and one with a number at its end ("type 2") is also known without it.
    """

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        self._ids: dict[tuple[str, ...], set[str]] = {}
        for disease, name in names:
            for part in name.split(";"):
                plain = part.strip().lower()
                for form in {plain, _NUMBERED.sub("", plain)}:
                    key = _words(form)
                    if len(key) > 1 or (key and len(key[0]) >= _SHORTEST_WORD):
                        self._ids.setdefault(key, set()).add(disease)
        self._longest: dict[str, int] = {}
        for key in self._ids:
            self._longest[key[0]] = max(len(key), self._longest.get(key[0], 0))

    def find(self, text: str) -> list[str]:
        """Give the ids of the diseases that a text names, sorted."""
        found: set[str] = set()
        forms = _words(text)
        at = 0
        while at < len(forms):
            for length in range(min(self._longest.get(forms[at], 0), len(forms) - at), 0, -1):
                ids = self._ids.get(forms[at : at + length])
                if ids:
                    found |= ids
                    at += length - 1
                    break
            at += 1
        return sorted(found)


def read_reports(paths: Iterable[Path], diseases: DiseaseNames) -> Reports:
    """Read case reports from PubMed XML files.

    Args:
        paths: files, gzipped or not.
        diseases: the catalogue's diseases by name.

    Raises:
        IngestError: a file is not well-formed XML.
    """
    kept: dict[str, dict[str, Any]] = {}
    retracted: set[str] = set()
    found = Reports()
    counts = dict.fromkeys(("articles", "case reports", "no abstract", "no disease of the catalogue"), 0)
    for path in sorted(paths):
        for number, element in enumerate(elements(path, "PubmedArticle", "DeleteCitation"), start=1):
            if element.tag == "DeleteCitation":
                for deleted in element.iterfind("PMID"):
                    kept.pop(f"PMID:{text_of(deleted)}", None)
                continue
            counts["articles"] += 1
            citation = element.find("MedlineCitation")
            pmid = text_of(citation, "PMID")
            if citation is None or pmid is None or not pmid.isdigit():
                found.rejected.append(_no_pmid(path, number, pmid))
                continue
            kept.pop(f"PMID:{pmid}", None)
            retracted |= _retracted(citation, pmid)
            if CASE_REPORT not in _types(citation):
                continue
            counts["case reports"] += 1
            row = _report(citation, pmid)
            if row is None:
                counts["no abstract"] += 1
                continue
            row["disease_ids"] = diseases.find(f"{row['title']}\n{row['abstract']}")
            if not row["disease_ids"]:
                counts["no disease of the catalogue"] += 1
                continue
            kept[row["pmid"]] = row | {"origin": SOURCE, "source_file": path.name}
    found.rows = [row for pmid, row in sorted(kept.items()) if pmid not in retracted]
    found.counts = {**counts, "retracted": len(kept) - len(found.rows), "kept": len(found.rows)}
    return found


def text_read(row: Mapping[str, Any]) -> str:
    """Give the text of a report that phenotypes are found in; their offsets count in it."""
    return f"{row['title']}\n{row['abstract']}"


def _no_pmid(path: Path, number: int, value: str | None) -> QuarantineRow:
    return QuarantineRow(SOURCE, path.name, number, None, "PMID", value, "is no number", "a PubMed id")


def _types(citation: Element) -> list[str]:
    found = citation.iterfind("Article/PublicationTypeList/PublicationType")
    return [name for name in map(text_of, found) if name]


def _retracted(citation: Element, pmid: str) -> set[str]:
    """Give the ids of what an article says to be retracted: itself, or what it is a notice of."""
    found = {f"PMID:{pmid}"} if RETRACTED in _types(citation) else set()
    for note in citation.iterfind("CommentsCorrectionsList/CommentsCorrections"):
        kind, other = note.get("RefType"), text_of(note, "PMID")
        if kind == "RetractionIn":
            found.add(f"PMID:{pmid}")
        elif kind == "RetractionOf" and other:
            found.add(f"PMID:{other}")
    return found


def _report(citation: Element, pmid: str) -> dict[str, Any] | None:
    """Give the columns of a report; None where it has no abstract that can be read."""
    article = citation.find("Article")
    abstract, language = _abstract(article, "Abstract"), "en"
    if abstract is None:
        spanish = (o for o in citation.iterfind("OtherAbstract") if o.get("Language") == _SPANISH)
        abstract, language = next((_sections(other) for other in spanish), None), "es"
    title = text_of(article, "ArticleTitle") or text_of(article, "VernacularTitle")
    if abstract is None or title is None:
        return None
    date = text_of(article, "Journal/JournalIssue/PubDate/Year") or text_of(
        article, "Journal/JournalIssue/PubDate/MedlineDate"
    )
    year = re.match(r"\d{4}", date or "")
    return {
        "pmid": f"PMID:{pmid}",
        "title": title,
        "abstract": abstract,
        "language": language,
        "year": int(year.group()) if year else None,
        "journal": text_of(article, "Journal/Title"),
        "publication_types": _types(citation),
    }


def _abstract(article: Element | None, name: str) -> str | None:
    found = article.find(name) if article is not None else None
    return _sections(found) if found is not None else None


def _sections(abstract: Element) -> str | None:
    """Give an abstract's sections, a line each; a section's label stays before it."""
    lines = []
    for section in abstract.iterfind("AbstractText"):
        text, label = text_of(section), section.get("Label")
        if text:
            lines.append(f"{label}: {text}" if label else text)
    return "\n".join(lines) or None


def _words(text: str) -> tuple[str, ...]:
    """Give the words of a text, folded, without punctuation."""
    return tuple(_folded(text))


def _folded(text: str) -> Iterator[str]:
    marks = set(words.MARKS.values())
    return (form for form in words.split(text).forms if form not in marks)
