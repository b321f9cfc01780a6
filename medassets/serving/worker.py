"""What a worker of the service makes when it starts: settings, logs, metrics, the gate, the desk, the routes.

What belongs here: putting the parts together as the settings say. What does not: the parts, and how BentoML
starts a worker (``bentos/diagnosis``).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

from fastapi import FastAPI

from medassets.serving.http import create_app
from medassets.serving.logs import log_as_json
from medassets.serving.measures import Measures
from medassets.serving.oidc import open_gate
from medassets.serving.swap import DeskKeeper
from medassets.settings import Settings

logger = logging.getLogger("medassets")


def open_worker(bento: str, bundle_dir: Path | None = None) -> tuple[FastAPI, DeskKeeper]:
    """Open the desk, and make the application over it; without a sound bundle it says why, and is not ready.

    Args:
        bento: tag of the bento that is served.
        bundle_dir: the bundle to begin with; ``None`` for the installation's latest.
    """
    settings = Settings()
    if settings.log_format == "json":
        log_as_json()
    if settings.auth == "off":
        logger.warning("MEDASSETS_AUTH=off: everyone who reaches this service may ask; for development only")
    measures = Measures()
    keeper = DeskKeeper(settings, bento=bento, measures=measures)
    keeper.open(bundle_dir)
    if settings.follow_latest:
        keeper.follow()
    app = create_app(
        keeper,
        open_gate(settings),
        rate_limit=settings.rate_limit,
        cors_origins=settings.cors_origins,
        page_url=settings.page_url,
        measures=measures,
    )
    return app, keeper


def end_with_server(every: float = 1.0) -> None:
    """Let this worker end when the process that supervises it is gone, killed as it may have been.

    An orphan would keep the port and its memory, and answer beside the worker of the next server.

    Args:
        every: seconds between two looks.
    """
    server = os.getppid()

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(every)
        logger.error("the server of this worker is gone: it ends as well")
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="server-watch", daemon=True).start()
