"""Starting the service as a process, and stopping exactly that process.

What belongs here: ports, waiting until ready, stopping. What does not: what is asked of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from medassets.settings import TELEMETRY_OFF, Settings

START_SECONDS = 60.0


class ServerError(Exception):
    """The service did not become ready; the message has the end of its log."""


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(host: str, port: int) -> bool:
    """Whether the service could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def serve_command(target: str, host: str, port: int) -> list[str]:
    """The command that serves a bento's folder, or a service's source."""
    return [sys.executable, "-m", "bentoml", "serve", target, "--host", host, "--port", str(port)]


def environment(settings: Settings) -> Mapping[str, str]:
    """The service's environment: these settings, BentoML's store, no telemetry."""
    store = {"BENTOML_HOME": str(settings.home / "bentoml")}
    return TELEMETRY_OFF | os.environ | settings.as_environment() | store


@contextmanager
def running(bento: Path, settings: Settings) -> Iterator[str]:
    """Serve a bento on a free port while the block runs.

    Yields:
        The service's address.

    Raises:
        ServerError: it ended, or was not ready in time.
    """
    import httpx

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = settings.home / "logs" / "example-service.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            serve_command(str(bento), "127.0.0.1", port),
            env=dict(environment(settings)),
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                if process.poll() is not None:
                    raise ServerError(f"the service ended with {process.returncode}; {log}:\n{_tail(log)}")
                try:
                    if httpx.get(f"{address}/readyz", timeout=2).status_code == httpx.codes.OK:
                        break
                except httpx.TransportError:
                    pass
                if time.monotonic() > deadline:
                    raise ServerError(
                        f"the service was not ready in {START_SECONDS:.0f} s; {log}:\n{_tail(log)}"
                    )
                time.sleep(0.2)
            yield address
        finally:
            stop_process(process)


def run_together(commands: Mapping[str, Sequence[str]], variables: Mapping[str, Mapping[str, str]]) -> str:
    """Run processes side by side until one ends or this one is told to; then none is left behind.

    Args:
        commands: command of each, by name.
        variables: environment of each, by name.

    Returns:
        The name of the one that ended.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM, or the terminal was closed.
    """
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(signum, signal.default_int_handler) for signum in ends]
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            started[name] = subprocess.Popen(command, env=dict(variables[name]), start_new_session=True)
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        return next(name for name, process in started.items() if process.poll() is not None)
    finally:
        for process in started.values():
            stop_process(process)
        for signum, handler in zip(ends, before, strict=True):
            signal.signal(signum, handler)


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started as the leader of a session, with its workers."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, signum)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            continue


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-1500:]
