"""The diagnosis service as a bento: it opens the desk and mounts the HTTP interface of ``medassets``.

What belongs here: how BentoML starts and watches the service. What does not: what a worker makes when it
starts (``medassets.serving.worker``), routes (``medassets.serving.http``) and answers
(``medassets.serving.answering``).

A built bento carries its bundle in the folder ``bundle`` beside this file; without it the installation's
latest bundle is served. When another bundle becomes the latest, the service changes to it. Where the bundle
is not what its manifest says, the service stays up, not ready, and says why.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bentoml

from medassets.settings import switch_telemetry_off

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

switch_telemetry_off()
BUNDLE = Path(__file__).parent / "bundle"


class Application:
    """The application, which a worker makes when it starts.

    BentoML reads this file in two processes, one after the other: in the one that supervises, and in the
    worker. The first needs the service's name only; what the second imports would take it another second.
    """

    made: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self.made(scope, receive, send)


application = Application()


@bentoml.service(
    name="diagnosis",
    workers=1,
    traffic={"timeout": 30},
    # BentoML labels its metrics with whole paths, prediction ids included; those of medassets use the route.
    metrics={"enabled": False},
    # The access log would hold paths with prediction ids; the audit log is the record of who asked what.
    logging={"access": {"enabled": False}},
    # Nor are traces made: a span holds the path too, and takes half a millisecond of each request.
    tracing={"excluded_urls": ["."]},
    # For the worker, unless the site sets them. A request is one thread's work: a second one of OpenBLAS only
    # spins, and more than doubles the processor's time. In few arenas, what threads free does not add up.
    envs=[
        {"name": "OPENBLAS_NUM_THREADS", "value": "1"},
        {"name": "MALLOC_ARENA_MAX", "value": "2"},
    ],
)
@bentoml.asgi_app(application, path="/")
class Diagnosis:
    """Differentials of common and rare diseases from one verified bundle."""

    def __init__(self) -> None:
        from medassets.serving.worker import end_with_server, open_worker

        end_with_server()
        context = bentoml.server_context
        tag = f"{context.bento_name}:{context.bento_version}" if context.bento_name else "none"
        application.made, self._keeper = open_worker(tag, BUNDLE if BUNDLE.is_dir() else None)

    async def __is_ready__(self) -> bool:
        return self._keeper.desk is not None
