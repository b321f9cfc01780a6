"""From a request to an answer: the bundle's models side by side, each finding checked against what they know.

What belongs here: checking terms and codes, asking the models, and stating what decided the answer. What does
not: scoring (``rare``, ``common``), the interview (``inquiry``), keeping and sending (``answering``,
``http``).

An unknown id or a contradiction is an error that names the field; obsolete and alternative HPO ids are read
as their successors, and the answer lists them.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from medassets.features.common import EvidenceError, EvidenceSpace
from medassets.ingest.text import TextMatcher
from medassets.knowledge.ontology import Ontology
from medassets.serving.answers import NOTICE
from medassets.serving.bundle import Bundle, BundleError, load_bundle
from medassets.serving.crosswalk import CodeMap
from medassets.serving.requests import DiagnosisRequest, Language, RequestError, TextRequest
from medassets.serving.store import now
from medassets.serving.text import TEXT, annotate, join, read_matcher

T = TypeVar("T")

#: Parts that the predictor knows how to read; a bundle has at least one of the first two.
RARE, COMMON, INQUIRY, CARDS, CROSSWALK = "rare", "common", "inquiry", "cards", "crosswalk"
_IDENTIFIER = re.compile(r"[A-Z]{1,10}[:_]\d{1,10}(_@_[A-Za-z0-9_]{1,10})?")
_NO_PART = "the bundle carries no model for this"


class RareModel(Protocol):
    """What is asked of the rare-disease ranker."""

    ontology: Ontology

    def answer(
        self, observed: list[str], excluded: list[str], age_days: float | None, sex: str, top: int
    ) -> dict[str, Any]:
        """Differential as in ``answers.RareAnswer``."""


class CommonModel(Protocol):
    """What is asked of the common-disease ensemble."""

    space: EvidenceSpace

    def answer(
        self,
        evidence: list[str],
        unknown: list[str],
        absent: list[str] | None,
        age: float | None,
        sex: str,
        top: int,
    ) -> dict[str, Any]:
        """Differential as in ``answers.CommonAnswer``; ``absent=None`` means that all else is absent."""


class Interviewer(Protocol):
    """What is asked of the inquiry."""

    def next_questions(
        self,
        present: list[str],
        absent: list[str],
        unknown: list[str],
        age: float | None,
        sex: str,
        language: Language,
        n: int,
    ) -> dict[str, Any]:
        """Next questions and whether to stop."""


class Diagnoser:
    """Answers requests from one bundle. Holds no state of any request; safe for threads.

    Args:
        bundle: verified.
        rare: ranker, or ``None`` where the bundle has none.
        common: ensemble, or ``None``.
        inquiry: interview, or ``None``.
        codes: from other terminologies' codes to HPO; without it only HPO's own are known.
        matcher: finds phenotypes in text; without it requests with a text are refused.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        rare: RareModel | None = None,
        common: CommonModel | None = None,
        inquiry: Interviewer | None = None,
        codes: CodeMap | None = None,
        matcher: TextMatcher | None = None,
    ) -> None:
        if rare is None and common is None:
            raise BundleError(f"bundle {bundle.version} carries neither a rare nor a common model")
        self.codes, self.matcher = codes or CodeMap(), matcher
        self.bundle, self.rare, self.common, self.inquiry = bundle, rare, common, inquiry
        manifest = bundle.manifest
        self._versions = {
            "bundle": manifest.version,
            "models": manifest.model_versions(),
            "data": manifest.data_versions(),
            "hpo": rare.ontology.version if rare else None,
        }
        self._origin = {
            part: sorted({o for m in manifest.models if m.name.startswith(part) for o in m.training_origin})
            for part, model in ((RARE, rare), (COMMON, common))
            if model is not None
        }

    @classmethod
    def load(cls, directory: Path) -> Diagnoser:
        """Verify a bundle and load its models.

        Raises:
            BundleError: the bundle is not what its manifest says, or has no model.
        """
        return cls.of(load_bundle(directory))

    @classmethod
    def of(cls, bundle: Bundle) -> Diagnoser:
        """Load the models of a verified bundle.

        Raises:
            BundleError: it has no model, or a part was written by a version that this one cannot read.
        """
        rare: RareModel | None = None
        common: CommonModel | None = None
        inquiry: Interviewer | None = None
        parts = bundle.manifest.parts
        if RARE in parts:
            from medassets.serving.rare import RarePredictor

            rare = _read(bundle, RARE, RarePredictor.load)
        if COMMON in parts:
            from medassets.serving.common import CommonPredictor

            common = _read(bundle, COMMON, CommonPredictor.load)
        if INQUIRY in parts:
            from medassets.serving.inquiry import Inquiry

            inquiry = _read(bundle, INQUIRY, Inquiry.load)
        codes = CodeMap.load(bundle.part(CROSSWALK)) if CROSSWALK in parts else None
        matcher = _read(bundle, TEXT, read_matcher) if TEXT in parts else None
        return cls(bundle, rare=rare, common=common, inquiry=inquiry, codes=codes, matcher=matcher)

    def rehearse(self) -> None:
        """Answer once, for nobody: what the models make at their first use is there before a patient waits.

        Raises:
            BundleError: it cannot answer.
        """
        try:
            if self.rare is not None:
                ontology = self.rare.ontology
                term = ontology.terms[int(ontology.is_phenotype.argmax())]
                self.rare.answer([term], [], None, "unknown", 1)
            if self.common is not None:
                self.common.answer([], [], [], None, "unknown", 1)
        except (ValueError, TypeError, LookupError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise BundleError(f"bundle {self.bundle.version} cannot answer: {reason}") from error

    def diagnose(self, request: DiagnosisRequest, *, bento: str = "none") -> dict[str, Any]:
        """Answer a request.

        Args:
            request: checked in shape.
            bento: tag of the bento that serves.

        Returns:
            As ``answers.Answer``, ready for JSON.

        Raises:
            RequestError: nothing to go by, an unknown term or code, or findings that contradict each other.
        """
        understood: list[dict[str, Any]] = []
        notes: list[dict[str, str]] = []
        if request.text:
            if self.matcher is None or self.rare is None:
                raise RequestError([("text", _NO_PART)])
            request, understood, notes = join(request, self.matcher, self.rare.ontology)
        if not request.has_phenotype and not request.has_evidence:
            raise RequestError(
                [("observed", "nothing to go by: give HPO terms here, or answers in evidence")]
            )
        answer: dict[str, Any] = {
            "prediction_id": uuid.uuid4().hex,
            "at": now(),
            "notice": NOTICE[request.language],
            "rare": None,
            "common": None,
            "not_answered": {},
            "mapped": [],
            "unmapped": [],
            "understood": understood,
            "notes": notes,
            "training_origin": {},
            "versions": self._versions | {"bento": bento},
        }
        self._answer_rare(request, answer)
        self._answer_common(request, answer)
        return answer

    def annotate(self, request: TextRequest) -> dict[str, Any]:
        """The findings of a text, as ``answers.Annotation``.

        Raises:
            RequestError: the bundle carries no dictionaries.
        """
        if self.matcher is None:
            raise RequestError([("text", _NO_PART)])
        findings = annotate(self.matcher, request.text, request.language)
        return {"findings": findings, "notice": NOTICE[request.language]}

    def next_questions(self, request: DiagnosisRequest, n: int = 1) -> dict[str, Any]:
        """The questions that would tell most, given what is known.

        Raises:
            RequestError: an unknown code or a contradiction, or the bundle carries no interview.
        """
        from medassets.features.inquiry import InquiryInputError

        if self.inquiry is None:
            raise RequestError([("evidence", _NO_PART)])
        evidence = request.evidence
        try:
            found = self.inquiry.next_questions(
                evidence.present, evidence.absent, evidence.unknown, request.age_years, request.sex,
                request.language, n,
            )  # fmt: skip
        except InquiryInputError as error:
            raise RequestError([("evidence", str(error))]) from error
        return found | {"notice": NOTICE[request.language], "versions": self._versions}

    def model_card(self) -> dict[str, Any]:
        """What the bundle's models are, learned from what, measured how; with the cards that it carries."""
        manifest = self.bundle.manifest.model_dump(mode="json", exclude={"files"})
        cards: dict[str, Any] = {}
        if CARDS in self.bundle.manifest.parts:
            for path in sorted(self.bundle.part(CARDS).rglob("*")):
                if path.suffix == ".json":
                    cards[path.stem] = json.loads(path.read_text(encoding="utf-8"))
                elif path.suffix == ".md":
                    cards[f"{path.stem}.md"] = path.read_text(encoding="utf-8")
        return {"notice": NOTICE["en"], "manifest": manifest, "cards": cards}

    def _answer_rare(self, request: DiagnosisRequest, answer: dict[str, Any]) -> None:
        if not request.has_phenotype:
            answer["not_answered"][RARE] = "no HPO terms given"
            return
        if self.rare is None:
            answer["not_answered"][RARE] = _NO_PART
            return
        observed, excluded = self._phenotype(request, answer["mapped"], self.rare.ontology)
        answer[RARE] = self.rare.answer(observed, excluded, request.age, request.sex, request.top)
        answer["training_origin"][RARE] = self._origin[RARE]

    def _answer_common(self, request: DiagnosisRequest, answer: dict[str, Any]) -> None:
        if not request.has_evidence:
            answer["not_answered"][COMMON] = "no evidence codes given"
            return
        if self.common is None:
            answer["not_answered"][COMMON] = _NO_PART
            return
        evidence = request.evidence
        absent = None if evidence.complete else evidence.absent
        try:
            # Said to be complete: what is named as absent is absent already, but must be known and
            # consistent.
            self.common.space.validate(evidence.present, evidence.unknown, evidence.absent)
            answer[COMMON] = self.common.answer(
                evidence.present, evidence.unknown, absent, request.age_years, request.sex, request.top
            )
        except EvidenceError as error:
            field = {"evidence": "present"}.get(error.field, error.field)
            field = field if field in ("age", "sex") else f"evidence.{field}"
            shown = _shown(error.value)
            # The reason quotes the value: where that is not repeated, neither is the reason.
            reason = error.reason if shown == str(error.value) else "no such evidence or value"
            allowed = f"; {error.allowed}" if error.allowed else ""
            raise RequestError([(field, f"{shown}: {reason}{allowed}")]) from error
        answer["training_origin"][COMMON] = self._origin[COMMON]

    def _phenotype(
        self, request: DiagnosisRequest, mapped: list[dict[str, str]], ontology: Ontology
    ) -> tuple[list[str], list[str]]:
        """Current ids of the observed and excluded terms."""
        problems: list[tuple[str, str]] = []
        found: dict[str, list[str]] = {"observed": [], "excluded": [], "unknown": []}
        for field, kept in found.items():
            for position, given in enumerate(getattr(request, field)):
                used = ontology.resolve(given)
                name = ontology.names[ontology.index[used]] if used else ""
                place = f"{field}[{position}]"
                if used is None:
                    problems.append((place, f"{_shown(given)} is no term of HPO {ontology.version}"))
                elif not ontology.is_phenotype[ontology.index[used]]:
                    problems.append((place, f"{given} ({name}) is no phenotypic abnormality"))
                else:
                    kept.append(used)
                    if used != given:
                        reason = f"obsolete or alternative id of {name}"
                        mapped.append({"field": place, "given": given, "used": used, "reason": reason})
        observed, excluded = (list(dict.fromkeys(found[field])) for field in ("observed", "excluded"))
        problems += _contradictions(ontology, observed, excluded)
        if problems:
            raise RequestError(problems)
        return observed, excluded


def _read(bundle: Bundle, part: str, load: Callable[[Path], T]) -> T:
    """Load a part whose bytes are as the manifest says, but whose format may be another version's."""
    try:
        return load(bundle.part(part))
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BundleError(
            f"bundle {bundle.version}: this version cannot read part {part!r}: {reason}"
        ) from error


def _shown(value: object) -> str:
    """An identifier as given; anything else is not repeated, for it may be a patient's name."""
    return str(value) if _IDENTIFIER.fullmatch(str(value)) else "this value"


def _contradictions(ontology: Ontology, observed: list[str], excluded: list[str]) -> list[tuple[str, str]]:
    """Excluded terms that an observed one implies: who has focal seizures has seizures."""
    denied = {ontology.index[term] for term in excluded}
    return [
        ("excluded", f"{ontology.terms[i]} ({ontology.names[i]}) is implied by observed {term}")
        for term in observed
        for i in sorted(ontology.ancestors(ontology.index[term]) & denied)
    ]
