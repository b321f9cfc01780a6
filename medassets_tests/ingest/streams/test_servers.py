"""Over real connections: killed twenty times, nothing is lost and nothing doubled."""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from medassets.commands.server import stop_process
from medassets.ingest.streams.pipeline import EVENTS
from medassets_tests.ingest.streams.samples import event, rejected, table
from medassets_tests.waiting import until

pytestmark = pytest.mark.servers
KILLS, DEADLINE = 20, 120.0


def payloads(count):
    """Events with every eleventh sent twice and every fiftieth no event."""
    now = datetime.now(UTC).isoformat()
    for number in range(count):
        data = json.dumps(event(number, event_time=now)).encode()
        yield data
        if number % 11 == 0:
            yield data
        if number % 50 == 0:
            yield b"{poison %d" % number


@pytest.fixture
def topic(kafka_bootstrap):
    """A topic of its own, with its dead-letter topic."""
    from confluent_kafka.admin import AdminClient, NewTopic

    name = f"events-{uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    for done in admin.create_topics([NewTopic(name, 3, 1), NewTopic(f"{name}.dead", 1, 1)]).values():
        done.result()
    return name


@pytest.fixture
def process(tmp_path):
    """Starts ``medassets stream`` over a home of its own."""
    started = []

    def start(kind, idle="1", **variables):
        given = {
            "MEDASSETS_HOME": str(tmp_path / "home"),
            "MEDASSETS_STREAM__BATCH_ROWS": "40",
            "MEDASSETS_STREAM__BATCH_SECONDS": "0.05",
            **{f"MEDASSETS_STREAM__{name.upper()}": value for name, value in variables.items()},
        }
        program = "from medassets.cli import main; main()"
        command = [sys.executable, "-c", program, "stream", kind, "--until-idle", idle, "--json"]
        made = subprocess.Popen(
            command,
            env=os.environ | given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(made)
        return made

    yield start
    for made in started:
        stop_process(made)
        made.communicate()


def produce(bootstrap, topic, sent):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap})
    for data in sent:
        producer.produce(topic, data, key=data[:24])
    assert producer.flush(20) == 0


def commits(lake):
    return len(list((lake / EVENTS / "_delta_log").glob("*.json")))


def kill_after_commits(process, lake, wanted, rng):
    """Let it commit a few times, then kill it at a random moment; it may have finished by itself."""
    before = commits(lake)
    until(lambda: commits(lake) >= before + wanted or process.poll() is not None, pause=0.005)
    time.sleep(rng.uniform(0, 0.02))
    process.kill()
    process.communicate()


def finish(process):
    output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors.decode()[-2000:]
    return json.loads(output)


def assert_exactly(lake, count):
    ids = Counter(row["event_id"] for row in table(lake))
    assert sorted(ids) == sorted(f"e{number}" for number in range(count))
    assert set(ids.values()) == {1}
    assert len(rejected(lake)) == len(range(0, count, 50))


def test_kafka_killed_twenty_times_loses_and_doubles_nothing(kafka_bootstrap, topic, process, tmp_path):
    rng, lake, count = random.Random(7), tmp_path / "home" / "lake", 6000
    produce(kafka_bootstrap, topic, payloads(count))
    given = {"kafka_servers": kafka_bootstrap, "kafka_topic": topic}
    points = []
    for _ in range(KILLS):
        kill_after_commits(process("kafka", **given), lake, rng.randint(1, 5), rng)
        points.append(commits(lake))
    assert len(set(points)) == KILLS, "each kill hit a stream that was writing"
    left = finish(process("kafka", **given))
    assert left["written"] > 0
    assert_exactly(lake, count)


def test_dead_letters_hold_the_payload_and_the_reason(kafka_bootstrap, topic, process):
    from confluent_kafka import Consumer, TopicPartition

    produce(kafka_bootstrap, topic, [b"{poison"])
    assert finish(process("kafka", kafka_servers=kafka_bootstrap, kafka_topic=topic))["rejected"] == 1
    reader = Consumer(
        {"bootstrap.servers": kafka_bootstrap, "group.id": "t", "auto.offset.reset": "earliest"}
    )
    reader.assign([TopicPartition(f"{topic}.dead", 0, 0)])
    found = reader.poll(20)
    assert found.value() == b"{poison"
    assert dict(found.headers())["reason"] == b"is not JSON"
    assert found.key().startswith(f"kafka/{topic}/".encode())
    reader.close()


