"""The HTTP interface: paths and status codes; thin over ``answering``.

What belongs here: the routes of this software's own interface. What does not: anything that decides an
answer, and the routes that follow hospital standards (``http_clinical``).

The application is plain ASGI, so that a bento mounts it and tests call it without a server. Bodies are read
by ``requests.parse_request``, not by the framework: one reader, one wording, for the command line as well.
(Annotations are evaluated here, not postponed: the framework reads aliases that are local to ``create_app``.)
"""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.middleware.cors import CORSMiddleware

from medassets import __version__
from medassets.serving.access import Gate
from medassets.serving.answering import Desk
from medassets.serving.answers import (
    Annotation,
    Answer,
    FoundTerms,
    Kept,
    KeptFeedback,
    ModelCard,
    ProvDocument,
    Questions,
)
from medassets.serving.http_clinical import (
    AnswerAs,
    add_clinical_routes,
    answered,
    fhir_response,
    form_of,
    formed,
)
from medassets.serving.http_parts import JSON, Door, body, handle_errors, openapi, problems, takes, too_many
from medassets.serving.limits import Limiter, LimitMiddleware
from medassets.serving.measures import CONTENT_TYPE, MeasuredMiddleware, Measures
from medassets.serving.provenance import prov_json
from medassets.serving.requests import DiagnosisRequest, Feedback, TextRequest, parse_body, parse_request


def create_app(
    desk: Callable[[], Desk],
    ring: Gate | None = None,
    *,
    rate_limit: int = 0,
    cors_origins: Sequence[str] = (),
    page_url: str = "",
    measures: Measures | None = None,
) -> FastAPI:
    """The application.

    Args:
        desk: gives the present desk; raises ``BundleError`` while there is none.
        ring: keys that callers need; ``None`` lets everyone in, for development.
        rate_limit: requests a minute that each caller may make; 0 for any number.
        cors_origins: sites whose pages may call (CDS Hooks clients in a browser).
        page_url: address of the clinicians' page, where cards link to.
        measures: metrics that others count in as well.
    """
    app = FastAPI(
        title="medassets diagnosis",
        version=__version__,
        summary="Differentials of common and rare diseases, as decision support",
        default_response_class=JSON,
        docs_url="/docs",
        redirect_slashes=False,
    )
    handle_errors(app)
    measures = measures or Measures()
    # The last one added is the outermost: refusals are measured, and a browser may read them.
    if rate_limit:
        app.add_middleware(LimitMiddleware, limiter=Limiter(rate_limit), ring=ring, refuse=too_many)
    app.add_middleware(MeasuredMiddleware, measures=measures)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    door = Door(desk, ring, measures, page_url)
    Asker = Annotated[str, Depends(door.require("ask"))]
    Reader = Annotated[str, Depends(door.require("look up"))]
    Reporter = Annotated[str, Depends(door.require("give feedback"))]
    Browser = Annotated[str, Depends(door.require("browse"))]

    async def diagnose(request: Request, actor: Asker, answer_as: AnswerAs = None) -> Response:
        """Ranked common and rare differentials with reasons, versions and a prediction id."""
        return formed(request, await door.answer(parse_request(await body(request)), actor), answer_as)

    for path in ("/diagnose", "/v1/diagnose"):
        app.post(
            path,
            response_model=None,
            responses=answered(Answer) | problems(400, 401, 403, 413, 503),
            openapi_extra=takes(DiagnosisRequest),
            operation_id=path.strip("/").replace("/", "_"),
        )(diagnose)

    @app.post(
        "/v1/next-questions",
        response_model=Questions,
        responses=problems(400, 401, 403, 413, 503),
        openapi_extra=takes(DiagnosisRequest),
    )
    async def next_questions(
        request: Request, _: Asker, n: Annotated[int, Query(ge=1, le=20, description="most questions")] = 1
    ) -> Response:
        """The questions that would tell most, given what is known; stateless."""
        asked = parse_request(await body(request))
        return JSON(await run_in_threadpool(desk().next_questions, asked, n))

    @app.post(
        "/v1/annotate",
        response_model=Annotation,
        responses=problems(400, 401, 403, 413, 503),
        openapi_extra=takes(TextRequest),
    )
    async def annotate(request: Request, _: Asker) -> Response:
        """The findings that a text names, with their places; nothing is kept."""
        given = parse_body(TextRequest, await body(request))
        return JSON(await run_in_threadpool(desk().annotate, given))

    @app.post(
        "/v1/feedback",
        status_code=201,
        response_model=KeptFeedback,
        responses=problems(400, 401, 403, 404, 413, 503),
        openapi_extra=takes(Feedback),
    )
    async def feedback(request: Request, actor: Reporter) -> Response:
        """Keep whether a diagnosis was confirmed or rejected."""
        given = parse_body(Feedback, await body(request))
        return JSON(await run_in_threadpool(desk().feedback, given, actor=actor), status_code=201)

    @app.get(
        "/v1/predictions/{prediction_id}",
        response_model=None,
        responses=answered(Kept) | problems(400, 401, 403, 404, 503),
    )
    def prediction(request: Request, prediction_id: str, _: Reader, answer_as: AnswerAs = None) -> Response:
        """An answer as it was given, with what was asked; on request as FHIR."""
        record = desk().prediction(prediction_id)
        if form := form_of(request, answer_as):
            return fhir_response(record.answer, form)
        return JSON({"request": record.request, "answer": record.answer})

    @app.get(
        "/v1/lineage/{prediction_id}",
        response_model=ProvDocument,
        responses=problems(401, 403, 404, 503),
    )
    def lineage(prediction_id: str, _: Reader) -> Response:
        """The chain from an answer to the sums of the source files, as W3C PROV-JSON."""
        return JSON(prov_json(desk().lineage(prediction_id)))

    @app.get("/v1/model-card", response_model=ModelCard, responses=problems(401, 403, 503))
    def model_card(_: Browser) -> Response:
        """What the models are, what they learned from and how they were measured."""
        return JSON(desk().model_card)

    @app.get("/v1/terms", response_model=FoundTerms, responses=problems(400, 401, 403, 503))
    def terms(
        _: Browser,
        q: Annotated[
            str, Query(min_length=1, max_length=200, description="beginning or misspelling of a name")
        ],
        limit: Annotated[int, Query(ge=1, le=50)] = 10,
        language: Annotated[str, Query(pattern="^(en|es)$")] = "en",
    ) -> Response:
        """Findings by name: HPO terms and common-disease evidences."""
        return JSON({"terms": desk().terms.search(q, limit=limit, language=language)})

    add_clinical_routes(app, door)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(measures.text(), media_type=CONTENT_TYPE)

    @app.get("/", include_in_schema=False)
    def start() -> Response:
        return RedirectResponse("/docs")

    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app
