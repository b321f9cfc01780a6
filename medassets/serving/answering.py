"""One desk for all ways in: a request is answered, kept, and only then handed out.

What belongs here: what the HTTP interface and the command line both offer, over one bundle and one store.
What does not: HTTP itself (``http``) and how answers come about (``predictor``).
"""

from __future__ import annotations

import gc
import json
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.serving.bundle import MANIFEST, BundleError, latest_bundle, read_manifest
from medassets.serving.cache import AnswerCache
from medassets.serving.challenge import Contest, ShadowOutcome
from medassets.serving.predictor import Diagnoser
from medassets.serving.provenance import Node, lineage
from medassets.serving.requests import DiagnosisRequest, Feedback, RequestError, TextRequest
from medassets.serving.sealing import Sealer, read_keys
from medassets.serving.signing import pinned_keys
from medassets.serving.store import NoPredictionError, PredictionStore, Record, now
from medassets.serving.terms import TermIndex, evidence_findings, hpo_findings
from medassets.settings import Settings

logger = logging.getLogger("medassets")
#: Where an answer came from if no bento served it, for example on the command line.
NO_BENTO = "none"


@dataclass(frozen=True)
class _Asked:
    """A request, who makes it, and what was said of it where it was read from another document."""

    request: DiagnosisRequest
    actor: str
    mapped: Sequence[Mapping[str, Any]]
    unmapped: Sequence[Mapping[str, Any]]


