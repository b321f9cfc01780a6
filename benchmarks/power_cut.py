"""A power cut on the small profile: everything is killed in the middle of a materialization and of requests.

Prints how long the stack takes to answer after a cold start and after the cut, what it holds in memory and on
disk, whether every answer that left is kept, and what became of the interrupted run.

    MEDASSETS_HOME=copy/of/a/trained/home python benchmarks/power_cut.py --asset models/common_forest
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from medassets.deploying import manager, native
from medassets.serving.answering import open_store
from medassets.settings import Settings

CASE = {"age": 24, "sex": "F", "observed": ["HP:0001166", "HP:0001083", "HP:0002616"], "top": 3}
LAUNCH = """
mutation Launch($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
RUNS = "{ runsOrError(limit: 5) { ... on Runs { results { runId status rootRunId } } } }"


@dataclass
class Caller(threading.Thread):
    """One client that asks one request after another until told to stop, and remembers what it was given."""

    address: str
    given: list[str] = field(default_factory=list)
    cut_off: int = 0

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Ask until told to stop or cut off."""
        with httpx.Client(base_url=self.address, timeout=10) as client:
            while not self.over.is_set() and len(self.given) < 5000:
                try:
                    answer = client.post("/v1/diagnose", json=CASE)
                except httpx.TransportError:
                    self.cut_off += 1
                    return
                if answer.status_code == 200:
                    self.given.append(answer.json()["prediction_id"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asset", default="models/common_forest", help="what is being made at the cut")
    parser.add_argument(
        "--after", type=float, default=4.0, help="seconds of the materialization before the cut"
    )
    options = parser.parse_args()
    os.environ |= {"MEDASSETS_AUTH": "off"}
    settings = Settings()
    made = native.plan(settings, "small")
    api, dagster = (f"http://{made.at[name]}" for name in ("api", "webserver"))

    print(f"first answer after power-on: {first_answer(api, settings.home)}")
    wait(made)
    states = manager.states(made)
    print("memory while serving, MB: " + ", ".join(f"{s.name} {s.resident_mb:.0f}" for s in states))
    print(f"memory of everything: {sum(s.resident_mb for s in states):.0f} MB")
    print(f"disk: home {size(settings.home):.2f} GB, environment {size(Path(sys.prefix)):.2f} GB")

    run = launch(dagster, options.asset)
    while status(dagster, run) not in ("STARTED", "FAILURE", "SUCCESS"):
        time.sleep(0.5)
    callers = [Caller(api) for _ in range(2)]
    for caller in callers:
        caller.start()
    time.sleep(options.after)
    before = status(dagster, run)
    killed = manager.end_processes(settings.home)
    for caller in callers:
        caller.over.set()
        caller.join(20)
    given = [one for caller in callers for one in caller.given]
    cut_off = sum(caller.cut_off for caller in callers)
    print(f"cut: {killed} processes killed, the run was {before}, {cut_off} requests cut off")

    began = time.monotonic()
    print(f"first answer after the cut: {first_answer(api, settings.home)}")
    wait(made)
    store = open_store(settings)
    lost = [one for one in given if store.get(one).prediction_id != one]
    print(
        f"answers that had left: {len(given)}, lost: {len(lost)}; "
        f"audit chain whole over {store.verify()} entries"
    )
    store.close()
    states_of = {}
    while time.monotonic() - began < 400:
        states_of = {r["runId"]: r for r in query(dagster, RUNS)["runsOrError"]["results"]}
        retried = [r for r in states_of.values() if r["rootRunId"] == run and r["runId"] != run]
        if retried and retried[0]["status"] in ("SUCCESS", "FAILURE"):
            print(
                f"interrupted run: {states_of[run]['status']}; made again by itself: {retried[0]['status']}, "
                f"{time.monotonic() - began:.0f} s after the start"
            )
            break
        time.sleep(1)
    else:
        print("not made again in 400 s: " + json.dumps(states_of))
    manager.stop(settings.home)


def first_answer(api: str, home: Path) -> str:
    """Start the stack; the time until it answered, and what all its processes computed until then."""
    began = time.monotonic()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "medassets"), "up"], stdout=subprocess.DEVNULL
    )
    while True:
        try:
            if httpx.post(f"{api}/v1/diagnose", json=CASE, timeout=10).status_code == 200:
                break
        except httpx.TransportError:
            time.sleep(0.1)
    taken, ticks = time.monotonic() - began, os.sysconf("SC_CLK_TCK")
    fields = [
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in manager.marked(home)
    ]
    busy = sum(int(number) for one in fields for number in one[11:15]) / ticks
    process.wait()
    return f"{taken:.1f} s, {busy:.1f} s of one processor, load {os.getloadavg()[0]:.0f}"


def wait(made: native.Plan) -> None:
    if wrong := manager.wait_until_healthy(made, 120):
        sys.exit(f"not healthy: {wrong}")


def query(address: str, text: str, **variables: object) -> dict:
    body = {"query": text, "variables": variables}
    return httpx.post(f"{address}/graphql", json=body, timeout=30).json()["data"]


def launch(address: str, asset: str) -> str:
    selector = {
        "repositoryLocationName": "medassets", "repositoryName": "__repository__", "jobName": "whole_graph",
        "assetSelection": [{"path": asset.split("/")}], "assetCheckSelection": [],
    }  # fmt: skip
    answer = query(address, LAUNCH, params={"selector": selector, "mode": "default", "runConfigData": {}})
    if answer["launchPipelineExecution"]["__typename"] != "LaunchRunSuccess":
        sys.exit(str(answer))
    return answer["launchPipelineExecution"]["run"]["runId"]


def status(address: str, run: str) -> str:
    found = {r["runId"]: r["status"] for r in query(address, RUNS)["runsOrError"]["results"]}
    return found.get(run, "")


def size(folder: Path) -> float:
    """Size on disk in gigabytes."""
    return sum(f.lstat().st_blocks * 512 for f in folder.rglob("*") if not f.is_symlink()) / 1e9


if __name__ == "__main__":
    main()
