"""The HTTP interface: paths, status codes, problem details; thin over ``answering``.

What belongs here: routes, and the translation of errors to RFC 9457 problem details that name the field. What
does not: anything that decides an answer.

The application is plain ASGI, so that a bento mounts it and tests call it without a server. Bodies are read
by ``requests.parse_request``, not by the framework: one reader, one wording, for the command line as well.
(Annotations are evaluated here, not postponed: the framework reads aliases that are local to ``create_app``.)
"""

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from medassets import __version__
from medassets.serving.access import AccessError, KeyRing, Right
from medassets.serving.answering import Desk
from medassets.serving.answers import Answer
from medassets.serving.bundle import BundleError
from medassets.serving.measures import CONTENT_TYPE, MeasuredMiddleware, Measures
from medassets.serving.phenopacket import request_of
from medassets.serving.provenance import prov_json
from medassets.serving.requests import (
    DiagnosisRequest,
    Feedback,
    RequestError,
    load_object,
    parse_body,
    parse_request,
)
from medassets.serving.store import NoPredictionError, StoreError

MAX_BODY = 1 << 20
_BODIES = (DiagnosisRequest, Feedback)
_PACKET = {"type": "object", "description": "GA4GH phenopacket v2", "required": ["phenotypicFeatures"]}
_REF = "#/components/schemas/{model}"
PROBLEM = "application/problem+json"
_TITLES = {
    400: "The request cannot be answered",
    401: "Who asks is not known",
    403: "Not allowed",
    404: "Not found",
    413: "The body is too large",
    503: "Not available",
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


class JSON(Response):
    """JSON without NaN, and without a second walk through the content."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode."""
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def create_app(desk: Callable[[], Desk], ring: KeyRing | None = None) -> FastAPI:
    """The application.

    Args:
        desk: gives the present desk; raises ``BundleError`` while there is none.
        ring: keys that callers need; ``None`` lets everyone in, for development.
    """
    app = FastAPI(
        title="medassets diagnosis",
        version=__version__,
        summary="Differentials of common and rare diseases, as decision support",
        default_response_class=JSON,
        docs_url="/docs",
    )
    _handle_errors(app)
    measures = Measures()
    app.add_middleware(MeasuredMiddleware, measures=measures)
    bearer = HTTPBearer(auto_error=False, description="an API key of `medassets keys add`")

    def require(right: Right) -> Callable[..., str]:
        def actor(given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
            return "anonymous" if ring is None else ring.check(given.credentials if given else None, right)

        return actor

    Asker = Annotated[str, Depends(require("ask"))]
    Reader = Annotated[str, Depends(require("look up"))]
    Reporter = Annotated[str, Depends(require("give feedback"))]

    async def answer(asked: DiagnosisRequest, actor: str) -> Response:
        given = await run_in_threadpool(desk().diagnose, asked, actor=actor)
        measures.answered(given)
        return JSON(given)

    async def diagnose(request: Request, actor: Asker) -> Response:
        """Ranked common and rare differentials with reasons, versions and a prediction id."""
        return await answer(parse_request(await _body(request)), actor)

    for path in ("/diagnose", "/v1/diagnose"):
        app.post(
            path,
            response_model=Answer,
            responses=_problems(400, 401, 403, 413, 503),
            openapi_extra=_takes(DiagnosisRequest),
            operation_id=path.strip("/").replace("/", "_"),
        )(diagnose)

    @app.post(
        "/v1/diagnose/phenopacket",
        response_model=Answer,
        responses=_problems(400, 401, 403, 413, 503),
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": _PACKET}}}
        },
    )
    async def diagnose_phenopacket(
        request: Request, actor: Asker, top: Annotated[int, Query(ge=1, le=100)] = 10
    ) -> Response:
        """The same for a GA4GH phenopacket (v2); a diagnosis that it holds is not used."""
        return await answer(request_of(load_object(await _body(request)), top=top), actor)

    @app.post(
        "/v1/next-questions",
        responses=_problems(400, 401, 403, 413, 503),
        openapi_extra=_takes(DiagnosisRequest),
    )
    async def next_questions(
        request: Request, _: Asker, n: Annotated[int, Query(ge=1, le=20, description="most questions")] = 1
    ) -> Response:
        """The questions that would tell most, given what is known; stateless."""
        asked = parse_request(await _body(request))
        return JSON(await run_in_threadpool(desk().next_questions, asked, n))

    @app.post(
        "/v1/feedback",
        status_code=201,
        responses=_problems(400, 401, 403, 404, 413, 503),
        openapi_extra=_takes(Feedback),
    )
    async def feedback(request: Request, actor: Reporter) -> Response:
        """Keep whether a diagnosis was confirmed or rejected."""
        given = parse_body(Feedback, await _body(request))
        return JSON(await run_in_threadpool(desk().feedback, given, actor=actor), status_code=201)

    @app.get("/v1/predictions/{prediction_id}", responses=_problems(401, 403, 404, 503))
    def prediction(prediction_id: str, _: Reader) -> Response:
        """An answer as it was given, with what was asked."""
        record = desk().prediction(prediction_id)
        return JSON({"request": record.request, "answer": record.answer})

    @app.get("/v1/lineage/{prediction_id}", responses=_problems(401, 403, 404, 503))
    def lineage(prediction_id: str, _: Reader) -> Response:
        """The chain from an answer to the sums of the source files, as W3C PROV-JSON."""
        return JSON(prov_json(desk().lineage(prediction_id)))

    @app.get("/v1/model-card", responses=_problems(503))
    def model_card() -> Response:
        """What the models are, what they learned from and how they were measured."""
        return JSON(desk().model_card)

    @app.get("/v1/terms", responses=_problems(400, 503))
    def terms(
        q: Annotated[
            str, Query(min_length=1, max_length=200, description="beginning or misspelling of a name")
        ],
        limit: Annotated[int, Query(ge=1, le=50)] = 10,
        language: Annotated[str, Query(pattern="^(en|es)$")] = "en",
    ) -> Response:
        """Findings by name: HPO terms and common-disease evidences."""
        return JSON({"terms": desk().terms.search(q, limit=limit, language=language)})

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(measures.text(), media_type=CONTENT_TYPE)

    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document: with the bodies that ``requests`` reads, without the framework's own 422."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        _, bodies = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REF)
        schemas |= bodies["$defs"]
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        app.openapi_schema = document
    return app.openapi_schema


async def _body(request: Request) -> bytes:
    """The body, refused as soon as it is too large."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise HTTPException(413, f"a body has at most {MAX_BODY} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def problem(status: int, errors: list[tuple[str, str]], title: str | None = None) -> Response:
    """RFC 9457 problem details with the field of each error."""
    content = {
        "type": "about:blank",
        "title": title or _TITLES.get(status, "Error"),
        "status": status,
        "detail": "; ".join(f"{field}: {message}" for field, message in errors),
        "errors": [{"field": field, "message": message} for field, message in errors],
    }
    return JSONResponse(content, status_code=status, media_type=PROBLEM)


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return problem(400, error.problems)

    @app.exception_handler(AccessError)
    async def denied(_: Request, error: AccessError) -> Response:
        if error.known:
            return problem(403, [("authorization", str(error))])
        response = problem(401, [("authorization", str(error))])
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        return problem(
            400, [(".".join(map(str, e["loc"][1:])) or "request", e["msg"]) for e in error.errors()]
        )

    @app.exception_handler(NoPredictionError)
    async def unknown(_: Request, error: NoPredictionError) -> Response:
        return problem(404, [("prediction_id", str(error))])

    @app.exception_handler(StoreError)
    async def not_kept(_: Request, __: StoreError) -> Response:
        return problem(503, [("store", "the answer could not be kept, so it is not given")], "Not available")

    @app.exception_handler(BundleError)
    async def not_ready(_: Request, error: BundleError) -> Response:
        return problem(503, [("bundle", str(error))], "Not ready")

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, [("request", str(error.detail))])


def _takes(model: type[Any]) -> dict[str, Any]:
    """Document a body that ``requests`` reads."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"description": _TITLES[status], "content": {PROBLEM: {"schema": _PROBLEM_SCHEMA}}}
        for status in statuses
    }
