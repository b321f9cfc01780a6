"""A long run of the served bento under disturbances: is each answer right, kept, and the memory flat?

Requests leave at an even rate whether or not earlier ones were answered; one in a hundred has a malformed
body. Meanwhile the cache's Redis (a server of this script's own) is killed and started again, and the
service changes to another bundle. Checked: each answer equals that of the same predictor in this process,
but for id and time; each answer's id stands in the store, whose audit chain holds; no status from 500 on;
the resident memory of the service, before, after the change of bundles and at the end.

Usage: ``python benchmarks/serve_soak.py [--minutes 30] [--rate 50]`` after ``medassets run``; prints a table
and ends with 1 where something was wrong. Needs Debian's ``redis-server``; ``--no-redis`` goes without. At 50
requests a second it takes about one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from processes import resident

from medassets.commands.serve import bento_of
from medassets.commands.server import environment, free_port, port_is_free, serve_command, stop_process
from medassets.serving.answering import plain
from medassets.serving.bundle import latest_bundle, point_latest, read_manifest, write_bundle
from medassets.serving.predictor import Diagnoser
from medassets.serving.requests import RequestError, parse_request
from medassets.serving.signing import open_signer
from medassets.serving.store import PredictionStore
from medassets.settings import Settings
from medassets.settings_sections import CacheSettings

CASES = 300
CONNECTIONS = 64
MALFORMED = (
    b"{",
    b"[]",
    b'{"age": NaN}',
    b"[" * 5000,
    b'{"observed": ["HP:9999999"]}',
    b'{"sex": 3}',
    b"\xff",
)
#: Differ between two answers to the same request.
OWN = ("prediction_id", "at")


@dataclass
class Tally:
    """What was seen."""

    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bundles: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    lost: int = 0


class Redis:
    """A Redis server that is killed and started again; without one where ``port`` is ``None``."""

    def __init__(self, folder: Path, wanted: bool) -> None:
        self.port = free_port() if wanted else None
        self._folder, self._process = folder, None
        self.kills = 0

    def start(self) -> None:
        """Start it, and wait until it listens."""
        if self.port is None:
            return
        command = [
            shutil.which("redis-server") or "redis-server", "--port", str(self.port), "--bind", "127.0.0.1",
            "--save", "", "--dir", str(self._folder),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        while port_is_free("127.0.0.1", self.port):
            time.sleep(0.05)

    def kill(self) -> None:
        """End it without a word, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.kills += 1
            self._process = None


def made_cases(diagnoser: Diagnoser, seed: int = 0) -> list[tuple[bytes, dict[str, Any]]]:
    """Requests with the answers that are right, without what differs between two answers."""
    rng = random.Random(seed)
    terms: list[str] = []
    if diagnoser.rare is not None:
        ontology = diagnoser.rare.ontology
        terms = [t for t, known in zip(ontology.terms, ontology.is_phenotype, strict=True) if known]
    questions = []
    if diagnoser.common is not None:
        questions = [shape.code for shape in diagnoser.common.space.shapes if shape.type == "B"]
    cases: list[tuple[bytes, dict[str, Any]]] = []
    while len(cases) < CASES:
        asked = rng.sample(questions, 8) if questions else []
        body = {
            "age": rng.randint(0, 90),
            "sex": rng.choice(["F", "M", "unknown"]),
            "observed": rng.sample(terms, rng.randint(1, 8)) if terms else [],
            "evidence": {"present": asked[:4], "absent": asked[4:]},
            "top": rng.choice([3, 10]),
        }
        try:
            answer = plain(diagnoser.diagnose(parse_request(json.dumps(body))))
        except RequestError:
            continue  # findings that contradict each other
        cases.append((json.dumps(body).encode(), compared(answer)))
    return cases


