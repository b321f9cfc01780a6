"""Whether a process can be used: by address, by HTTP, by a command, by a file.

What belongs here: one look, with a time limit. What does not: when to look (``launch``, ``watch``), and what
to do about the answer.
"""

from __future__ import annotations

import http.client
import shlex
import socket
import subprocess
from pathlib import Path

#: Seconds that one look may take.
LOOK_SECONDS = 5.0
COMMAND_SECONDS = 30.0


def fault(check: str) -> str | None:
    """Look once.

    Args:
        check: ``tcp:HOST:PORT``, ``http:HOST:PORT/PATH``, ``exec:COMMAND`` or ``path:FILE``.

    Returns:
        ``None`` where it is well, else what is wrong.

    Raises:
        ValueError: no such kind of check.
    """
    kind, _, what = check.partition(":")
    try:
        if kind == "tcp":
            host, _, port = what.rpartition(":")
            socket.create_connection((host, int(port)), LOOK_SECONDS).close()
            return None
        if kind == "http":
            return _http(what)
        if kind == "exec":
            done = subprocess.run(
                shlex.split(what), capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
            )
            return None if done.returncode == 0 else _last_line(done.stderr or done.stdout)
        if kind == "path":
            return None if Path(what).exists() else f"{what} is not there yet"
    except (OSError, http.client.HTTPException, subprocess.TimeoutExpired) as error:
        return f"{what}: {error}"
    raise ValueError(f"check {check!r}: tcp:, http:, exec: or path: was expected")


def _http(what: str) -> str | None:
    address, slash, path = what.partition("/")
    connection = http.client.HTTPConnection(address, timeout=LOOK_SECONDS)
    try:
        connection.request("GET", slash + path)
        status = connection.getresponse().status
    finally:
        connection.close()
    return None if status < 400 else f"{what} answers {status}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "it failed"
