"""The HTTP interface: paths, status codes, problem details; thin over ``answering``.

What belongs here: routes, and the translation of errors to RFC 9457 problem details that name the field. What
does not: anything that decides an answer.

The application is plain ASGI, so that a bento mounts it and tests call it without a server. Bodies are read
by ``requests.parse_request``, not by the framework: one reader, one wording, for the command line as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from medassets import __version__
from medassets.serving.answering import Desk
from medassets.serving.answers import Answer
from medassets.serving.bundle import BundleError
from medassets.serving.provenance import prov_json
from medassets.serving.requests import DiagnosisRequest, Feedback, RequestError, parse_body, parse_request
from medassets.serving.store import NoPredictionError, StoreError

MAX_BODY = 1 << 20
_BODIES = (DiagnosisRequest, Feedback)
_REF = "#/components/schemas/{model}"
PROBLEM = "application/problem+json"
_TITLES = {
    400: "The request cannot be answered",
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


def create_app(desk: Callable[[], Desk]) -> FastAPI:
    """The application.

    Args:
        desk: gives the present desk; raises ``BundleError`` while there is none.
    """
    app = FastAPI(
        title="medassets diagnosis",
        version=__version__,
        summary="Differentials of common and rare diseases, as decision support",
        default_response_class=JSON,
        docs_url="/docs",
    )
    _handle_errors(app)

    async def diagnose(request: Request) -> Response:
        """Ranked common and rare differentials with reasons, versions and a prediction id."""
        asked = parse_request(await _body(request))
        return JSON(await run_in_threadpool(desk().diagnose, asked))

    for path in ("/diagnose", "/v1/diagnose"):
        app.post(
            path,
            response_model=Answer,
            responses=_problems(400, 413, 503),
            openapi_extra=_takes(DiagnosisRequest),
            operation_id=path.strip("/").replace("/", "_"),
        )(diagnose)

    @app.post(
        "/v1/next-questions", responses=_problems(400, 413, 503), openapi_extra=_takes(DiagnosisRequest)
    )
    async def next_questions(
        request: Request, n: Annotated[int, Query(ge=1, le=20, description="most questions")] = 1
    ) -> Response:
        """The questions that would tell most, given what is known; stateless."""
        asked = parse_request(await _body(request))
        return JSON(await run_in_threadpool(desk().next_questions, asked, n))

    @app.post(
        "/v1/feedback",
        status_code=201,
        responses=_problems(400, 404, 413, 503),
        openapi_extra=_takes(Feedback),
    )
    async def feedback(request: Request) -> Response:
        """Keep whether a diagnosis was confirmed or rejected."""
        given = parse_body(Feedback, await _body(request))
        return JSON(await run_in_threadpool(desk().feedback, given), status_code=201)

    @app.get("/v1/predictions/{prediction_id}", responses=_problems(404, 503))
    def prediction(prediction_id: str) -> Response:
        """An answer as it was given, with what was asked."""
        record = desk().prediction(prediction_id)
        return JSON({"request": record.request, "answer": record.answer})

    @app.get("/v1/lineage/{prediction_id}", responses=_problems(404, 503))
    def lineage(prediction_id: str) -> Response:
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
