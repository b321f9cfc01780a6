"""High availability on one machine: two APIs behind HAProxy, PostgreSQL with a standby.

One API is killed with SIGKILL while clients ask, then the primary; a watcher promotes the standby. Printed:
how many requests failed, the longest time without an answer after each kill, and whether every answer that
left is in the promoted database, with a whole audit chain.

    MEDASSETS_HOME=a/trained/home python benchmarks/failover.py

The standby is synchronous: an answer leaves only when both servers have its record on disk. Between several
machines a site promotes with what it runs already (Patroni, a cloud's managed database): a watcher such as
this one cannot tell a dead primary from a cut network.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx

from medassets.commands.server import free_port, stop_process
from medassets.deploying.health import fault
from medassets.deploying.native import find_program
from medassets.serving.store import PredictionStore

CASE = {"observed": ["HP:0001250"], "top": 3}
HAPROXY = Path(__file__).parents[1] / "deployment" / "haproxy" / "haproxy.cfg"
START_SECONDS = 90.0
#: Failed looks, this many seconds apart, after which the primary counts as lost.
LOOKS, LOOK_EVERY = 3, 0.5


@dataclass
class Client(threading.Thread):
    """Asks one request after another; remembers when it was answered, and with which ids."""

    address: str
    answered: list[tuple[float, str]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()

    __hash__ = threading.Thread.__hash__

    def run(self) -> None:
        """Ask until told to stop, at most 50 times a second."""
        while not self.over.wait(0.02):
            try:
                answer = httpx.post(f"{self.address}/v1/diagnose", json=CASE, timeout=15)
            except httpx.TransportError as error:
                self.failed.append((time.monotonic(), type(error).__name__))
                continue
            if answer.status_code == 200:
                self.answered.append((time.monotonic(), answer.json()["prediction_id"]))
            else:
                self.failed.append((time.monotonic(), str(answer.status_code)))


@dataclass(frozen=True)
class Outcome:
    """What a drill found.

    Attributes:
        answered: answers that left.
        failed: requests that failed, by the kill after which they did.
        gaps: longest time without an answer from each kill on, in seconds.
        promoted: seconds from the primary's death until the standby took writes.
        lost: answers that left and are not in the promoted database.
        entries: entries of the verified audit chain.
    """

    answered: int
    failed: dict[str, int]
    gaps: dict[str, float]
    promoted: float
    lost: int
    entries: int


def drill(
    serve: Callable[[int], Sequence[str]], environment: dict[str, str], seconds: float = 4.0
) -> Outcome:
    """Start everything, kill one API, then the primary, and count.

    Args:
        serve: command of an API on a port.
        environment: its variables; the database's address is added.
        seconds: between the steps.
    """
    with tempfile.TemporaryDirectory(prefix="medassets-failover-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (
            databases(folder) as (first, second),
            balanced(serve, environment | url(first, second), folder) as at,
        ):
            address, apis = at
            clients = [Client(address) for _ in range(2)]
            for client in clients:
                client.start()
            time.sleep(seconds)
            kills = {"api": time.monotonic()}
            kill(apis[0].pid)
            time.sleep(seconds)
            kills["primary"] = time.monotonic()
            first.kill()
            watch_and_promote(first, second)
            promoted = time.monotonic() - kills["primary"]
            time.sleep(seconds)
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(20)
            return counted(clients, kills, promoted, url(first, second)["MEDASSETS_PREDICTIONS_URL"])


def counted(clients: Sequence[Client], kills: dict[str, float], promoted: float, place: str) -> Outcome:
    """Compare what clients were given with what the database holds."""
    answers = sorted(one for client in clients for one in client.answered)
    failures = sorted(one for client in clients for one in client.failed)
    ends = [*list(kills.values())[1:], time.monotonic()]
    gaps, failed = {}, {}
    for (name, at), end in zip(kills.items(), ends, strict=True):
        times = [at, *(when for when, _ in answers if at <= when < end)]
        gaps[name] = max((b - a for a, b in pairwise(times)), default=end - at)
        failed[name] = sum(at <= when < end for when, _ in failures)
    store = PredictionStore(place)
    kept = {record.prediction_id for record in store.records()}
    lost = sum(identifier not in kept for _, identifier in answers)
    entries = store.verify()
    store.close()
    return Outcome(len(answers), failed, gaps, promoted, lost, entries)


def kill(pid: int) -> None:
    """SIGKILL to a process and its children: a server without its workers would go on listening."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    for one in (pid, *map(int, children.stdout.split())):
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


