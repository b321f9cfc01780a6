"""Free text in a request: what was understood of it, and how it joins the findings given as terms.

What belongs here: from a text's findings to observed and excluded terms, and what decides conflicts.
What does not: finding phenotypes in text (``ingest.text``).

The text itself goes no further: neither log nor store holds it, only the words that were matched. A term that
the caller gave explicitly wins over the text, which a note says.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medassets.ingest.text import Finding, TextMatcher
from medassets.knowledge.ontology import Ontology
from medassets.serving.requests import MAX_FINDINGS, DiagnosisRequest, Language, RequestError

#: Part of the bundle with the matcher's dictionaries.
TEXT = "text"
_FILE = "matcher.npz"
_GIVEN = ("observed", "excluded", "unknown")


def write_matcher(ontology: Ontology, folder: Path) -> None:
    """Write the dictionaries of an ontology's names and synonyms."""
    TextMatcher.from_ontology(ontology).save(folder / _FILE)


def read_matcher(folder: Path) -> TextMatcher:
    """Read what ``write_matcher`` wrote.

    Raises:
        OSError, KeyError, ValueError: it cannot be read.
    """
    return TextMatcher.load(folder / _FILE)


def annotate(matcher: TextMatcher, text: str, language: Language) -> list[dict[str, Any]]:
    """The findings of a text in the order of their place, as ``answers.Understood`` without ``used``."""
    return [finding._asdict() | {"state": _state(finding)} for finding in matcher.find(text, language)]


def join(
    request: DiagnosisRequest, matcher: TextMatcher, ontology: Ontology
) -> tuple[DiagnosisRequest, list[dict[str, Any]], list[dict[str, str]]]:
    """Add the text's findings to the request's own.

    Args:
        request: with a text.
        matcher: for the text's language.
        ontology: the terms' order: who has focal seizures has seizures.

    Returns:
        The request with the findings that are used and without the text; all findings, each with how it is
        used; and a note on each that is not used although the text states or denies it.

    Raises:
        RequestError: nothing is understood, and nothing else is given.
    """
    understood = annotate(matcher, request.text, request.language)
    if not understood and not request.has_phenotype and not request.has_evidence:
        raise RequestError([("text", "no finding is understood in it, and none is given otherwise")])
    notes: list[dict[str, str]] = []
    terms = {name: list(getattr(request, name)) for name in _GIVEN}
    given = {ontology.resolve(term): name for name in _GIVEN for term in terms[name]}
    # What is stated comes before what is denied: a term that a text both states and denies is observed.
    for finding in sorted(understood, key=lambda finding: finding["negated"]):
        finding["used"] = None
        if finding["state"] not in ("observed", "excluded"):
            continue
        reason = _reason_against(finding, terms, given, ontology)
        if reason:
            notes.append({"field": "text", "hpo_id": finding["hpo_id"], "message": reason})
            continue
        finding["used"] = finding["state"]
        if finding["hpo_id"] not in given and finding["hpo_id"] not in terms[finding["state"]]:
            terms[finding["state"]].append(finding["hpo_id"])
    return request.model_copy(update={"text": "", **terms}), understood, notes


def _reason_against(
    finding: dict[str, Any],
    terms: dict[str, list[str]],
    given: dict[str | None, str],
    ontology: Ontology,
) -> str | None:
    """Why a finding of the text is not used, if so."""
    term, state = finding["hpo_id"], finding["state"]
    position = ontology.index.get(term)
    if position is None or not ontology.is_phenotype[position]:
        return "is no phenotypic abnormality of the bundle's ontology"
    stated = given.get(term)
    if stated is not None:
        return (
            None if stated == state else f"the text has it {state}, but it is given as {stated}, which counts"
        )
    if len(terms[state]) >= MAX_FINDINGS:
        return f"more than {MAX_FINDINGS} findings are {state}"
    if state == "excluded":
        below = _first(term in _above(other, ontology) and other for other in terms["observed"])
        return below and f"the text denies it, but {below} is observed and implies it"
    above = _first(other in _above(term, ontology) and other for other in terms["excluded"])
    return above and f"the text states it, but it implies {above}, given as excluded: that counts"


def _above(term: str, ontology: Ontology) -> set[str]:
    """Current ids of the term and all that it implies; nothing for an id that is no term."""
    used = ontology.resolve(term)
    return {ontology.terms[i] for i in ontology.ancestors(ontology.index[used])} if used else set()


def _first(found: Iterable[str | bool]) -> str | None:
    return next((str(term) for term in found if term), None)


def _state(finding: Finding) -> str:
    """One word for what the text says of the patient."""
    if finding.family:
        return "family"
    if finding.uncertain:
        return "uncertain"
    return "excluded" if finding.negated else "observed"