def test_a_missing_topic_is_made_only_where_the_settings_say_so(kafka_bootstrap, process):
    from confluent_kafka.admin import AdminClient

    name = f"new-{uuid4().hex[:8]}"
    given = {"kafka_servers": kafka_bootstrap, "kafka_topic": name}
    refused = process("kafka", **given)
    assert name.encode() in refused.communicate(timeout=DEADLINE)[0] and refused.returncode
    finish(process("kafka", kafka_partitions="3", **given))
    topics = AdminClient({"bootstrap.servers": kafka_bootstrap}).list_topics(timeout=10).topics
    assert [len(topics[topic].partitions) for topic in (name, f"{name}.dead")] == [3, 1]
    produce(kafka_bootstrap, name, payloads(100))
    assert finish(process("kafka", kafka_partitions="3", **given))["written"] == 100


def test_a_group_shares_the_partitions_out(kafka_bootstrap, topic, process, tmp_path):
    lake, count = tmp_path / "home" / "lake", 2000
    produce(kafka_bootstrap, topic, payloads(count))
    given = {"kafka_servers": kafka_bootstrap, "kafka_topic": topic, "kafka_group": f"g-{topic}"}
    quick = {"kafka_options": '{"session.timeout.ms": "6000"}', "idle": "12"}
    kill_after_commits(process("kafka", **given, **quick), lake, 3, random.Random(1))
    finish(process("kafka", **given, **quick))
    assert_exactly(lake, count)


def test_two_processes_of_a_group_never_write_the_same(kafka_bootstrap, topic, process, tmp_path):
    lake, count = tmp_path / "home" / "lake", 1500
    given = {"kafka_servers": kafka_bootstrap, "kafka_topic": topic, "kafka_group": f"g-{topic}"}
    sent = list(payloads(count))
    produce(kafka_bootstrap, topic, sent[:500])
    both = [process("kafka", **given, idle="600") for _ in range(2)]
    until(lambda: commits(lake) >= 5, pause=0.005)
    produce(kafka_bootstrap, topic, sent[500:])
    until(lambda: len(table(lake)) == count, pause=0.005)
    for running in both:
        running.terminate()
    assert sum(finish(running)["written"] for running in both) == count
    assert_exactly(lake, count)


def test_mqtt_killed_again_and_again_loses_and_doubles_nothing(mosquitto_port, process, tmp_path):
    rng, lake, count = random.Random(8), tmp_path / "home" / "lake", 1500
    given = {
        "mqtt_port": str(mosquitto_port),
        "mqtt_client": f"c-{uuid4().hex[:8]}",
        "mqtt_topic": f"t/{uuid4().hex[:8]}/events",
        "mqtt_in_flight": "50",
    }
    # The first start makes the durable session: from then on the broker keeps what is sent.
    finish(process("mqtt", **given))
    publish(mosquitto_port, given["mqtt_topic"], payloads(count))
    for _ in range(8):
        kill_after_commits(process("mqtt", **given), lake, rng.randint(1, 3), rng)
    finish(process("mqtt", **given))
    assert_exactly(lake, count)


def publish(port, topic, sent):
    from paho.mqtt import client as mqtt

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    last = [client.publish(topic, data, qos=1) for data in sent][-1]
    last.wait_for_publish(20)
    client.disconnect()
    client.loop_stop()


def test_a_broker_that_is_not_there_is_named(process):
    failed = process("mqtt", mqtt_port="9")
    output, _ = failed.communicate(timeout=DEADLINE)
    assert failed.returncode == 1
    assert "127.0.0.1:9" in json.loads(output)["error"]


def test_sigterm_writes_what_was_read(kafka_bootstrap, topic, process, tmp_path):
    produce(kafka_bootstrap, topic, payloads(3000))
    lake = tmp_path / "home" / "lake"
    running = process("kafka", kafka_servers=kafka_bootstrap, kafka_topic=topic)
    until(lambda: commits(lake) >= 5, pause=0.005)
    running.terminate()
    counts = finish(running)
    assert counts["written"] == len(table(lake))
