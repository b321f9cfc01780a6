"""``medassets ui``: the page for clinicians, in the browser.

What belongs here: where the page listens and which API it asks. What does not: the page (``medassets.page``).
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from medassets.commands.output import BAD_INPUT, err, settings, stop

#: Next to the API's 3000 and the Dagster UI's 3070.
PORT = 3080


def ui_command(host: str, port: int) -> list[str]:
    """The command that runs the page: its colours, no usage statistics, no browser opened."""
    from medassets.page.theme import STREAMLIT_THEME

    app = Path(__file__).parents[1] / "page" / "app.py"
    options = {
        "server.address": host, "server.port": port, "server.headless": "true",
        "server.fileWatcherType": "none", "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal", "client.showErrorDetails": "none",
    } | STREAMLIT_THEME  # fmt: skip
    flags = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "streamlit", "run", str(app), *flags]


def ui(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = PORT,
    api: Annotated[
        str | None, typer.Option(help="Address of the API; default: MEDASSETS_API_HOST and _API_PORT.")
    ] = None,
) -> None:
    """Serve the page for clinicians, until Ctrl-C; it asks the API of `medassets serve`."""
    config = settings()
    if find_spec("streamlit") is None:
        stop(BAD_INPUT, "the page needs streamlit: pip install 'medassets[platform]'")
    from medassets.commands.server import port_is_free

    if not port_is_free(host, port):
        stop(BAD_INPUT, f"port {port} on {host} is in use: choose another with --port")
    address = api or f"http://{config.api_host}:{config.api_port}"
    err.print(f"http://{host}:{port}  (asks the API at {address})", highlight=False)
    command = ui_command(host, port)
    os.execve(command[0], command, os.environ | {"MEDASSETS_API_URL": address})
