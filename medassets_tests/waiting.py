"""Waiting for what another thread or process brings about, and the API in a thread of the test's own process.

What belongs here: one bound for all waits, beyond what a busy machine needs. What does not: servers of other
packages (``servers``).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING

from medassets.commands.server import free_port

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

#: Seconds after which nothing more is to be expected.
LONGEST = 120.0


def until(reached: Callable[[], object], pause: float = 0.05) -> None:
    """Return as soon as ``reached`` gives something true; looks every ``pause`` seconds."""
    deadline = time.monotonic() + LONGEST
    while not reached():
        assert time.monotonic() < deadline, f"it did not happen in {LONGEST:.0f} s"
        time.sleep(pause)


def listens(port: int) -> bool:
    """Whether a server takes connections at a loopback port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


@contextmanager
def serving(app: FastAPI) -> Iterator[tuple[str, uvicorn.Server]]:
    """Serve an application on a free loopback port while the block runs.

    Yields:
        Its address, and the server: ``should_exit`` ends it before the block does.
    """
    import uvicorn

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        assert thread.is_alive(), "the server did not start"
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.should_exit = True
        thread.join(LONGEST)