class Server:
    """One PostgreSQL server in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.data, self.log, self.port = folder / "data", folder / "log", free_port()
        folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")

    def tool(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs, as the user postgres where this is root."""
        found = find_program(name)
        if found is None:
            sys.exit(f"{name} is not installed: apt-get install postgresql")
        other = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [found, *arguments], stdout=said, stderr=said, cwd="/", check=False, **other
            )
            if done.returncode:
                said.seek(0)
                raise RuntimeError(f"{name}: {said.read().decode(errors='replace')[-1000:]}")

    def start(self, **options: str) -> None:
        """Start and wait until it answers."""
        given = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", **options}
        text = " ".join(f"-c {name}='{value}'" for name, value in given.items())
        self.tool("pg_ctl", "start", "-D", str(self.data), "-w", "-s", "-l", str(self.log), "-o", text)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, as a power cut would do."""
        kill(int((self.data / "postmaster.pid").read_text().split()[0]))

    def stop(self) -> None:
        """Stop it if it runs."""
        with suppress(RuntimeError):
            self.tool("pg_ctl", "stop", "-D", str(self.data), "-w", "-s", "-m", "immediate")


def url(*servers: Server) -> dict[str, str]:
    """The address that finds whichever server takes writes, as the API's variable."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    address = f"postgresql://medassets@{hosts}/postgres?target_session_attrs=read-write"
    return {"MEDASSETS_PREDICTIONS_URL": address}


@contextmanager
def databases(folder: Path) -> Iterator[tuple[Server, Server]]:
    """A primary and its synchronous streaming standby."""
    first, second = Server(folder / "first"), Server(folder / "second")
    first.tool("initdb", "-D", str(first.data), "-U", "medassets", "-A", "trust", "-E", "UTF8", "--locale=C")
    try:
        first.start(wal_level="replica", max_wal_senders="4")
        source = f"host=127.0.0.1 port={first.port} user=medassets application_name=second"
        second.tool("pg_basebackup", "-D", str(second.data), "-d", source, "-R", "-X", "stream", "-c", "fast")
        second.start(hot_standby="on")
        first.stop()
        # Only now: with nobody to confirm, a synchronous primary would wait for ever.
        first.start(wal_level="replica", max_wal_senders="4", synchronous_standby_names="second")
        yield first, second
    finally:
        first.stop()
        second.stop()


def watch_and_promote(primary: Server, standby: Server) -> None:
    """Promote the standby once the primary was lost for some looks in a row; returns when it takes writes."""
    failed = 0
    while failed < LOOKS:
        failed = failed + 1 if fault(f"tcp:127.0.0.1:{primary.port}") else 0
        time.sleep(LOOK_EVERY)
    standby.tool("pg_ctl", "promote", "-D", str(standby.data), "-w", "-s")


@contextmanager
def balanced(
    serve: Callable[[int], Sequence[str]], environment: dict[str, str], folder: Path
) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """Two APIs behind HAProxy, with the committed configuration."""
    ports, front, stats = [free_port(), free_port()], free_port(), free_port()
    started = []
    try:
        for number, port in enumerate(ports):
            with (folder / f"api-{number}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        serve(port),
                        env=os.environ | environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
            ready(f"http:127.0.0.1:{port}/readyz", folder / f"api-{number}.log")
        addresses = {"API_PORT": str(front), "STATS": f"127.0.0.1:{stats}"}
        addresses |= {"API_A": f"127.0.0.1:{ports[0]}", "API_B": f"127.0.0.1:{ports[1]}"}
        with (folder / "haproxy.log").open("wb") as log:
            program = find_program("haproxy") or sys.exit("haproxy is not installed: apt-get install haproxy")
            command = [program, "-db", "-f", str(HAPROXY)]
            started.append(
                subprocess.Popen(
                    command, env=os.environ | addresses, stdout=log, stderr=log, start_new_session=True
                )
            )
        ready(f"http:127.0.0.1:{front}/readyz", folder / "haproxy.log")
        yield f"http://127.0.0.1:{front}", started
    finally:
        for process in started:
            stop_process(process)


def ready(check: str, log: Path) -> None:
    """Wait until a check passes."""
    deadline = time.monotonic() + START_SECONDS
    while (wrong := fault(check)) is not None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{wrong}: {log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.1)


def main() -> None:
    medassets = str(Path(sys.executable).parent / "medassets")
    found = drill(
        lambda port: [medassets, "serve", "--host", "127.0.0.1", "--port", str(port)],
        {"MEDASSETS_AUTH": "off"},
    )
    print(f"answers that left: {found.answered}; lost: {found.lost}; audit entries verified: {found.entries}")
    for name, gap in found.gaps.items():
        print(
            f"{name} killed: {found.failed[name]} requests failed, longest time without an answer {gap:.2f} s"
        )
    print(f"standby took writes {found.promoted:.2f} s after the primary's death")


if __name__ == "__main__":
    main()
