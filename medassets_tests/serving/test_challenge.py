"""Champion and challenger: who is assigned, what the shadow leaves, and changes under a running service."""

import threading

import pytest
from fastapi.testclient import TestClient

from medassets.serving.answering import Desk
from medassets.serving.bundle import BundleError, load_bundle, point_latest, roll_back
from medassets.serving.challenge import FILE, MOST_WAITING, Challenge, Contest, read_challenge, set_challenge
from medassets.serving.http import create_app
from medassets.serving.measures import Measures
from medassets.serving.predictor import Diagnoser
from medassets.serving.requests import parse_request
from medassets.serving.sealing import Sealer
from medassets.serving.store import PredictionStore
from medassets.serving.swap import DeskKeeper
from medassets.settings import Settings
from medassets_tests.serving.conftest import FakeRare, fake_bundle

CASE = {"observed": ["HP:0001250"]}


def case(number):
    return parse_request(CASE | {"age": number / 10})


@pytest.fixture
def bundles(tmp_path):
    """Two bundles; the first is the latest."""
    both = [fake_bundle(tmp_path / "bundles", profile=profile) for profile in ("quick", "full")]
    point_latest(tmp_path / "bundles", both[0].version)
    return both


@pytest.fixture
def contest(bundles, ontology):
    made = []

    def contest(share=0.0, by="request", **more):
        challenger = Diagnoser(bundles[1], rare=FakeRare(ontology))
        challenge = Challenge(bundles[1].version, share, by)
        made.append(Contest(challenge, challenger, bundles[0].version, **more))
        return made[-1]

    yield contest
    for one in made:
        one.close()


def test_the_share_is_kept_and_each_request_is_assigned_alike_everywhere(contest):
    first, second = contest(0.3), contest(0.3)
    arms = [first.arm(case(n), "dr-a") for n in range(1000)]
    assert arms == [second.arm(case(n), "dr-b") for n in range(1000)]
    assert 0.25 < arms.count("challenger") / 1000 < 0.35
    assert {contest(1.0).arm(case(n), "x") for n in range(50)} == {"challenger"}


def test_a_larger_share_keeps_those_that_were_assigned_before(contest):
    small, large = contest(0.2), contest(0.6)
    chosen = [n for n in range(300) if small.arm(case(n), "x") == "challenger"]
    assert chosen and all(large.arm(case(n), "x") == "challenger" for n in chosen)


def test_callers_are_assigned_with_all_their_requests(contest):
    by_caller = contest(0.5, "caller")
    arms = {name: {by_caller.arm(case(n), name) for n in range(20)} for name in map(str, range(40))}
    assert all(len(found) == 1 for found in arms.values())
    assert {next(iter(found)) for found in arms.values()} == {"champion", "challenger"}


def test_the_assignment_is_the_keys_secret(contest):
    arms = [
        [c.arm(case(n), "x") for n in range(200)]
        for c in (contest(0.5, sealer=Sealer({"aaaa": key * 32})) for key in (b"a", b"b"))
    ]
    assert arms[0] != arms[1]


def test_the_patient_does_not_change_the_assignment(contest):
    one = contest(0.5)
    for n in range(50):
        with_patient = parse_request(CASE | {"age": n / 10, "patient_id": f"p{n}"})
        assert one.arm(with_patient, "x") == one.arm(case(n), "x")


@pytest.fixture
def answering(bundles, ontology, tmp_path):
    """A desk over the champion, beside a contest."""
    store = PredictionStore(tmp_path / "predictions.db")
    yield lambda contest: Desk(Diagnoser(bundles[0], rare=FakeRare(ontology)), store, contest=contest)
    store.close()


def test_the_assignment_stands_in_answer_and_log(answering, contest, bundles):
    desk = answering(contest(0.5))
    answers = [desk.diagnose(case(n), actor="dr-a") for n in range(20)]
    arms = [answer["versions"]["arm"] for answer in answers]
    assert set(arms) == {"champion", "challenger"}
    versions = {"champion": bundles[0].version, "challenger": bundles[1].version}
    assert [versions[arm] for arm in arms] == [answer["versions"]["bundle"] for answer in answers]
    logged = desk.store.database.read("SELECT action, bundle FROM audit ORDER BY seq")
    assert logged == [(f"diagnose {arm}", versions[arm]) for arm in arms]
    assert desk.store.verify() == 20


