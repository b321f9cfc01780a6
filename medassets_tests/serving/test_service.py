"""The whole service as a process: keys, cache, challenger, hot swap; then with its stores killed under it."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from medassets.commands.server import running
from medassets.learners.rare.listwise import ListwiseConfig
from medassets.learners.rare.ranker import RankerConfig, RareRanker
from medassets.serving.access import KeyRing
from medassets.serving.answering import open_store
from medassets.serving.bento import build_bento
from medassets.serving.bundle import point_latest, roll_back
from medassets.serving.challenge import Challenge, set_challenge
from medassets.settings import Settings
from medassets_tests.fixtures_ranker import made_cases, made_knowledge, made_ontology, typical_findings
from medassets_tests.serving.conftest import fake_bundle
from medassets_tests.waiting import LONGEST, until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """Home with two bundles over a small ranker, and the bento of the first."""
    ontology = made_ontology()
    cases = made_cases(ontology)
    learning = ListwiseConfig(hidden=8, epochs=1, batch=8, negatives=10)
    config = RankerConfig("quick", ("clean",), 2, 1, learning)
    ranker = RareRanker(config).fit(made_knowledge(ontology, cases), cases)
    home = tmp_path_factory.mktemp("service")
    both = [
        fake_bundle(home / "bundles", parts={"rare": ranker.export_bundle}, profile=profile)
        for profile in ("quick", "full")
    ]
    point_latest(home / "bundles", both[0].version)
    return home, [bundle.version for bundle in both], build_bento(both[0].directory, home / "bentoml").path


def case(number):
    return {"observed": typical_findings(number % 12)[:4], "age": number % 90}


def ask(client, number):
    return client.post("/v1/diagnose", json=case(number))


def versions(client):
    answers = [ask(client, number) for number in range(20)]
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    return {answer.json()["versions"]["bundle"] for answer in answers}


def until_answers(client, expected):
    """Wait until these bundles answer."""
    until(lambda: versions(client) == expected, pause=0.2)


def test_a_service_asks_for_keys_takes_up_bundles_and_logs_every_answer(installation):
    home, (one, two), bento = installation
    bundles = home / "bundles"
    settings = Settings(home=home, key_file=None)
    with running(bento, settings) as address, KeyRing(settings.api_keys).lent("test", "clinician") as key:
        assert httpx.post(f"{address}/v1/diagnose", json=case(1)).status_code == 401
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=address, headers=headers, timeout=LONGEST) as client:
            assert versions(client) == {one}
            set_challenge(bundles, Challenge(two, 0.5))
            until_answers(client, {one, two})
            point_latest(bundles, two)
            until_answers(client, {two})
            assert roll_back(bundles) == one
            set_challenge(bundles, None)
            until_answers(client, {one})
            metrics = client.get("/metrics").text
    assert 'medassets_cache_total{outcome="hit"}' in metrics
    assert 'medassets_assignments_total{arm="challenger"}' in metrics
    store = open_store(settings)
    assert store.verify() == len(list(store.records())) >= 80


@pytest.mark.servers
def test_no_answer_is_wrong_or_unlogged_while_its_stores_are_killed(
    installation, postgres_server, postgres, redis_server, redis_url
):
    home, _, bento = installation
    settings = Settings(home=home, predictions_url=postgres, cache={"url": redis_url})
    with running(bento, settings) as address, KeyRing(settings.api_keys).lent("test", "service") as key:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=address, headers=headers, timeout=LONGEST) as client:
            expected = {number: ask(client, number).json()["rare"] for number in range(12)}

            def checked(number):
                answered = ask(client, number)
                if answered.status_code == 200:
                    assert answered.json()["rare"] == expected[number]
                    return answered.json()["prediction_id"]
                assert answered.status_code == 503
                assert answered.headers["content-type"] == "application/problem+json"
                return None

            given = []
            with ThreadPoolExecutor(4) as pool:
                for stop, start in (
                    (redis_server.stop, redis_server.start),
                    (lambda: postgres_server.stop("immediate"), postgres_server.start),
                ):
                    asked = [pool.submit(checked, number % 12) for number in range(60)]
                    stop()
                    asked += [pool.submit(checked, number % 12) for number in range(20)]
                    answers = [one.result() for one in asked]
                    start()
                    if stop == redis_server.stop:
                        assert None not in answers
                    given += [answer for answer in answers if answer]
                    assert checked(0)  # answers again, without a restart
    with psycopg.connect(postgres) as connection:
        logged = {row[0] for row in connection.execute("SELECT prediction_id FROM audit")}
    assert set(given) <= logged and len(given) >= 80  # all while Redis was away, some before PostgreSQL was
    assert open_store(settings).verify() == len(logged)
