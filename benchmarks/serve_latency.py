"""Latency of ``POST /v1/diagnose``: the bento against the same predictor behind bare FastAPI and uvicorn.

Both run on this machine, one worker each, and answer the same request in turns; both keep what they answer.
Usage: ``python benchmarks/serve_latency.py [--seconds 10]`` after ``medassets run``; prints a table, and
JSON with ``--json``. Read times as ratios: on a busy machine both are slower. The processor's time a
request is that of the server's processes and depends least on the machine's load.

The long tail of BentoML's default path is Python's collector. What a worker imports is a few hundred
thousand objects, and a full collection walks them all in the middle of a request: with a trivial service on
two cores that ten others shared, one such walk took 173 ms, the longest of 1,500 requests 179 ms; with the
objects of the start set apart (``gc.freeze``) 31 ms and 64 ms. A bundle adds as many objects again. So the
service collects and freezes after each load (``serving.swap``), and loads with the collector off. Nothing
else was found: its access log and its own metrics cost time at the median, not in the tail.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
from processes import cpu_seconds

from medassets.commands.run import EXAMPLE
from medassets.commands.serve import bento_of
from medassets.commands.server import environment, free_port, serve_command, stop_process
from medassets.settings import Settings
from medassets.settings_sections import CacheSettings

BARE = """
import gc, sys, uvicorn
from medassets.serving.answering import open_desk
from medassets.serving.http import create_app
from medassets.settings import Settings
desk = open_desk(Settings())
gc.collect(); gc.freeze()
uvicorn.run(create_app(lambda: desk), port=int(sys.argv[1]), access_log=False, log_level="warning")
"""


@contextmanager
def server(
    command: list[str], port: int, settings: Settings, path: str
) -> Iterator[tuple[float, int, float]]:
    """Run a server; gives the seconds until it was ready, its process, and the processor's seconds."""
    started = time.monotonic()
    process = subprocess.Popen(
        # One thread of OpenBLAS, as the bento's worker has it.
        command, env={**environment(settings), "OPENBLAS_NUM_THREADS": "1"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}{path}", timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if process.poll() is not None or time.monotonic() - started > 90:
                raise SystemExit(f"{command[:4]} did not become ready")
            time.sleep(0.05)
        yield time.monotonic() - started, process.pid, cpu_seconds(process.pid)
    finally:
        stop_process(process)


def client(port: int, body: bytes, until: float, latencies: list[float]) -> None:
    head = f"POST /v1/diagnose HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
    request = head.encode() + b"\r\n\r\n" + body
    own = []
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.monotonic() < until:
            started = time.perf_counter()
            link.sendall(request)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += link.recv(1 << 16)
            header, rest = answer.split(b"\r\n\r\n", 1)
            if b" 200 " not in header.split(b"\r\n")[0]:
                raise SystemExit(header.decode())
            lines = dict(line.lower().split(b": ", 1) for line in header.split(b"\r\n")[1:])
            while len(rest) < int(lines[b"content-length"]):
                rest += link.recv(1 << 16)
            own.append(time.perf_counter() - started)
    latencies.extend(own)


def load(port: int, root: int, connections: int, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    body, until = json.dumps(EXAMPLE).encode(), time.monotonic() + seconds
    threads = [
        threading.Thread(target=client, args=(port, body, until, latencies)) for _ in range(connections)
    ]
    started, used = time.monotonic(), cpu_seconds(root)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ms = np.array(latencies) * 1000
    p50, p99 = np.percentile(ms, [50, 99])
    return {
        "requests_per_s": len(ms) / (time.monotonic() - started),
        "p50_ms": p50,
        "p99_ms": p99,
        "cpu_ms": (cpu_seconds(root) - used) * 1000 / max(len(ms), 1),
        "n": len(ms),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds; the median is reported")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    installed = Settings()
    bento = bento_of(installed)
    with ExitStack() as stack:
        # A store of its own: the installation's audit log is no place for a benchmark.
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.symlink(installed.bundles_dir, scratch / "bundles")
        # Both without keys, and without the cache: the same request again and again would measure that.
        settings = Settings(
            home=scratch,
            auth="off",
            cache=CacheSettings(entries=0),
            bundle_keys=installed.bundle_keys_file,
            follow_latest=False,
        )
        ports = {"bento": free_port(), "bare": free_port()}
        start = {
            "bento": stack.enter_context(
                server(
                    serve_command(str(bento), "127.0.0.1", ports["bento"]),
                    ports["bento"],
                    settings,
                    "/readyz",
                )
            ),
            "bare": stack.enter_context(
                server(
                    [sys.executable, "-c", BARE, str(ports["bare"])], ports["bare"], settings, "/openapi.json"
                )
            ),
        }
        for name, port in ports.items():
            load(port, start[name][1], 1, 1)
        results = {}
        for connections in (1, 16):
            runs: dict[str, list[dict[str, float]]] = {name: [] for name in ports}
            for _ in range(arguments.rounds):
                for name, port in ports.items():
                    runs[name].append(load(port, start[name][1], connections, arguments.seconds))
            for name in ports:
                median = {key: float(np.median([run[key] for run in runs[name]])) for key in runs[name][0]}
                results[f"{name}, {connections} connections"] = median
    bento16, bare16 = results["bento, 16 connections"], results["bare, 16 connections"]
    ratios = {
        "requests_per_s": bento16["requests_per_s"] / bare16["requests_per_s"],
        "p99": bento16["p99_ms"] / bare16["p99_ms"],
    }
    ready = {name: {"seconds": passed, "cpu_seconds": cpu} for name, (passed, _, cpu) in start.items()}
    report = {"results": results, "ratios_at_16": ratios, "seconds_to_ready": ready, "cpus": os.cpu_count()}
    if arguments.json:
        print(json.dumps(report, indent=1))
        return
    for name, row in results.items():
        print(f"{name:24s} " + "  ".join(f"{key} {value:8.2f}" for key, value in row.items()))
    print(
        f"bento / bare at 16 connections: requests/s {ratios['requests_per_s']:.2f}, p99 {ratios['p99']:.2f}"
    )
    for name, needed in ready.items():
        print(f"{name} ready after {needed['seconds']:.1f} s, {needed['cpu_seconds']:.1f} s of the processor")


if __name__ == "__main__":
    main()