def test_in_the_shadow_nobody_is_given_the_challengers_answer_and_it_is_kept(answering, contest, bundles):
    counted = []
    shadow = contest(count=counted.append)
    desk = answering(shadow)
    given = [desk.diagnose(case(n), actor="dr-a") for n in range(5)]
    shadow.close()
    shadow._worker.shutdown(wait=True)
    assert {answer["versions"]["bundle"] for answer in given} == {bundles[0].version}
    kept = list(desk.store.records(shadow=True))
    assert {record.bundle for record in kept} == {bundles[1].version}
    beside = {record.answer["versions"]["shadow_of"] for record in kept}
    assert beside == {answer["prediction_id"] for answer in given}
    assert {r.prediction_id for r in desk.store.records()} == beside
    assert desk.store.verify() == 10 and counted == ["kept"] * 5


def test_a_challenger_that_cannot_keep_up_is_left_out_and_one_that_fails_is_counted(contest):
    counted, go = [], threading.Event()
    shadow = contest(count=counted.append)

    def fail():
        raise ZeroDivisionError

    shadow.in_shadow(lambda: go.wait(10) and "refused")
    shadow.in_shadow(fail)
    for _ in range(MOST_WAITING):
        shadow.in_shadow(lambda: "kept")
    assert counted == ["left out"] * 2
    go.set()
    shadow._worker.shutdown(wait=True)
    shadow.in_shadow(lambda: "kept")  # a request that began before the challenge ended
    outcomes = {outcome: counted.count(outcome) for outcome in set(counted)}
    assert outcomes == {"left out": 3, "refused": 1, "failed": 1, "kept": MOST_WAITING - 2}


@pytest.fixture
def keeper(tmp_path, ontology):
    keeper = DeskKeeper(
        Settings(home=tmp_path),
        load=lambda path: Diagnoser(load_bundle(path), rare=FakeRare(ontology)),
        measures=Measures(),
    )
    yield keeper
    keeper.stop()


def test_a_running_service_takes_up_a_challenge_and_ends_it(keeper, bundles, tmp_path):
    folder = tmp_path / "bundles"
    keeper.open()
    with TestClient(create_app(keeper, measures=keeper._measures)) as client:

        def versions(count=12):
            asked = [client.post("/v1/diagnose", json=CASE | {"age": n}) for n in range(count)]
            assert {answer.status_code for answer in asked} == {200}
            return {answer.json()["versions"]["bundle"] for answer in asked}

        one, two = (bundle.version for bundle in bundles)
        assert versions() == {one}
        set_challenge(folder, Challenge(two, 0.5))
        keeper.check()
        assert versions() == {one, two}
        point_latest(folder, two)  # promoted: nobody is left to challenge
        assert keeper.check() and versions() == {two} and keeper().contest is None
        assert roll_back(folder) == one and keeper.check()
        assert versions() == {one, two}
        set_challenge(folder, None)
        keeper.check()
        assert versions() == {one}
        metrics = client.get("/metrics").text
    assert 'medassets_assignments_total{arm="challenger"}' in metrics
    assert 'medassets_cache_total{outcome="hit"}' in metrics
    assert f'medassets_bundle_info{{bundle="{one}"}} 1.0' in metrics


def test_no_request_is_dropped_while_challenges_come_and_go(keeper, bundles, tmp_path):
    folder, stop, codes = tmp_path / "bundles", threading.Event(), []
    keeper.open()
    with TestClient(create_app(keeper)) as client:

        def ask():
            while not stop.is_set():
                codes.append(client.post("/v1/diagnose", json=CASE | {"age": len(codes) % 90}).status_code)

        thread = threading.Thread(target=ask)
        thread.start()
        for share in (0.0, 0.5, 0.0, 1.0):
            set_challenge(folder, Challenge(bundles[1].version, share))
            keeper.check()
            set_challenge(folder, None)
            keeper.check()
        stop.set()
        thread.join()
    assert codes and set(codes) == {200}
    assert keeper().store.verify() >= len(codes)


def test_a_challenger_that_nobody_trusts_is_left_out(keeper, bundles, tmp_path, caplog):
    (bundles[1].directory / "manifest.sig").unlink()
    set_challenge(tmp_path / "bundles", Challenge(bundles[1].version, 1.0))
    keeper.check()
    assert keeper.open() and keeper().contest is None
    assert "no challenger" in caplog.text and "is not signed" in caplog.text


def test_settings_come_before_the_command_and_nonsense_is_named(tmp_path):
    settings = Settings(home=tmp_path)
    settings.bundles_dir.mkdir()
    assert read_challenge(settings) is None
    set_challenge(settings.bundles_dir, Challenge("abc", 0.1, "caller"))
    assert read_challenge(settings) == Challenge("abc", 0.1, "caller")
    own = Settings(home=tmp_path, challenger={"bundle": "def", "share": 0.2})
    assert read_challenge(own) == Challenge("def", 0.2)
    for content in ("", "[]", '{"bundle": "x", "share": 2}'):
        (settings.bundles_dir / FILE).write_text(content)
        with pytest.raises(BundleError, match="is no challenge"):
            read_challenge(settings)
