"""Restarts what runs but does not answer: an event listener of supervisor.

What belongs here: counting failed looks. What does not: processes that end, which supervisor starts anew.
Protocol: http://supervisord.org/events.html#event-listener-notification-protocol
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from medassets.deploying.health import fault

#: A look that starts a program costs seconds of a small machine: every fifth round only.
COMMAND_ROUNDS = 5
#: Failed looks in a row after which a process is started anew.
FAILURES = 3


@dataclass
class Watch:
    """What to look at, and what was seen.

    Attributes:
        checks: check of each process, by its name.
        restart: starts a process anew.
        look: gives what is wrong.
    """

    checks: Mapping[str, str]
    restart: Callable[[str], None]
    look: Callable[[str], str | None] = fault
    failures: dict[str, int] = field(default_factory=dict)
    well: set[str] = field(default_factory=set)
    rounds: int = 0

    def round(self) -> list[str]:
        """Look at each process once.

        Returns:
            What was started anew. A process that never was well is not: it may be waiting for another.
        """
        done = []
        self.rounds += 1
        for name, check in self.checks.items():
            if check.startswith("exec:") and self.rounds % COMMAND_ROUNDS:
                continue
            wrong = self.look(check)
            if wrong is None:
                self.failures[name] = 0
                self.well.add(name)
            elif name in self.well:
                self.failures[name] = self.failures.get(name, 0) + 1
                if self.failures[name] >= FAILURES:
                    print(f"{name} is started anew: {wrong}", file=sys.stderr, flush=True)
                    self.well.discard(name)
                    self.restart(name)
                    done.append(name)
        return done


def events(given: TextIO, said: TextIO) -> Iterator[None]:
    """Supervisor's events, one at a time; each is acknowledged after it was dealt with."""
    while True:
        said.write("READY\n")
        said.flush()
        line = given.readline()
        if not line:
            return
        header = dict(word.split(":", 1) for word in line.split())
        given.read(int(header["len"]))
        yield None
        said.write("RESULT 2\nOK")
        said.flush()


def main(plan: Path, control: list[str]) -> None:
    """Look at every process of a plan at each event."""
    checks = json.loads(plan.read_text(encoding="utf-8"))

    def restart(name: str) -> None:
        subprocess.run([*control, "restart", name], stdout=sys.stderr, check=False)

    watch = Watch(checks, restart)
    for _ in events(sys.stdin, sys.stdout):
        watch.round()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