class Desk:
    """Answers requests and keeps what it answered.

    Args:
        diagnoser: over the current bundle.
        store: keeps predictions.
        bento: tag of the bento that serves.
        bundles_dir: where earlier bundles are found, for the lineage of earlier answers.
        sealer: makes pseudonyms of patients' identifiers; without it requests with one are refused.
        cache: gives answers again to the same request.
        contest: a challenger beside the bundle.
    """

    def __init__(
        self,
        diagnoser: Diagnoser,
        store: PredictionStore,
        *,
        bento: str = NO_BENTO,
        bundles_dir: Path | None = None,
        sealer: Sealer | None = None,
        cache: AnswerCache | None = None,
        contest: Contest | None = None,
    ) -> None:
        self._cache, self.contest = cache, contest
        self.diagnoser, self.store, self.bento = diagnoser, store, bento
        self.bundles_dir, self._sealer = bundles_dir, sealer
        findings = hpo_findings(diagnoser.rare.ontology) if diagnoser.rare else []
        if diagnoser.common:
            findings += evidence_findings(CommonKnowledge.bundled())
        self.terms = TermIndex(findings)
        self.codes = diagnoser.codes
        self.model_card = diagnoser.model_card() | {"bento": bento}

    def diagnose(
        self,
        request: DiagnosisRequest,
        *,
        actor: str = "anonymous",
        mapped: Sequence[Mapping[str, Any]] = (),
        unmapped: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """Answer a request; the answer is on the disk before it is returned.

        Args:
            request: what is asked.
            actor: who asks, for the audit log.
            mapped: what of the document that the request was read from was read as something else
                (``answers.Mapped``); it stands in the answer.
            unmapped: what of that document was not used (``answers.Unmapped``); it stands in the answer.

        Raises:
            RequestError: the request cannot be answered as it stands.
            StoreError: the answer could not be kept, so it is not given.
        """
        asked = _Asked(self._pseudonymized(request), actor, mapped, unmapped)
        contest = self.contest
        if contest is None:
            return self._answered(self.diagnoser, asked, "diagnose")
        arm = contest.arm(asked.request, actor)
        chosen = contest.diagnoser if arm == "challenger" else self.diagnoser
        answer = self._answered(chosen, asked, f"diagnose {arm}", arm=arm)
        if contest.challenge.in_shadow:
            contest.in_shadow(partial(self._shadow_answer, contest, asked, answer["prediction_id"]))
        return answer

    def _shadow_answer(self, contest: Contest, asked: _Asked, beside: str) -> ShadowOutcome:
        """Let the challenger answer in nobody's sight; its answer is kept."""
        try:
            self._answered(contest.diagnoser, asked, "shadow", arm="shadow", shadow_of=beside)
        except RequestError:
            return "refused"
        return "kept"

    def _answered(self, diagnoser: Diagnoser, asked: _Asked, action: str, **versions: str) -> dict[str, Any]:
        """An answer by this diagnoser, kept under an id of its own."""
        answer = self._found(diagnoser, asked.request)
        answer["mapped"] = [*asked.mapped, *answer["mapped"]]
        answer["unmapped"] = list(asked.unmapped)
        answer["versions"] = answer["versions"] | {"arm": "champion"} | versions
        record = Record(
            answer["prediction_id"], answer["at"], answer["versions"]["bundle"], self.bento,
            # Without the text, which may name people: what was understood of it stands in the answer.
            asked.request.model_dump(mode="json", exclude_defaults=True, exclude={"text"}), answer,
        )  # fmt: skip
        self.store.append(record, actor=asked.actor, action=action)
        logger.info(
            "answered",
            extra={"prediction_id": record.prediction_id, "bundle": record.bundle, "bento": record.bento},
        )
        return answer

    def _found(self, diagnoser: Diagnoser, request: DiagnosisRequest) -> dict[str, Any]:
        """The answer from the cache, with an id and time of its own, or a new one."""
        if self._cache is None:
            return plain(diagnoser.diagnose(request, bento=self.bento))
        key = self._cache.key(diagnoser.bundle.version, self.bento, request)
        answer = self._cache.get(key)
        if answer is None:
            answer = plain(diagnoser.diagnose(request, bento=self.bento))
            self._cache.put(key, answer)
            return answer
        return answer | {"prediction_id": uuid.uuid4().hex, "at": now()}

    def _pseudonymized(self, request: DiagnosisRequest) -> DiagnosisRequest:
        if request.patient_id is None:
            return request
        if self._sealer is None:
            raise RequestError([("patient_id", "needs MEDASSETS_KEY_FILE, a key to hide it with")])
        return request.model_copy(update={"patient_id": self._sealer.pseudonym(request.patient_id)})

    def next_questions(self, request: DiagnosisRequest, n: int = 1) -> dict[str, Any]:
        """The next questions of the interview; nothing is kept.

        Raises:
            RequestError: an unknown code, or the bundle carries no interview.
        """
        found: dict[str, Any] = plain(self.diagnoser.next_questions(request, n))
        return found

    def annotate(self, request: TextRequest) -> dict[str, Any]:
        """The findings of a text; nothing is kept.

        Raises:
            RequestError: the bundle cannot read text.
        """
        return self.diagnoser.annotate(request)

    def prediction(self, prediction_id: str) -> Record:
        """A prediction as kept.

        Raises:
            NoPredictionError: there is none.
        """
        return self.store.get(prediction_id)

    def lineage(self, prediction_id: str) -> Node:
        """The chain from a prediction to its sources.

        Raises:
            NoPredictionError: no such prediction.
            BundleError: its bundle is gone.
        """
        record = self.store.get(prediction_id)
        if record.bundle == self.diagnoser.bundle.version:
            return lineage(record, self.diagnoser.bundle.manifest)
        return stored_lineage(record, self.bundles_dir)

    def feedback(self, feedback: Feedback, *, actor: str = "anonymous") -> dict[str, Any]:
        """Keep a clinician's verdict.

        Raises:
            NoPredictionError: no such prediction.
        """
        number = self.store.add_feedback(
            feedback.prediction_id, feedback.verdict, feedback.diagnosis, feedback.comment, actor=actor
        )
        return {"feedback_id": number, "prediction_id": feedback.prediction_id}


def open_desk(settings: Settings, bundle_dir: Path | None = None, *, bento: str = NO_BENTO) -> Desk:
    """The desk of this installation: the latest bundle, or the given one, and the installation's store.

    Raises:
        BundleError: there is no bundle, nobody trusted signed it, or it is not what its manifest says.
        StoreError: the store cannot be opened.
    """
    sealer = open_sealer(settings)
    directory = bundle_dir or latest_bundle(settings.bundles_dir)
    pinned_keys(settings).check(directory)
    with collector_paused():
        diagnoser = Diagnoser.load(directory)
        store = PredictionStore(store_place(settings), sealer)
        return Desk(diagnoser, store, bento=bento, bundles_dir=settings.bundles_dir, sealer=sealer)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Load a bundle without collections: it makes many objects that stay, and no walk over them frees one."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def open_sealer(settings: Settings) -> Sealer | None:
    """What seals the store, or ``None`` where the site has given no key.

    Raises:
        SealError: the key file cannot be used.
    """
    return Sealer(read_keys(settings.key_file)) if settings.key_file else None


def open_store(settings: Settings) -> PredictionStore:
    """The store of this installation, for reading.

    Raises:
        NoPredictionError: nothing was asked here yet.
        StoreError: it cannot be opened.
    """
    place = store_place(settings)
    if isinstance(place, Path) and not place.exists():
        raise NoPredictionError(f"nothing was asked yet in {settings.home}")
    return PredictionStore(place, open_sealer(settings))


def store_place(settings: Settings) -> Path | str:
    """Where predictions and audit log lie: a PostgreSQL database's address, or the SQLite file."""
    return settings.predictions_url or settings.predictions_db


def stored_lineage(record: Record, bundles_dir: Path | None) -> Node:
    """The chain of a prediction whose bundle lies in ``bundles_dir``.

    Raises:
        BundleError: it does not lie there.
    """
    directory = None if bundles_dir is None else bundles_dir / record.bundle
    if directory is None or not (directory / MANIFEST).is_file():
        raise BundleError(f"bundle {record.bundle} of prediction {record.prediction_id} is not kept any more")
    return lineage(record, read_manifest(directory))


def plain(value: Any) -> Any:
    """The same value as JSON carries it: NumPy's numbers and arrays as Python's, tuples as lists.

    Raises:
        ValueError: a number is not finite.
    """
    try:
        return json.loads(json.dumps(value, default=_plain_number, allow_nan=False))
    except ValueError as error:
        raise ValueError(f"every number of an answer is finite: {error}") from None


def _plain_number(value: object) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"an answer holds a {type(value).__name__}")
