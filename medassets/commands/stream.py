"""``medassets stream``: reads symptom and device events from Kafka or MQTT until it is told to stop.

What belongs here: arguments, signals and the progress line. What does not: reading and writing
(``ingest.streams``).
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medassets.commands.output import BAD_INPUT, FAILURE, AsJson, emit, err, settings, stop

if TYPE_CHECKING:
    from medassets.ingest.streams.pipeline import Pipeline
    from medassets.ingest.streams.runner import Source
    from medassets.serving.sealing import Sealer
    from medassets.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="Symptom and device events to the lake, each exactly once; Ctrl-C or SIGTERM writes what was read.",
)
#: Seconds between progress lines where standard error is no terminal.
_QUIET = 10.0

UntilIdle = Annotated[
    float | None, typer.Option(help="Stop after so many seconds without a message, once all is read.")
]
Host = Annotated[str, typer.Option(help="Address of the counts for Prometheus.")]
Port = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Serve counts to Prometheus here; default: do not.")
]


@app.command()
def kafka(
    until_idle: UntilIdle = None, host: Host = "127.0.0.1", port: Port = None, as_json: AsJson = False
) -> None:
    """Read a Kafka topic (MEDASSETS_STREAM__KAFKA_*)."""

    def source(config: Settings, pipeline: Pipeline) -> Source:
        from medassets.ingest.streams.kafka import KafkaSource

        return KafkaSource(config.stream, pipeline)

    _run("kafka", source, until_idle, as_json, (host, port))


@app.command()
def mqtt(
    until_idle: UntilIdle = None, host: Host = "127.0.0.1", port: Port = None, as_json: AsJson = False
) -> None:
    """Read an MQTT topic (MEDASSETS_STREAM__MQTT_*) through a spool in the installation's home."""

    def source(config: Settings, pipeline: Pipeline) -> Source:
        from medassets.ingest.streams.letters import DocumentLetters
        from medassets.ingest.streams.mqtt import MqttSource
        from medassets.ingest.streams.spool import Spool
        from medassets.stores.documents import open_documents

        pipeline.dead_letter = DocumentLetters(open_documents(config), _sealer(config)).send
        return MqttSource(config.stream, pipeline, Spool(config.home / "streams" / "mqtt.db"))

    _run("mqtt", source, until_idle, as_json, (host, port))


def _run(
    name: str,
    make: Callable[[Settings, Pipeline], Source],
    until_idle: float | None,
    as_json: bool,
    address: tuple[str, int | None],
) -> None:
    config = settings()
    from medassets.ingest.streams.runner import Limits, StreamError, run_stream
    from medassets.serving.sealing import SealError
    from medassets.stores.documents import DocumentError

    asked = config.stream
    progress = Progress(name, until_idle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, progress.stop)
    try:
        pipeline = pipeline_of(config, name)
        source = make(config, pipeline)
        progress.caught_up = source.caught_up
        _serve_counts(name, pipeline, *address)
        run_stream(
            source,
            pipeline,
            Limits(asked.batch_rows, asked.batch_bytes, asked.batch_seconds),
            stopping=progress.stopping,
            report=progress.show,
        )
    except SealError as error:
        stop(BAD_INPUT, str(error), as_json=as_json)
    except (StreamError, DocumentError) as error:
        stop(FAILURE, str(error), as_json=as_json)
    progress.end()
    counts = vars(pipeline.counts)
    if as_json:
        emit(counts)
    else:
        err.print(", ".join(f"{count} {what}" for what, count in counts.items()), highlight=False)


def _serve_counts(name: str, pipeline: Pipeline, host: str, port: int | None) -> None:
    """Serve the pipeline's counts to Prometheus, for as long as this process lives."""
    if port is None:
        return
    from prometheus_client import CollectorRegistry, start_http_server

    from medassets.commands.server import port_is_free
    from medassets.ingest.streams.measures import StreamCollector

    if not port_is_free(host, port):
        stop(BAD_INPUT, f"port {port} on {host} is in use: choose another with --port")
    registry = CollectorRegistry()
    registry.register(StreamCollector(name, pipeline.counts))
    start_http_server(port, addr=host, registry=registry)


def pipeline_of(config: Settings, source: str) -> Pipeline:
    """Open the tables of an installation's events.

    Raises:
        SealError: the key file, which makes the pseudonyms, cannot be used.
    """
    from datetime import timedelta

    from medassets.ingest.streams.events import Rules
    from medassets.ingest.streams.pipeline import open_pipeline
    from medassets.stores.addresses import delta_options, join

    asked = config.stream
    rules = Rules(
        oldest=timedelta(days=asked.oldest_days),
        ahead=timedelta(seconds=asked.ahead_seconds),
        pseudonym=_pseudonyms(config),
    )
    return open_pipeline(
        lambda key: join(config.lake_root, key),
        source,
        rules,
        hours=asked.duplicate_hours,
        most=asked.duplicate_ids,
        compact_every=asked.compact_every,
        options=delta_options(config.lake_root),
    )


def _pseudonyms(config: Settings) -> Callable[[str], str] | None:
    """Give what makes pseudonyms; without a key file only pseudonyms are taken in."""
    from functools import lru_cache

    sealer = _sealer(config)
    return None if sealer is None else lru_cache(maxsize=100_000)(sealer.pseudonym)


def _sealer(config: Settings) -> Sealer | None:
    from medassets.serving.sealing import Sealer, read_keys

    return None if config.key_file is None else Sealer(read_keys(config.key_file))


class Progress:
    """One line that tells how it goes, and whether to stop.

    Args:
        name: the source.
        until_idle: seconds without a message after which to stop; ``None``: never.
    """

    def __init__(self, name: str, until_idle: float | None) -> None:
        self._name, self._until_idle = name, until_idle
        self._stopped = False
        self.caught_up: Callable[[], bool] = lambda: False
        self._moved = self._shown = time.monotonic()
        self._messages = self._shown_messages = 0

    def stop(self, *_: Any) -> None:
        """Stop as soon as what was read is written."""
        self._stopped = True

    def stopping(self) -> bool:
        """Say whether to stop."""
        if self._until_idle is None or time.monotonic() - self._moved <= self._until_idle:
            return self._stopped
        # Nothing came: because there is nothing, or because the broker is slow.
        self._moved = time.monotonic()
        return self._stopped or self.caught_up()

    def show(self, pipeline: Pipeline) -> None:
        """Show the counts, at most every second on a terminal, every ten elsewhere."""
        now, counts = time.monotonic(), pipeline.counts
        if counts.messages != self._messages:
            self._messages, self._moved = counts.messages, now
        terminal = sys.stderr.isatty()
        if now - self._shown < (1.0 if terminal else _QUIET):
            return
        rate = (counts.messages - self._shown_messages) / (now - self._shown)
        line = (
            f"{self._name}: {counts.written:,} events written ({rate:,.0f}/s), {counts.late:,} late, "
            f"{counts.duplicates:,} duplicates, {counts.rejected:,} set aside, {counts.commits:,} commits"
        )
        sys.stderr.write(f"\r\x1b[K{line}" if terminal else f"{line}\n")
        sys.stderr.flush()
        self._shown, self._shown_messages = now, counts.messages

    def end(self) -> None:
        """Leave the line."""
        if sys.stderr.isatty():
            sys.stderr.write("\n")
