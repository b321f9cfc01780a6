"""The real API over small models, on a real port: what the page talks to in its tests."""

import httpx
import pytest

from medassets.ingest.text import TextMatcher
from medassets.knowledge.common_conditions import CommonKnowledge
from medassets.serving.answering import Desk
from medassets.serving.http import create_app
from medassets.serving.inquiry_build import build_inquiry
from medassets.serving.predictor import Diagnoser
from medassets.serving.store import PredictionStore
from medassets_tests.serving.conftest import FakeCommon, FakeRare, fake_bundle, ontology
from medassets_tests.waiting import serving

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
    with serving(create_app(lambda: desk)) as (address, _):
        assert httpx.get(f"{address}/v1/model-card").status_code == 200
        yield address
    store.close()
