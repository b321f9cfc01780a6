"""What all routes share: reading bodies, problem details, who asks, and how answers are counted.

What belongs here: the translation of errors to RFC 9457 problem details that name the field. What does not:
routes.
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic.json_schema import models_json_schema
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from medassets.serving.access import AccessError, Gate, Right
from medassets.serving.answering import Desk
from medassets.serving.bundle import BundleError
from medassets.serving.cds import CardFeedbacks, HookRequest, PreconditionError
from medassets.serving.measures import Measures
from medassets.serving.oidc import ProviderError
from medassets.serving.requests import DiagnosisRequest, Feedback, RequestError, TextRequest
from medassets.serving.store import NoPredictionError, StoreError

MAX_BODY = 1 << 20
#: Answers in the making at once: one a processor, two at least, since one may wait for the disk. More threads
#: only take the interpreter's lock from one another: forty of them, at 16 connections on two processors, gave
#: 44 answers a second where two gave 77.
AT_ONCE = max(os.cpu_count() or 1, 2)
PROBLEM = "application/problem+json"
_BODIES = (DiagnosisRequest, Feedback, TextRequest, HookRequest, CardFeedbacks)
_REF = "#/components/schemas/{model}"
_BEARER = HTTPBearer(auto_error=False, description="an API key of `medassets keys add`")
_TITLES = {
    400: "The request cannot be answered",
    401: "Who asks is not known",
    403: "Not allowed",
    404: "Not found",
    405: "No such method here",
    412: "What is needed was not sent along",
    413: "The body is too large",
    429: "Too many requests",
    503: "Not available",
}
_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
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


class JSON(JSONResponse):
    """JSON without NaN, and without a second walk through the content."""

    def render(self, content: Any) -> bytes:
        """Encode."""
        return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Door:
    """What a route needs: the present desk, who may pass, and where answers are counted.

    Attributes:
        desk: gives the present desk; raises ``BundleError`` while there is none.
        ring: keys that callers need; ``None`` lets everyone in, for development.
        measures: metrics of this process.
        page_url: address of the clinicians' page, for links of cards.
        answering: bounds the answers in the making; further requests wait in line.
    """

    desk: Callable[[], Desk]
    ring: Gate | None
    measures: Measures
    page_url: str = ""
    answering: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(AT_ONCE))

    def page(self, prediction_id: str, base: str) -> str:
        """Address of an answer's page, or of the answer itself where the site has named no page."""
        if self.page_url:
            return f"{self.page_url.rstrip('/')}/?prediction={prediction_id}"
        return f"{base}/v1/predictions/{prediction_id}"

    def require(self, right: Right) -> Callable[..., Awaitable[str]]:
        """A dependency that gives the caller's name, or refuses."""
        ring = self.ring

        async def actor(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> str:
            if ring is None:
                return "anonymous"
            token = given.credentials if given else None
            if token and ring.holder(token) is None:
                # Who is not known here may have to be looked up elsewhere, which takes its time.
                return await run_in_threadpool(ring.check, token, right)
            return ring.check(token, right)

        return actor

    async def answer(self, asked: DiagnosisRequest, actor: str, **read: Any) -> dict[str, Any]:
        """Answer, keep and count; ``read`` says of the request what ``Desk.diagnose`` takes."""
        diagnose = partial(self.desk().diagnose, asked, actor=actor, **read)
        given = await to_thread.run_sync(diagnose, limiter=self.answering)
        self.measures.answered(given)
        return given


async def body(request: Request) -> bytes:
    """The body, refused as soon as it is too large."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise HTTPException(413, f"a body has at most {MAX_BODY} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def problem(
    status: int,
    errors: list[tuple[str, str]],
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """RFC 9457 problem details with the field of each error."""
    content = {
        "type": "about:blank",
        "title": title or _TITLES.get(status, "Error"),
        "status": status,
        "detail": "; ".join(f"{field}: {message}" for field, message in errors),
        "errors": [{"field": field, "message": message} for field, message in errors],
    }
    return JSONResponse(content, status_code=status, media_type=PROBLEM, headers=headers)


def handle_errors(app: FastAPI) -> None:
    """Answer every error that a caller can do something about with problem details."""

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return problem(400, error.problems)

    @app.exception_handler(PreconditionError)
    async def not_prefetched(_: Request, error: PreconditionError) -> Response:
        return problem(412, error.problems)

    @app.exception_handler(AccessError)
    async def denied(_: Request, error: AccessError) -> Response:
        if error.known:
            return problem(403, [("authorization", str(error))])
        return problem(401, [("authorization", str(error))], headers={"WWW-Authenticate": "Bearer"})

    @app.exception_handler(ProviderError)
    async def not_checked(_: Request, error: ProviderError) -> Response:
        return problem(503, [("authorization", str(error))])

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

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        # Nobody reads this answer; it is counted as the caller's fault, not as the service's.
        return problem(400, [("body", "ended before its end")])

    @app.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        # With its headers: 405 names the methods that are allowed.
        return problem(error.status_code, [("request", str(error.detail))], headers=error.headers)


def takes(model: type[Any]) -> dict[str, Any]:
    """Document a body that ``requests`` reads."""
    schema = {"$ref": _REF.format(model=model.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the refusals of a route; any caller may ask too often."""
    return {
        status: {"description": _TITLES[status], "content": {PROBLEM: {"schema": _PROBLEM_SCHEMA}}}
        for status in sorted({*statuses, 429})
    }


def too_many(seconds: int) -> Response:
    """Refuse for some seconds."""
    errors = [("request", f"too many requests: wait {seconds} s")]
    return problem(429, errors, headers={"Retry-After": str(seconds)})


def openapi(app: FastAPI) -> dict[str, Any]:
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
