"""The diagnosis service as a bento: it opens the desk and mounts the HTTP interface of ``medassets``.

What belongs here: how BentoML starts and watches the service. What does not: routes
(``medassets.serving.http``) and answers (``medassets.serving.answering``).

A built bento carries its bundle in the folder ``bundle`` beside this file; without it the installation's
latest bundle is served. When another bundle becomes the latest, the service changes to it. Where the bundle
is not what its manifest says, the service stays up, not ready, and says why.
"""

from __future__ import annotations

import logging
from pathlib import Path

import bentoml

from medassets.serving.http import create_app
from medassets.serving.logs import log_as_json
from medassets.serving.measures import Measures
from medassets.serving.oidc import open_gate
from medassets.serving.swap import DeskKeeper
from medassets.settings import Settings, switch_telemetry_off

switch_telemetry_off()
logger = logging.getLogger("medassets")

BUNDLE = Path(__file__).parent / "bundle"

settings = Settings()
if settings.log_format == "json":
    log_as_json()
measures = Measures()
keeper = DeskKeeper(settings, measures=measures)
if settings.auth == "off":
    logger.warning("MEDASSETS_AUTH=off: everyone who reaches this service may ask it; for development only")
gate = open_gate(settings)


@bentoml.service(
    name="diagnosis",
    workers=1,
    traffic={"timeout": 30},
    # BentoML labels its metrics with whole paths, prediction ids included; those of medassets use the route.
    metrics={"enabled": False},
    # The access log would hold paths with prediction ids; the audit log is the record of who asked what.
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(
    create_app(
        keeper,
        gate,
        rate_limit=settings.rate_limit,
        cors_origins=settings.cors_origins,
        page_url=settings.page_url,
        measures=measures,
    ),
    path="/",
)
class Diagnosis:
    """Differentials of common and rare diseases from one verified bundle."""

    def __init__(self) -> None:
        context = bentoml.server_context
        tag = f"{context.bento_name}:{context.bento_version}" if context.bento_name else "none"
        keeper.bento = tag
        keeper.open(BUNDLE if BUNDLE.is_dir() else None)
        if settings.follow_latest:
            keeper.follow()

    async def __is_ready__(self) -> bool:
        return keeper.desk is not None
