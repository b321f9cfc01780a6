"""The processes of an installation, once: what each runs, needs, listens on, writes and may use.

What belongs here: facts about processes that hold in a container and on a bare machine alike. What does not:
how they are written down for a container engine (``compose``) or a process manager (``native``).

Two profiles. ``small`` is a clinic's one machine: files and SQLite, no broker, no server that is not this
package's own. ``full`` adds the stores, the brokers and the monitors of a larger site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

StackProfile = Literal["small", "full"]
STACK_PROFILES: tuple[StackProfile, ...] = get_args(StackProfile)
#: The user of containers of this package; numbers, so that a cluster can check that it is not root.
OWN_UID = 10001
#: Names the database that Dagster keeps runs in; read by ``dagster.yaml``.
DATABASE_VARIABLE = "MEDASSETS_DAGSTER_DATABASE"


@dataclass(frozen=True)
class Process:
    """One process of the stack.

    Words of ``command`` and ``environment`` may hold ``{bind}`` (address to listen on), ``{port}``,
    ``{home}`` (the installation's folder), ``{data}`` (this process's own folder), ``{config}`` (folder of
    the generated configuration), ``{sockets}`` and ``{password}`` (PostgreSQL's), and for each process
    ``{name}`` as ``host:port``, ``{name_host}`` and ``{name_port}``; a hyphen is an underscore there.

    Attributes:
        name: name of the service; its host name among containers.
        command: program and arguments.
        port: what it listens on; ``None`` for the daemon.
        health: ``http:PATH``, ``tcp``, or ``exec:COMMAND``; what says that it can be used.
        memory_mb: most memory it may take.
        cpus: most processors it may take.
        image: ``training`` or ``serving`` (built here), or a pinned public one.
        profiles: where it runs.
        needs: processes that must be healthy before it starts.
        environment: its variables, beside the settings that all have.
        uid: user and group in its container.
        container_data: where its image keeps data; ``None`` where it writes to the installation's home.
        container_entrypoint: the program is run in place of its image's own entry point.
        container_tmpfs: further folders in memory that its image writes to.
        container_health: what the container engine runs inside to see whether it is healthy.
        container_environment: variables that only its image understands.
        debian: package that brings the program; ``None`` for programs of this Python environment.
        native_user: user that runs it where the stack was started by root.
        native_command: what runs instead on one machine, where no package brings the real one; a stand-in.
        optional: on one machine, left out with a note where the program is missing.
        start_seconds: how long it may take until it is healthy.
        awaits_bundle: it starts when the first bundle is there.
        background: where processors are short, what answers people goes before it, and so do the stores.
    """

    name: str
    command: tuple[str, ...]
    port: int | None
    health: str
    memory_mb: int
    cpus: float
    image: str
    profiles: frozenset[StackProfile] = frozenset({"full"})
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    uid: int = OWN_UID
    container_data: str | None = None
    container_entrypoint: bool = False
    container_tmpfs: tuple[str, ...] = ()
    container_health: tuple[str, ...] = ()
    container_environment: Mapping[str, str] = field(default_factory=dict)
    debian: str | None = None
    native_user: str | None = None
    native_command: tuple[str, ...] = ()
    optional: bool = False
    start_seconds: int = 60
    awaits_bundle: bool = False
    background: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is one of this package."""
        return self.image in ("training", "serving")


BOTH: frozenset[StackProfile] = frozenset(STACK_PROFILES)

# fmt: off
PROCESSES: tuple[Process, ...] = (
    Process(
        name="postgres",
        command=(
            "postgres", "-D", "{data}", "-c", "listen_addresses={bind}", "-p", "{port}",
            "-c", "unix_socket_directories={sockets}", "-c", "password_encryption=scram-sha-256",
        ),
        port=5432, health="tcp", memory_mb=512, cpus=1.0,
        image="postgres:15.14-bookworm", uid=999, container_data="/var/lib/postgresql/data",
        container_environment={
            "POSTGRES_USER": "medassets", "POSTGRES_DB": "postgres",
            "POSTGRES_PASSWORD": "${MEDASSETS_POSTGRES_PASSWORD}",
        },
        container_tmpfs=("/var/run/postgresql",),
        container_health=("pg_isready", "-h", "127.0.0.1", "-U", "medassets"),
        debian="postgresql", native_user="postgres",
    ),
    Process(
        name="redis",
        command=(
            "redis-server", "--bind", "{bind}", "--port", "{port}", "--dir", "{data}",
            "--protected-mode", "no", "--save", "", "--maxmemory", "200mb",
            "--maxmemory-policy", "allkeys-lru",
        ),
        port=6379, health="tcp", memory_mb=256, cpus=0.5,
        image="redis:7.4.6-bookworm", uid=999, container_data="/data",
        container_health=("redis-cli", "ping"), debian="redis-server",
    ),
    Process(
        name="mosquitto",
        command=("mosquitto", "-c", "{config}/mosquitto.conf"),
        port=1883, health="tcp", memory_mb=128, cpus=0.5,
        image="eclipse-mosquitto:2.0.22", uid=1883, container_data="/mosquitto/data",
        container_health=("mosquitto_sub", "-t", "$$SYS/broker/uptime", "-C", "1", "-W", "5"),
        debian="mosquitto", native_user="mosquitto",
    ),
    Process(
        name="kafka",
        command=("/opt/kafka/bin/kafka-server-start.sh", "/opt/kafka/config/server.properties"),
        port=9092, health="tcp", memory_mb=1024, cpus=1.0,
        image="apache/kafka:3.9.1", uid=1000, container_data="/var/lib/kafka/data",
        container_environment={
            "KAFKA_NODE_ID": "1", "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:9092",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "KAFKA_LOG_DIRS": "/var/lib/kafka/data", "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_HEAP_OPTS": "-Xms256m -Xmx512m",
        },
        container_entrypoint=True,
        container_health=(
            "/opt/kafka/bin/kafka-broker-api-versions.sh", "--bootstrap-server", "127.0.0.1:9092",
        ),
        native_command=(
            "tansu", "broker", "--kafka-listener-url", "tcp://{bind}:{port}/",
            "--kafka-advertised-listener-url", "tcp://{bind}:{port}/",
            "--storage-engine", "memory://tansu/", "--kafka-cluster-id", "medassets",
        ),
    ),
    Process(
        name="s3",
        command=(
            "weed", "server", "-dir={data}", "-ip.bind={bind}", "-s3", "-s3.port={port}",
            "-s3.config=/run/secrets/s3_identities", "-volume.max=0",
        ),
        port=9000, health="tcp", memory_mb=512, cpus=1.0,
        image="chrislusf/seaweedfs:3.97", container_data="/data", container_entrypoint=True,
        container_health=("wget", "-q", "--spider", "http://127.0.0.1:9333/cluster/healthz"),
        native_command=("moto_server", "-H", "{bind}", "-p", "{port}"),
    ),
    Process(
        name="code-server",
        command=(
            "dagster", "code-server", "start", "--host", "{bind}", "--port", "{port}",
            "-m", "medassets.definitions", "--location-name", "medassets",
        ),
        port=4266, health="tcp", memory_mb=3072, cpus=2.0,
        image="training", profiles=BOTH, needs=("postgres",), start_seconds=90, background=True,
    ),
    Process(
        name="webserver",
        command=("dagster-webserver", "-h", "{bind}", "-p", "{port}", "-w", "{config}/workspace.yaml"),
        port=3070, health="http:/server_info", memory_mb=640, cpus=1.0,
        image="training", profiles=BOTH, needs=("code-server",), start_seconds=90, background=True,
    ),
    Process(
        name="daemon",
        command=("dagster-daemon", "run", "-w", "{config}/workspace.yaml"),
        port=None, health="exec:dagster-daemon liveness-check", memory_mb=640, cpus=1.0,
        image="training", profiles=BOTH, needs=("code-server",), start_seconds=120, background=True,
    ),
    Process(
        name="api",
        command=("medassets", "serve", "--host", "{bind}", "--port", "{port}"),
        port=3000, health="http:/readyz", memory_mb=1024, cpus=1.0,
        image="serving", profiles=BOTH, needs=("postgres", "redis"), awaits_bundle=True,
    ),
    Process(
        name="page",
        command=("medassets", "ui", "--host", "{bind}", "--port", "{port}", "--api", "http://{api}"),
        port=3080, health="http:/_stcore/health", memory_mb=512, cpus=0.5,
        container_environment={"MEDASSETS_API_KEY": "${MEDASSETS_API_KEY}"},
        image="training", profiles=BOTH,
    ),
    Process(
        name="exporter",
        command=("medassets", "exporter", "--host", "{bind}", "--port", "{port}"),
        port=3090, health="tcp", memory_mb=512, cpus=0.5, image="training", needs=("postgres",),
    ),
    Process(
        name="stream-kafka",
        command=("medassets", "stream", "kafka", "--host", "{bind}", "--port", "{port}"),
        port=3091, health="tcp", memory_mb=1024, cpus=1.0, image="training", needs=("kafka",),
    ),
    Process(
        name="stream-mqtt",
        command=("medassets", "stream", "mqtt", "--host", "{bind}", "--port", "{port}"),
        port=3092, health="tcp", memory_mb=1024, cpus=1.0, image="training", needs=("postgres", "mosquitto"),
    ),
    Process(
        name="prometheus",
        command=(
            "prometheus", "--config.file={config}/prometheus/prometheus.yml", "--storage.tsdb.path={data}",
            "--storage.tsdb.retention.time=30d", "--storage.tsdb.retention.size=2GB",
            "--web.listen-address={bind}:{port}",
        ),
        port=9090, health="http:/-/ready", memory_mb=512, cpus=0.5,
        image="prom/prometheus:v3.5.0", uid=65534, container_data="/prometheus", container_entrypoint=True,
        container_health=("wget", "-q", "--spider", "http://127.0.0.1:9090/-/ready"), debian="prometheus",
    ),
    Process(
        name="grafana",
        command=("grafana", "server", "--homepath=/usr/share/grafana"),
        port=3001, health="http:/api/health", memory_mb=256, cpus=0.5,
        image="grafana/grafana:12.1.1", uid=472, container_data="/var/lib/grafana", container_entrypoint=True,
        environment={
            "GF_SERVER_HTTP_ADDR": "{bind}", "GF_SERVER_HTTP_PORT": "{port}", "GF_PATHS_DATA": "{data}",
            "GF_ANALYTICS_REPORTING_ENABLED": "false", "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_PATHS_PROVISIONING": "{config}/grafana/provisioning",
        },
        container_health=("wget", "-q", "--spider", "http://127.0.0.1:3001/api/health"),
        needs=("prometheus",), optional=True,
    ),
)
# fmt: on


def processes(profile: StackProfile) -> list[Process]:
    """The processes of a profile, each after what it needs.

    Raises:
        ValueError: there is no such profile.
    """
    if profile not in STACK_PROFILES:
        raise ValueError(f"profile {profile!r}: choose one of {', '.join(STACK_PROFILES)}")
    return [process for process in PROCESSES if profile in process.profiles]


def needs(process: Process, profile: StackProfile) -> list[str]:
    """What a process waits for in a profile; a store that the profile does not have is not waited for."""
    present = {other.name for other in processes(profile)}
    return [name for name in process.needs if name in present]


def shared_environment(profile: StackProfile) -> dict[str, str]:
    """Variables that all processes of this package share in a profile, beside their home; words unfilled."""
    if profile == "small":
        return {}
    return {
        "MEDASSETS_STREAM__KAFKA_SERVERS": "{kafka}",
        "MEDASSETS_STREAM__KAFKA_PARTITIONS": "4",
        "MEDASSETS_STREAM__MQTT_HOST": "{mosquitto_host}",
        "MEDASSETS_STREAM__MQTT_PORT": "{mosquitto_port}",
        "MEDASSETS_PREDICTIONS_URL": "postgresql://medassets:{password}@{postgres}/postgres",
        "MEDASSETS_CACHE__URL": "redis://{redis}/0",
        DATABASE_VARIABLE: "postgresql+psycopg2://medassets:{password}@{postgres}/postgres",
    }


def words(
    profile: StackProfile, hosts: Mapping[str, str], ports: Mapping[str, int], **further: str
) -> dict[str, str]:
    """Values of the words that are the same for all processes: where each one is found, and ``further``."""
    found = dict(further)
    for process in processes(profile):
        if process.port is not None:
            name, host, port = process.name.replace("-", "_"), hosts[process.name], ports[process.name]
            found |= {name: f"{host}:{port}", f"{name}_host": host, f"{name}_port": str(port)}
    return found


def filled(text: str, words: Mapping[str, object]) -> str:
    """Put values into the words of a command or variable.

    Raises:
        KeyError: a word that nothing gives a value to.
    """
    return text.format_map(words)
