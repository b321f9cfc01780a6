"""Gathers micro-batches from a source and writes them, until it is told to stop.

What belongs here: the bounds of a batch, back-pressure, and what happens where the lake is not there or
another process was faster. What does not: Kafka (``kafka``) and MQTT (``mqtt``), which are sources, and what
is written (``pipeline``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from medassets.ingest.streams.events import Message
from medassets.ingest.streams.pipeline import Pipeline
from medassets.ingest.streams.sink import OvertakenError

LOG = logging.getLogger(__name__)
#: Times in a row that another process may be faster before this one gives up.
OVERTAKEN_LIMIT = 3
#: Seconds after which a failed write is tried again: doubled each time, up to the last.
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0
#: Longest wait for a message, so that a signal is seen soon.
LOOK_SECONDS = 0.25


class StreamError(RuntimeError):
    """A stream cannot be read on; the message says why and what to do."""


class Moved(Exception):  # noqa: N818  # no error: the source was told to read other partitions
    """What was read since the last commit is to be thrown away: the source begins anew from the table."""


class Source(Protocol):
    """Where messages come from."""

    def read(self, most: int, seconds: float) -> list[Message]:
        """Give up to ``most`` messages, waiting up to ``seconds`` for the first.

        Raises:
            Moved: other partitions are to be read from now on.
        """

    def restart(self) -> None:
        """Begin anew from where the table stands."""

    def committed(self, ends: Mapping[str, int]) -> None:
        """Take note that each log is in the table up to and without ``end``."""

    def caught_up(self) -> bool:
        """Say whether all that the broker has for us by now was given; not before we are connected."""

    def hold(self, seconds: float) -> None:
        """Wait without taking messages in, keeping the connection."""

    def close(self) -> None:
        """End the connection; what was not committed stays with the broker."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a micro-batch: what is read and not yet written never grows beyond them.

    Attributes:
        rows: most messages.
        size: most payload bytes; one message may exceed it.
        seconds: oldest that an unwritten message may grow.
        patience: how long a lake that cannot be written to is waited for.
    """

    rows: int = 20_000
    size: int = 16_000_000
    seconds: float = 2.0
    patience: float = 3600.0


def run_stream(
    source: Source,
    pipeline: Pipeline,
    limits: Limits,
    *,
    stopping: Callable[[], bool],
    report: Callable[[Pipeline], None] = lambda pipeline: None,
) -> None:
    """Read and write until ``stopping``; what was read by then is written before this returns.

    Raises:
        StreamError: another process reads the same logs, or the lake stayed away longer than ``patience``.
    """
    anew, trouble = True, _Trouble(limits.patience)
    try:
        while True:
            last = stopping()
            try:
                if anew:
                    source.restart()
                    anew = False
                batch = [] if last else gather(source, limits, stopping)
                if batch:
                    pipeline.write(batch)
                    source.committed({message.log: message.offset + 1 for message in batch})
            except Moved:
                anew = True
            except OvertakenError as error:
                anew = True
                trouble.overtaken(error)
            except _lake_errors() as error:
                # The failed commit may have arrived after all, and its ids count as seen: the table decides.
                anew = True
                source.hold(trouble.pause(error, last))
            else:
                if batch:
                    trouble = _Trouble(limits.patience)
                report(pipeline)
                if last:
                    return
    finally:
        source.close()


def gather(source: Source, limits: Limits, stopping: Callable[[], bool]) -> list[Message]:
    """Read one micro-batch: full by rows or bytes, or as old as allowed, or all there is when stopping."""
    batch: list[Message] = []
    size, deadline = 0, 0.0
    while len(batch) < limits.rows and size < limits.size and not stopping():
        left = deadline - time.monotonic() if batch else LOOK_SECONDS
        if left <= 0:
            break
        found = source.read(limits.rows - len(batch), min(left, LOOK_SECONDS))
        if found and not batch:
            deadline = time.monotonic() + limits.seconds
        batch.extend(found)
        size += sum(len(message.payload) for message in found)
        if not batch:
            break
    return batch


class _Trouble:
    """What went wrong since the last written batch, and how long to wait for it to pass."""

    def __init__(self, patience: float) -> None:
        self._patience, self._waited, self._next, self._times = patience, 0.0, FIRST_PAUSE, 0

    def overtaken(self, error: OvertakenError) -> None:
        """Count a time that another process was faster."""
        self._times += 1
        if self._times >= OVERTAKEN_LIMIT:
            raise StreamError(
                f"another process reads the same stream: {error}. Stop one of the two, or give both a group "
                "(MEDASSETS_STREAM__KAFKA_GROUP)"
            ) from error

    def pause(self, error: Exception, stopping: bool) -> float:
        """Give the seconds to wait for the lake."""
        if self._waited >= self._patience or stopping:
            raise StreamError(f"the lake cannot be written to: {error}") from error
        pause = self._next
        LOG.warning("the lake cannot be written to, trying again in %.1f s: %s", pause, error)
        self._waited, self._next = self._waited + pause, min(LAST_PAUSE, pause * 2)
        return pause


def _lake_errors() -> tuple[type[Exception], ...]:
    from deltalake.exceptions import DeltaError

    return (DeltaError, OSError)
