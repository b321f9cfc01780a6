"""Routes that follow hospital standards: GA4GH phenopackets, HL7 FHIR R4, CDS Hooks 2.0.

What belongs here: paths, media types and status codes of those standards. What does not: reading and writing
their documents (``phenopacket``, ``fhir``, ``cds``).
"""

from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from medassets.serving import cds
from medassets.serving.answers import Answer
from medassets.serving.fhir import read_bundle, risk_assessment
from medassets.serving.http_parts import JSON, Door, body, problem, problems
from medassets.serving.phenopacket import request_of
from medassets.serving.requests import Feedback, RequestError, load_object, parse_body

FHIR_JSON = "application/fhir+json"


def add_clinical_routes(app: FastAPI, door: Door) -> None:
    """Add the routes to the application."""
    Asker = Annotated[str, Depends(door.require("ask"))]
    Reporter = Annotated[str, Depends(door.require("give feedback"))]
    Top = Annotated[int, Query(ge=1, le=100, description="candidates of each differential")]
    refusals = problems(400, 401, 403, 413, 503)

    @app.post(
        "/v1/diagnose/phenopacket",
        response_model=Answer,
        responses=refusals,
        openapi_extra=_document("GA4GH phenopacket v2", "application/json"),
    )
    async def diagnose_phenopacket(request: Request, actor: Asker, top: Top = 10) -> Response:
        """The same for a GA4GH phenopacket (v2); a diagnosis that it holds is not used."""
        return JSON(await door.answer(request_of(load_object(await body(request)), top=top), actor))

    @app.post(
        "/v1/diagnose/fhir",
        response_model=Answer,
        responses=refusals,
        openapi_extra=_document("HL7 FHIR R4 Bundle of one patient", FHIR_JSON),
    )
    async def diagnose_fhir(
        request: Request,
        actor: Asker,
        top: Top = 10,
        answer_as: Literal["answer", "RiskAssessment"] = "answer",
    ) -> Response:
        """The same for a FHIR Bundle; what could not be mapped is listed in ``unmapped``."""
        read = read_bundle(load_object(await body(request)), door.desk().codes, top=top)
        answer = await door.answer(read.request, actor)
        if answer_as == "RiskAssessment":
            return JSON(risk_assessment(answer), media_type=FHIR_JSON)
        return JSON(answer | {"unmapped": read.unmapped})

    @app.get("/cds-services", responses=problems(503))
    def discovery() -> Response:
        """CDS Hooks discovery."""
        return JSON({"services": cds.SERVICES})

    @app.post(
        "/cds-services/{service}",
        responses=problems(400, 401, 403, 404, 413, 503),
        openapi_extra=_document("CDS Hooks request with its prefetch", "application/json"),
    )
    async def cards(request: Request, service: str, actor: Asker) -> Response:
        """The differential as cards; none where nothing recorded can be used."""
        hooks = {known["id"]: known["hook"] for known in cds.SERVICES}
        if service not in hooks:
            return problem(404, [("service", "no such service")])
        asked = parse_body(cds.HookRequest, await body(request))
        if asked.hook != hooks[service]:
            raise RequestError([("hook", f"this service answers {hooks[service]}")])
        read = read_bundle(cds.prefetched_bundle(asked), door.desk().codes)
        if not read.request.has_phenotype:
            return JSON({"cards": []})
        answer = await door.answer(read.request, actor)
        page = f"{str(request.base_url).rstrip('/')}/v1/predictions/{answer['prediction_id']}"
        return JSON({"cards": cds.cards(answer, read, page)})

    @app.post(
        "/cds-services/{service}/feedback",
        responses=problems(400, 401, 403, 404, 413, 503),
        openapi_extra=_document("CDS Hooks feedback", "application/json"),
    )
    async def card_feedback(request: Request, service: str, actor: Reporter) -> Response:
        """Keep what became of cards."""
        given = parse_body(cds.CardFeedbacks, await body(request))
        desk = door.desk()
        for one in given.feedback:
            prediction_id = cds.prediction_of(one.card)
            kept = Feedback(prediction_id=prediction_id, verdict=f"card {one.outcome}", diagnosis=service)
            await run_in_threadpool(desk.feedback, kept, actor=actor)
        return JSON({})


def _document(description: str, media_type: str) -> dict[str, Any]:
    schema = {"type": "object", "description": description}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}
