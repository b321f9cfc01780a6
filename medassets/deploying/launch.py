"""Starts a process once what it needs is healthy:
``python -m medassets.deploying.launch ENVIRONMENT CHECK... -- COMMAND``.

What belongs here: waiting, then becoming the command. What does not: starting again after it ends, which the
process manager does. Nothing heavy is imported, and nothing of it stays: the command takes its place.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
import time
from pathlib import Path

from medassets.deploying.health import fault

#: Seconds after which waiting is given up with the reason; the process manager then starts it anew.
WAIT_SECONDS = 600.0
EVERY_SECONDS = 0.5


def main(arguments: list[str]) -> None:
    """Wait for every check, then run the command in this process's place.

    Args:
        arguments: a JSON file with ``environment``, ``user`` and ``nice``, checks (``health``), ``--``, the
            command.

    Raises:
        SystemExit: what is needed did not become healthy; the message says what and why.
    """
    end = arguments.index("--")
    variables, checks, command = arguments[0], arguments[1:end], arguments[end + 1 :]
    given = json.loads(Path(variables).read_text(encoding="utf-8"))
    os.environ |= given["environment"]
    os.nice(given["nice"])
    deadline = time.monotonic() + WAIT_SECONDS
    for check in checks:
        said = ""
        while (wrong := fault(check)) is not None:
            if wrong != said:
                print(f"waiting: {wrong}", file=sys.stderr, flush=True)
                said = wrong
            if time.monotonic() > deadline:
                sys.exit(f"not started: {wrong}")
            time.sleep(EVERY_SECONDS)
    if given["user"]:  # only now: another user may not be able to read this Python environment
        become(given["user"])
    os.execvp(command[0], command)


def become(name: str) -> None:
    """Give up root for another user, for good."""
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.chdir("/")


if __name__ == "__main__":
    main(sys.argv[1:])
