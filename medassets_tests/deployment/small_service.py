"""The real routes and store over the small bundle of the serving tests: ``python -m ... PORT FOLDER``."""

import os
import sys
from pathlib import Path

import uvicorn
from starlette.responses import Response

from medassets.ingest.text import TextMatcher
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.knowledge.ontology import Ontology
from medassets.serving.answering import Desk
from medassets.serving.http import create_app
from medassets.serving.predictor import Diagnoser
from medassets.serving.store import PredictionStore
from medassets_tests.serving.conftest import OBO, FakeCommon, FakeRare, fake_bundle


def main(port: int, folder: Path) -> None:
    folder.mkdir()
    (folder / "hp.obo").write_text(OBO)
    ontology = Ontology.from_obo(folder / "hp.obo")
    diagnoser = Diagnoser(
        fake_bundle(folder / "bundles"),
        rare=FakeRare(ontology),
        common=FakeCommon(CommonKnowledge.bundled()),
        matcher=TextMatcher.from_ontology(ontology),
    )
    desk = Desk(diagnoser, PredictionStore(os.environ["MEDASSETS_PREDICTIONS_URL"]))
    app = create_app(lambda: desk)
    app.get("/readyz")(lambda: Response())
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