def compared(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what may differ: id, time, and which of the two bundles gave it."""
    kept = {name: value for name, value in answer.items() if name not in OWN}
    return kept | {"versions": {"hpo": answer["versions"]["hpo"]}}


def second_bundle(bundles: Path, first: Path, settings: Settings) -> str:
    """The same models under another version: what answers is told from what is answered."""
    manifest = read_manifest(first)

    def copy(part: str) -> Any:
        return lambda folder: shutil.copytree(first / part, folder, dirs_exist_ok=True)

    made = write_bundle(
        bundles, parts={part: copy(part) for part in manifest.parts},
        settings_origin=manifest.settings_origin, profile="full" if manifest.profile == "quick" else
        "quick", models=manifest.models, data=manifest.data, sources=manifest.sources, make_latest=False,
        sign=open_signer(settings).sign,
    )  # fmt: skip
    return made.version


async def ask(
    client: httpx.AsyncClient,
    free: asyncio.Semaphore,
    tally: Tally,
    body: bytes,
    right: dict[str, Any] | None,
) -> None:
    """One request, and the check of its answer."""
    started = time.monotonic()
    try:
        async with free:
            response = await client.post("/v1/diagnose", content=body)
    except httpx.TransportError as error:
        tally.lost += 1
        tally.wrong.append(f"no answer: {type(error).__name__}")
        return
    tally.seconds.append(time.monotonic() - started)
    tally.statuses[response.status_code] += 1
    if right is None:
        if not 400 <= response.status_code < 500:
            tally.wrong.append(f"malformed body: {response.status_code}")
    elif response.status_code != httpx.codes.OK:
        tally.wrong.append(f"{response.status_code}: {response.text[:200]}")
    else:
        answer = response.json()
        tally.ids.append(answer["prediction_id"])
        tally.bundles[answer["versions"]["bundle"]] += 1
        if compared(answer) != right:
            tally.wrong.append(f"another answer than the predictor's: {answer['prediction_id']}")


async def drive(
    address: str, cases: list[tuple[bytes, dict[str, Any]]], seconds: float, rate: float, malformed: float,
    events: list[tuple[float, Any]], root: int, tally: Tally,
) -> None:  # fmt: skip
    """Send at the rate, and let the events happen at their times."""
    rng, tasks = random.Random(1), set()
    # Idle connections are given up before the service does so, or both may at the same moment.
    limits = httpx.Limits(
        max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=2
    )
    # Requests that a slow service keeps waiting wait here: the client looks at all of its own at each step.
    free = asyncio.Semaphore(CONNECTIONS)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits, trust_env=False) as client:
        started, sampled = time.monotonic(), -10.0
        while (elapsed := time.monotonic() - started) < seconds:
            if elapsed - sampled >= min(5.0, seconds / 20):
                tally.memory.append((elapsed, resident(root)))
                sampled = elapsed
            while events and elapsed >= events[0][0]:
                await asyncio.to_thread(events.pop(0)[1])
            while tally.sent < (time.monotonic() - started) * rate:
                tally.sent += 1
                if rng.random() < malformed:
                    work = ask(client, free, tally, rng.choice(MALFORMED), None)
                else:
                    work = ask(client, free, tally, *rng.choice(cases))
                task = asyncio.create_task(work)
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(1 / rate)
        await asyncio.gather(*tasks)
        tally.memory.append((time.monotonic() - started, resident(root)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--malformed", type=float, default=0.01, help="share of malformed bodies")
    parser.add_argument("--kills", type=int, default=5, help="how often Redis is killed and started again")
    parser.add_argument("--no-redis", action="store_true")
    parser.add_argument("--log", default=os.devnull, help="file for what the service says")
    arguments = parser.parse_args()
    installed, tally, seconds = Settings(), Tally(), 60 * arguments.minutes
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="medassets-soak-")))
        first = latest_bundle(installed.bundles_dir)
        bento = bento_of(installed)
        redis = Redis(scratch, not arguments.no_redis)
        stack.callback(redis.kill)
        redis.start()
        cache = CacheSettings(url=f"redis://127.0.0.1:{redis.port}") if redis.port else CacheSettings()
        settings = Settings(
            home=scratch, auth="off", cache=cache, signing_key=installed.signing_key_file,
            bundle_keys=installed.bundle_keys_file,
        )  # fmt: skip
        shutil.copytree(first, settings.bundles_dir / first.name)
        point_latest(settings.bundles_dir, first.name)
        second = second_bundle(settings.bundles_dir, first, settings)
        cases = made_cases(Diagnoser.load(first))
        port = free_port()
        log = stack.enter_context(open(arguments.log, "wb"))
        process = subprocess.Popen(
            serve_command(str(bento), "127.0.0.1", port), env=dict(environment(settings)),
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        stack.callback(stop_process, process)
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(address, process)
        events: list[tuple[float, Any]] = [
            (seconds * 0.6, lambda: point_latest(settings.bundles_dir, second))
        ]
        for number in range(arguments.kills if redis.port else 0):
            at = seconds * (number + 1) / (arguments.kills + 1)
            events += [(at, redis.kill), (at + min(10.0, seconds / (3 * arguments.kills)), redis.start)]
        asyncio.run(
            drive(
                address, cases, seconds, arguments.rate, arguments.malformed,
                sorted(events, key=lambda event: event[0]), process.pid, tally,
            )
        )  # fmt: skip
        stop_process(process)
        unlogged, entries = unkept(settings, tally.ids)
    report(tally, unlogged, entries, redis.kills - (1 if redis.port else 0), seconds)
    sys.exit(1 if tally.wrong or unlogged or any(status >= 500 for status in tally.statuses) else 0)


def wait_until_ready(address: str, process: subprocess.Popen[bytes]) -> None:
    started = time.monotonic()
    while time.monotonic() - started < 120 and process.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit("the service did not become ready")


def unkept(settings: Settings, ids: list[str]) -> tuple[int, int]:
    """How many answers the store lacks, and how many entries its sound audit chain has."""
    store = PredictionStore(settings.predictions_db)
    kept = {record.prediction_id for record in store.records()}
    entries = store.verify()
    store.close()
    return len(set(ids) - kept) + len(ids) - len(set(ids)), entries


def report(tally: Tally, unlogged: int, entries: int, kills: int, seconds: float) -> None:
    p50, p99 = np.percentile(np.array(tally.seconds) * 1000, [50, 99])
    memory = np.array(tally.memory)
    parts = {
        f"{low:.0%} to {high:.0%}": memory[
            (memory[:, 0] >= low * seconds) & (memory[:, 0] <= high * seconds), 1
        ]
        for low, high in ((0.1, 0.55), (0.55, 0.7), (0.7, 0.85), (0.85, 1.1))
    }
    rows = {
        "seconds": f"{seconds:.0f}",
        "requests sent": f"{tally.sent} ({tally.sent / seconds:.1f} a second)",
        "statuses": ", ".join(f"{status}: {n}" for status, n in sorted(tally.statuses.items())),
        "without an answer": str(tally.lost),
        "kills of Redis": str(kills),
        "bundles that answered": ", ".join(f"{name}: {n}" for name, n in tally.bundles.items()),
        "wrong": f"{len(tally.wrong)} {Counter(tally.wrong).most_common(3) if tally.wrong else ''}",
        "answers not kept": str(unlogged),
        "entries of the audit chain": str(entries),
        "latency, ms": f"p50 {p50:.1f}, p99 {p99:.1f}",
        "resident memory, MiB": "; ".join(f"{k}: {v.mean():.0f}" for k, v in parts.items() if len(v)),
    }
    for name, value in rows.items():
        print(f"{name:28s} {value}")


if __name__ == "__main__":
    main()
