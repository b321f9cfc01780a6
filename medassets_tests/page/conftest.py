"""The real API over small models, on a real port: what the page talks to in its tests."""

import threading
import time

import httpx
import pytest
import uvicorn

from medassets.commands.server import free_port
from medassets.ingest.text import TextMatcher
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.serving.answering import Desk
from medassets.serving.http import create_app
from medassets.serving.inquiry_build import build_inquiry
from medassets.serving.predictor import Diagnoser
from medassets.serving.store import PredictionStore
from medassets_tests.serving.conftest import FakeCommon, FakeRare, fake_bundle, ontology

__all__ = ["ontology"]


@pytest.fixture(scope="session")
def api_address(tmp_path_factory, ontology):
    folder = tmp_path_factory.mktemp("page")
    knowledge = CommonKnowledge.bundled()
    diagnoser = Diagnoser(
        fake_bundle(folder / "bundles"), rare=FakeRare(ontology), common=FakeCommon(knowledge),
        inquiry=build_inquiry(knowledge), matcher=TextMatcher.from_ontology(ontology),
    )  # fmt: skip
    store = PredictionStore(folder / "predictions.db")
    desk = Desk(diagnoser, store, bento="diagnosis:test", bundles_dir=folder / "bundles")
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(lambda: desk), host="127.0.0.1", port=port, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.05)
    assert httpx.get(f"{address}/v1/model-card").status_code == 200
    yield address
    server.should_exit = True
    thread.join(timeout=10)
    store.close()
