"""``medassets serve`` and ``medassets dev``: the API, alone or beside the Dagster UI.

What belongs here: which bento is served where. What does not: the service itself (``bentos/diagnosis``).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from medassets.commands.output import BAD_INPUT, FAILURE, err, failures, settings, stop
from medassets.commands.preflight import refuse_faults
from medassets.settings import Settings


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; default: MEDASSETS_API_HOST.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port; default: MEDASSETS_API_PORT.")] = None,
    bundle: Annotated[
        str | None, typer.Option(help="Version of the bundle to serve; default: the latest.")
    ] = None,
) -> None:
    """Serve the latest bundle's bento over HTTP, until Ctrl-C."""
    config = settings()
    from medassets.commands.server import environment, port_is_free, serve_command

    host, port = host or config.api_host, port or config.api_port
    refuse_faults(config, "serve")
    with failures():
        path = bento_of(config, bundle)
    if not port_is_free(host, port):
        stop(BAD_INPUT, f"port {port} on {host} is in use: choose another with --port or MEDASSETS_API_PORT")
    err.print(f"http://{host}:{port}/docs", highlight=False)
    _say_who_may_ask(config)
    command = serve_command(str(path), host, port)
    # Who asks for one bundle gets that one, whatever becomes the latest.
    follow = {} if bundle is None else {"MEDASSETS_FOLLOW_LATEST": "false"}
    os.execve(command[0], command, dict(environment(config)) | follow)


def _say_who_may_ask(config: Settings) -> None:
    from medassets.serving.access import KeyRing

    if config.auth == "off":
        err.print("MEDASSETS_AUTH=off: everyone who reaches it may ask; for development only")
    elif config.auth == "keys" and all(key.revoked for key in KeyRing(config.api_keys).all()):
        err.print("no API key yet, so nobody may ask: `medassets keys add NAME` makes one")


def development_key(config: Settings) -> str:
    """The clinician's key of ``medassets dev``: made at the first start, kept in a file of its owner's."""
    from medassets.serving.access import KeyRing
    from medassets.serving.files import PRIVATE, replace_file

    ring, file = KeyRing(config.api_keys), config.development_key
    if file.exists() and ring.holder(token := file.read_text(encoding="utf-8").strip()):
        return token
    _, token = ring.add("development", "clinician")
    replace_file(file, f"{token}\n".encode(), PRIVATE)
    return token


def bento_of(config: Settings, version: str | None = None) -> Path:
    """The bento of a bundle, built where it is not there yet.

    Raises:
        BundleError: no such bundle, or it is not what its manifest says.
    """
    from medassets.serving.bento import build_bento
    from medassets.serving.bundle import latest_bundle

    directory = config.bundles_dir / version if version else latest_bundle(config.bundles_dir)
    return build_bento(directory, config.home / "bentoml").path


def _dagster_home(config: Settings) -> Path:
    """The folder of the Dagster instance, with the configuration that ``medassets run`` uses as well."""
    from medassets.orchestration.instance import write_instance

    return write_instance(config)


def dev() -> None:
    """Dagster UI, API and page together; Ctrl-C stops all. The page asks with a key made for development."""
    config = settings()
    from medassets.commands.server import environment, port_is_free, run_together, serve_command
    from medassets.commands.ui import PORT, ui_command

    for name, port in (("Dagster UI", config.ui_port), ("API", config.api_port), ("page", PORT)):
        if not port_is_free(config.api_host, port):
            stop(BAD_INPUT, f"the {name}'s port {port} is in use")
    base = {"DAGSTER_HOME": str(_dagster_home(config))} | dict(environment(config))
    ui = [sys.executable, "-m", "dagster", "dev", "-m", "medassets.definitions"]
    commands = {"Dagster UI": [*ui, "-h", config.api_host, "-p", str(config.ui_port)]}
    own: dict[str, dict[str, str]] = {}
    err.print(f"Dagster UI on http://{config.api_host}:{config.ui_port}", highlight=False)
    from medassets.serving.bundle import BundleError

    try:
        commands["API"] = serve_command(str(bento_of(config)), config.api_host, config.api_port)
        commands["page"] = ui_command(config.api_host, PORT)
        own["page"] = {"MEDASSETS_API_URL": f"http://{config.api_host}:{config.api_port}"}
        err.print(f"API on http://{config.api_host}:{config.api_port}/docs", highlight=False)
        err.print(f"page on http://{config.api_host}:{PORT}", highlight=False)
        if config.auth in ("keys", "both"):
            own["page"]["MEDASSETS_API_KEY"] = key = development_key(config)
            err.print(f"API key for development: {key}", highlight=False, soft_wrap=True)
        _say_who_may_ask(config)
    except BundleError as error:
        err.print(f"no API yet: {error}", highlight=False)
    try:
        ended = run_together(commands, {name: base | own.get(name, {}) for name in commands})
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    stop(FAILURE, f"the {ended} ended; see above")
