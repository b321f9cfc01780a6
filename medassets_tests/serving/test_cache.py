"""The same request again gets the same answer, with an id and an audit entry of its own."""

from urllib.parse import urlsplit

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from medassets.commands.server import free_port
from medassets.serving import cache as module
from medassets.serving.answering import Desk
from medassets.serving.cache import AnswerCache, Memory, Shared, UnavailableError, open_cache
from medassets.serving.http import create_app
from medassets.serving.requests import parse_request
from medassets.serving.sealing import Sealer
from medassets.serving.store import PredictionStore, StoreError
from medassets.settings import Settings

CASE = {"observed": ["HP:0001250"], "age": "P2Y", "language": "en"}
SEALER = Sealer({"aaaa": b"a" * 32})


class Clock:
    at = 0.0

    def __call__(self):
        return self.at


@pytest.fixture
def counts():
    return []


def desk_with(cache, diagnoser, tmp_path, sealer=None):
    return Desk(diagnoser, PredictionStore(tmp_path / "p.db"), cache=cache, sealer=sealer)


def without_identity(answer):
    return {name: value for name, value in answer.items() if name not in ("prediction_id", "at")}


def test_a_kept_answer_is_given_under_a_new_id_and_audited(diagnoser, tmp_path, counts):
    desk = desk_with(AnswerCache(Memory(10, 60), count=counts.append), diagnoser, tmp_path)
    first, second = (desk.diagnose(parse_request(CASE), actor="dr-a") for _ in range(2))
    assert counts == ["miss", "hit"]
    assert first["prediction_id"] != second["prediction_id"]
    assert without_identity(first) == without_identity(second) and list(first) == list(second)
    assert desk.store.verify() == 2 and desk.prediction(second["prediction_id"]).answer == second


def test_what_was_given_cannot_be_changed_through_a_caller(diagnoser, tmp_path):
    desk = desk_with(AnswerCache(Memory(10, 60)), diagnoser, tmp_path)
    first = desk.diagnose(parse_request(CASE))
    first["rare"]["candidates"].clear()
    assert desk.diagnose(parse_request(CASE))["rare"]["candidates"]


@pytest.mark.parametrize(
    "change",
    [
        {"observed": ["HP:0007359"]},
        {"excluded": ["HP:0000252"]},
        {"age": "P3Y"},
        {"sex": "F"},
        {"language": "es"},
        {"top": 1},
        {"text": "seizures"},
    ],
)
def test_all_that_decides_an_answer_is_in_the_key(change):
    cache = AnswerCache(Memory(10, 60))
    assert cache.key("b", "c", parse_request(CASE)) != cache.key("b", "c", parse_request(CASE | change))


def test_bundle_code_and_site_key_are_in_the_key_and_the_patient_is_not():
    cache, request = AnswerCache(Memory(10, 60)), parse_request(CASE)
    keys = {cache.key(*of, request) for of in (("b", "c"), ("b", "d"), ("x", "c"))}
    assert len(keys | {AnswerCache(Memory(10, 60), SEALER).key("b", "c", request)}) == 4
    assert cache.key("b", "c", parse_request(CASE | {"patient_id": "p-1"})) in keys


def test_old_answers_and_those_used_longest_ago_go():
    clock = Clock()
    memory = Memory(2, 60, clock)
    memory.put("a", b"1")
    memory.put("b", b"2")
    assert memory.get("a") == b"1"
    memory.put("c", b"3")
    assert memory.get("b") is None and memory.get("a") == b"1" and memory.get("c") == b"3"
    clock.at = 60
    assert memory.get("a") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 400)), max_size=40))
def test_no_sequence_exceeds_the_bounds(puts):
    memory = Memory(4, 60, lambda: 0.0)
    bound, module.MOST_BYTES = module.MOST_BYTES, 1000
    try:
        for key, size in puts:
            memory.put(key, b"x" * size)
            kept = [value for _, value in memory._kept.values()]
            assert len(kept) <= 4 and sum(map(len, kept)) == memory._bytes <= 1000
            assert memory.get(key) == b"x" * size
    finally:
        module.MOST_BYTES = bound


def test_settings_choose_the_place(tmp_path):
    assert open_cache(Settings(home=tmp_path, cache={"entries": 0}), None) is None
    assert open_cache(Settings(home=tmp_path), None)
    with pytest.raises(StoreError, match="no address of Redis") as error:
        open_cache(Settings(home=tmp_path, cache={"url": "http://me:hunter2@host"}), None)
    assert "hunter2" not in str(error.value)


def test_a_redis_that_is_down_is_left_alone_for_a_while(counts, monkeypatch):
    clock = Clock()
    shared = Shared(f"redis://127.0.0.1:{free_port()}/0", 60, None, clock)
    cache = AnswerCache(shared, count=counts.append)
    tries, connect = [], redis.Connection.connect
    monkeypatch.setattr(redis.Connection, "connect", lambda self: tries.append(self) or connect(self))
    assert cache.get("k") is None and tries
    tries.clear()
    cache.put("k", {"a": 1})
    for _ in range(100):
        cache.get("k")
    assert set(counts) == {"unavailable"} and not tries
    with pytest.raises(UnavailableError):
        shared.get("k")


@pytest.mark.servers
def test_services_share_answers_in_redis_sealed_and_for_a_while(diagnoser, tmp_path, redis_url, counts):
    def service(name):
        shared = Shared(redis_url, 60, SEALER)
        return desk_with(AnswerCache(shared, SEALER, counts.append), diagnoser, tmp_path / name, SEALER)

    first = service("one").diagnose(parse_request(CASE))
    second = service("two").diagnose(parse_request(CASE))
    assert counts == ["miss", "hit"] and without_identity(first) == without_identity(second)
    with redis.Redis.from_url(redis_url) as client:
        (key,) = client.keys()
        content = client.get(key)
        assert b"Seizure" not in content and b"HP:" not in key + content and 0 < client.ttl(key) <= 60
        # Copied to another key, or put there by someone without the site's key, it counts as not kept.
        client.set("medassets:answer:other", content)
        client.set("medassets:answer:plain", b'{"rare": null}')
    shared = Shared(redis_url, 60, SEALER)
    assert shared.get("other") is None and shared.get("plain") is None


@pytest.mark.servers
def test_answers_go_on_while_redis_is_killed_and_started_again(
    diagnoser, tmp_path, redis_server, redis_url, counts
):
    clock = Clock()
    assert urlsplit(redis_url).port == redis_server.port
    desk = desk_with(
        AnswerCache(Shared(redis_url, 60, None, clock), count=counts.append), diagnoser, tmp_path
    )
    with TestClient(create_app(lambda: desk)) as client:
        redis_server.stop()
        try:
            assert [client.post("/v1/diagnose", json=CASE).status_code for _ in range(3)] == [200] * 3
        finally:
            redis_server.start()
        clock.at += module.REDIS_PAUSE
        assert [client.post("/v1/diagnose", json=CASE).status_code for _ in range(2)] == [200] * 2
    assert counts == ["unavailable"] * 3 + ["miss", "hit"]
    assert desk.store.verify() == 5
