"""Changing the bundle under a running service, and the way back."""

import threading

import pytest
from fastapi.testclient import TestClient

from medassets.serving.bundle import BundleError, latest_bundle, load_bundle, point_latest, roll_back
from medassets.serving.http import create_app
from medassets.serving.predictor import Diagnoser
from medassets.serving.swap import DeskKeeper
from medassets.settings import Settings
from medassets_tests.serving.conftest import FakeRare, fake_bundle

CASE = {"observed": ["HP:0001250"]}


def made(home, text):
    return fake_bundle(home / "bundles", parts={"rare": lambda d: (d / "x.json").write_text(text)}).version


@pytest.fixture
def home(tmp_path):
    return tmp_path


@pytest.fixture
def keeper(home, ontology):
    keeper = DeskKeeper(
        Settings(home=home), load=lambda path: Diagnoser(load_bundle(path), rare=FakeRare(ontology))
    )
    yield keeper
    keeper.stop()


def test_a_new_bundle_answers_once_it_is_the_latest(home, keeper):
    with TestClient(create_app(keeper)) as client:
        assert client.post("/v1/diagnose", json=CASE).status_code == 503
        first = made(home, "1")
        assert keeper.check() and not keeper.check()
        old = client.post("/v1/diagnose", json=CASE).json()
        second = made(home, "2")
        assert keeper.check()
        new = client.post("/v1/diagnose", json=CASE).json()
        assert (old["versions"]["bundle"], new["versions"]["bundle"]) == (first, second)
        # Earlier answers keep their lineage, and the metrics name the bundle that answers now.
        for answer in (old, new):
            assert answer["versions"]["bundle"] in client.get(f"/v1/lineage/{answer['prediction_id']}").text
        text = client.get("/metrics").text
        assert f'bundle="{second}"}} 1.0' in text and f'bundle="{first}"}} 0.0' in text
    assert keeper().store.verify() == 2


def test_a_damaged_bundle_changes_nothing(home, keeper):
    first = made(home, "1")
    keeper.check()
    second = made(home, "2")
    (home / "bundles" / second / "rare" / "x.json").write_text("?")
    assert not keeper.check() and not keeper.check()
    assert keeper().diagnoser.bundle.version == first


def test_a_bundle_answers_nobody_before_it_answered_once(home, ontology):
    class Broken(FakeRare):
        def answer(self, *asked):
            raise ValueError("no scores")

    kinds = {"1": FakeRare, "2": Broken}
    keeper = DeskKeeper(
        Settings(home=home),
        load=lambda path: Diagnoser(
            load_bundle(path), rare=kinds[(path / "rare" / "x.json").read_text()](ontology)
        ),
    )
    first = made(home, "1")
    assert keeper.check() and keeper().diagnoser.rare.asked == (["HP:0000118"], [], None, "unknown", 1)
    made(home, "2")
    assert not keeper.check() and keeper().diagnoser.bundle.version == first


def test_no_request_is_dropped_while_bundles_change(home, keeper):
    versions = {made(home, text) for text in "12"}
    keeper.check()
    seen, failed, done = set(), [], threading.Event()

    def ask(client):
        while not done.is_set():
            response = client.post("/v1/diagnose", json=CASE)
            if response.status_code != 200:
                failed.append(response.text)
            seen.add(response.json()["versions"]["bundle"])

    with TestClient(create_app(keeper)) as client:
        asker = threading.Thread(target=ask, args=(client,))
        asker.start()
        for _ in range(4):
            for version in sorted(versions):
                point_latest(home / "bundles", version)
                keeper.check()
        done.set()
        asker.join()
    assert not failed and seen <= versions
    keeper().store.verify()


def test_rolling_back_goes_through_what_was_served(home):
    with pytest.raises(BundleError, match="no earlier"):
        roll_back(home / "bundles")
    one, two, three = (made(home, text) for text in "123")
    assert roll_back(home / "bundles") == two and roll_back(home / "bundles") == one
    with pytest.raises(BundleError, match="no earlier"):
        roll_back(home / "bundles")
    point_latest(home / "bundles", three)
    assert roll_back(home / "bundles") == one
    assert latest_bundle(home / "bundles").name == one


def test_a_damaged_bundle_is_not_gone_back_to(home):
    one, two = made(home, "1"), made(home, "2")
    (home / "bundles" / one / "rare" / "x.json").write_text("?")
    with pytest.raises(BundleError, match=r"rare/x\.json"):
        roll_back(home / "bundles")
    assert latest_bundle(home / "bundles").name == two
