"""Routes that follow hospital standards: GA4GH phenopackets, HL7 FHIR R4, CDS Hooks 2.0.

What belongs here: paths, media types and status codes of those standards, and in which form an answer is
wanted. What does not: reading and writing their documents (``phenopacket``, ``fhir``, ``fhir_answer``,
``cds``).

An answer comes as FHIR where the parameter ``answer_as`` names a resource, or where the header ``Accept``
names FHIR's media type and not plain JSON.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from medassets.serving import cds
from medassets.serving.answering import Desk
from medassets.serving.answers import Answer
from medassets.serving.fhir import BUNDLE_SCHEMA, Read, read_bundle
from medassets.serving.fhir_answer import Form, as_fhir
from medassets.serving.http_parts import JSON, Door, body, problem, problems, takes
from medassets.serving.phenopacket import PACKET_SCHEMA, request_of
from medassets.serving.requests import Feedback, RequestError, load_object, parse_body
from medassets.serving.store import NoPredictionError

FHIR_JSON = "application/fhir+json"
AnswerAs = Annotated[
    Form | None, Query(description="the answer as this FHIR R4 resource; Bundle holds all, with Provenance")
]
_LISTED = 20


def add_clinical_routes(app: FastAPI, door: Door) -> None:
    """Add the routes to the application."""
    Asker = Annotated[str, Depends(door.require("ask"))]
    Reporter = Annotated[str, Depends(door.require("give feedback"))]
    Top = Annotated[int, Query(ge=1, le=100, description="candidates of each differential")]
    refusals = problems(400, 401, 403, 413, 503)

    @app.post(
        "/v1/diagnose/phenopacket",
        response_model=None,
        responses=answered(Answer) | refusals,
        openapi_extra=_takes_schema(PACKET_SCHEMA, "application/json"),
    )
    async def diagnose_phenopacket(
        request: Request, actor: Asker, top: Top = 10, answer_as: AnswerAs = None
    ) -> Response:
        """The same for a GA4GH phenopacket (v2); a diagnosis that it holds is not used."""
        asked = request_of(load_object(await body(request)), top=top)
        return formed(request, await door.answer(asked, actor), answer_as)

    @app.post(
        "/v1/diagnose/fhir",
        response_model=None,
        responses=answered(Answer) | refusals,
        openapi_extra=_takes_schema(BUNDLE_SCHEMA, FHIR_JSON, "application/json"),
    )
    async def diagnose_fhir(
        request: Request, actor: Asker, top: Top = 10, answer_as: AnswerAs = None
    ) -> Response:
        """The same for a FHIR Bundle; what could not be mapped is listed in ``unmapped``."""
        read = _read(load_object(await body(request)), door, top=top)
        if not read.request.has_phenotype and not read.request.has_evidence:
            raise _nothing_usable(read)
        return formed(request, await _answer(read, door, actor), answer_as, read.subject)

    @app.get("/cds-services", response_model=cds.Services, responses=problems(503))
    def discovery() -> Response:
        """CDS Hooks discovery; it tells nothing of anyone, so that it needs no key."""
        return JSON({"services": cds.SERVICES})

    @app.post(
        "/cds-services/{service}",
        response_model=cds.Cards,
        responses=problems(400, 401, 403, 404, 412, 413, 503),
        openapi_extra=takes(cds.HookRequest),
    )
    async def cards(request: Request, service: str, actor: Asker) -> Response:
        """The differential as cards; none where nothing recorded can be used."""
        if service != cds.SERVICE:
            return problem(404, [("service", "no such service")])
        asked = parse_body(cds.HookRequest, await body(request))
        read = _read(cds.prefetched_bundle(asked), door)
        if not read.request.has_phenotype and not read.request.has_evidence:
            return JSON({"cards": []})
        answer = await _answer(read, door, actor)
        base = str(request.base_url).rstrip("/")
        page = door.page(answer["prediction_id"], base)
        return JSON({"cards": cds.cards(answer, page, f"{base}/v1/model-card")})

    @app.post(
        "/cds-services/{service}/feedback",
        response_model=cds.Nothing,
        responses=problems(400, 401, 403, 404, 413, 503),
        openapi_extra=takes(cds.CardFeedbacks),
    )
    async def card_feedback(request: Request, service: str, actor: Reporter) -> Response:
        """Keep what became of cards."""
        if service != cds.SERVICE:
            return problem(404, [("service", "no such service")])
        given = parse_body(cds.CardFeedbacks, await body(request))
        desk = door.desk()
        # All are found before one is kept: a client that is refused may send all again.
        found = [(await run_in_threadpool(_prediction_of, desk, one.card), one) for one in given.feedback]
        for prediction_id, one in found:
            kept = Feedback(
                prediction_id=prediction_id,
                verdict=f"card {one.outcome}",
                diagnosis=service,
                comment=one.comment,
            )
            await run_in_threadpool(desk.feedback, kept, actor=actor)
        return JSON({})


def answered(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Document an answer that comes as JSON or as FHIR."""
    resource = {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": {"type": "string"}},
    }
    return {200: {"model": model, "content": {FHIR_JSON: {"schema": resource}}}}


def form_of(request: Request, answer_as: Form | None) -> Form | None:
    """The FHIR form that is wanted, if any."""
    if answer_as is not None:
        return answer_as
    accepted = request.headers.get("accept", "")
    return "Bundle" if FHIR_JSON in accepted and "application/json" not in accepted else None


def formed(
    request: Request, answer: Mapping[str, Any], answer_as: Form | None, subject: str | None = None
) -> Response:
    """An answer in the form that is wanted; ``subject`` refers to the patient."""
    form = form_of(request, answer_as)
    return JSON(answer) if form is None else fhir_response(answer, form, subject)


def fhir_response(answer: Mapping[str, Any], form: Form, subject: str | None = None) -> Response:
    """An answer as FHIR."""
    return JSON(as_fhir(answer, form, subject), media_type=FHIR_JSON)


def _read(bundle: Mapping[str, Any], door: Door, **more: Any) -> Read:
    """Read a Bundle with the present bundle's tables, and count what is not used."""
    desk = door.desk()
    rare = desk.diagnoser.rare
    read = read_bundle(bundle, desk.codes, rare.ontology if rare else None, **more)
    door.measures.left_out(read.unmapped)
    return read


async def _answer(read: Read, door: Door, actor: str) -> dict[str, Any]:
    """Answer what was read of a Bundle; what was mapped and what was not is kept with the answer."""
    return await door.answer(read.request, actor, mapped=read.mapped, unmapped=read.unmapped)


def _nothing_usable(read: Read) -> RequestError:
    """The refusal of a Bundle of which nothing can be used: it says of each statement why."""
    problems = [("entry", "nothing to go by: no coded finding that is known here is stated or denied")]
    return RequestError(
        problems + [(u["field"], f"{u['code']}: {u['reason']}") for u in read.unmapped[:_LISTED]]
    )


def _prediction_of(desk: Desk, card: str) -> str:
    """The prediction that a card is of.

    Raises:
        NoPredictionError: there is none.
    """
    for candidate in cds.predictions_of(card):
        try:
            return desk.prediction(candidate).prediction_id
        except NoPredictionError:
            continue
    raise NoPredictionError("no card of this uuid")


def _takes_schema(schema: dict[str, Any], *media_types: str) -> dict[str, Any]:
    content = {media_type: {"schema": schema} for media_type in media_types}
    return {"requestBody": {"required": True, "content": content}}
