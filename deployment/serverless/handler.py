"""The serving bundle behind AWS Lambda's calling convention: API Gateway's event in, its response out.

What belongs here: opening the desk once for each instance, and the adapter. What does not: routes
(``medassets.serving.http``). The package is the serving image's environment and one bundle in ``/opt/bundle``
(or the folder that ``MEDASSETS_BUNDLE_DIR`` names). Answers are kept in PostgreSQL
(``MEDASSETS_PREDICTIONS_URL``): an instance's own disk goes with it.
"""

from __future__ import annotations

import os
from pathlib import Path

from mangum import Mangum

from medassets.serving.http import create_app
from medassets.serving.oidc import open_gate
from medassets.serving.swap import DeskKeeper
from medassets.settings import Settings

settings = Settings()
keeper = DeskKeeper(settings, bento="lambda")
keeper.open(Path(os.environ.get("MEDASSETS_BUNDLE_DIR", "/opt/bundle")))
#: What the function's configuration names: ``handler.handler``.
handler = Mangum(
    create_app(keeper, open_gate(settings), rate_limit=settings.rate_limit),
    lifespan="off",
    # Problem details and FHIR are JSON too; what is not named here would leave as base64.
    text_mime_types=["text/", "application/json", "application/problem+json", "application/fhir+json"],
)
