"""``medassets exporter``: the graph's state for Prometheus.

What belongs here: address, port, and how long. What does not: what is exported (``orchestration.exporter``).
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from medassets.commands.output import BAD_INPUT, err, settings, stop

#: Beside the API's 3000, the Dagster UI's 3070 and the page's 3080.
PORT = 3090


def exporter(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = PORT,
    textfile: Annotated[
        Path | None, typer.Option(help="Write the metrics to this file once, instead of serving them.")
    ] = None,
) -> None:
    """Serve age of assets, checks, runs, drift and accuracy to Prometheus, until it is stopped."""
    config = settings()
    from medassets.commands.server import port_is_free
    from medassets.orchestration.build import build_definitions, resources_for
    from medassets.orchestration.exporter import DagsterCollector, exposition
    from medassets.orchestration.instance import open_instance

    graph, lake = build_definitions(config).resolve_asset_graph(), resources_for(config)["io_manager"]
    with open_instance(config) as instance:
        if textfile is not None:
            pending = textfile.with_name(f".{textfile.name}")
            pending.write_bytes(exposition(instance, graph, lake))
            pending.replace(textfile)
            return
        if not port_is_free(host, port):
            stop(BAD_INPUT, f"port {port} on {host} is in use: choose another with --port")
        from prometheus_client import CollectorRegistry, start_http_server

        registry = CollectorRegistry()
        registry.register(DagsterCollector(instance, graph, lake))
        server, _ = start_http_server(port, addr=host, registry=registry)
        err.print(f"http://{host}:{port}/metrics", highlight=False)
        ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: ended.set())
        ended.wait()
        server.shutdown()
