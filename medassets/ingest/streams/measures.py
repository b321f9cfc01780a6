"""What Prometheus reads of a stream: events by what became of them, and commits.

What belongs here: the counts of a pipeline as metrics. What does not: counting (``pipeline``) and the server
that is asked for them (``commands.stream``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from medassets.ingest.streams.pipeline import Counts

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily

#: What becomes of a message; ``late`` ones are written too.
OUTCOMES = ("written", "duplicates", "rejected", "late")


class StreamCollector:
    """A Prometheus collector over the counts of one stream.

    Args:
        stream: its name, ``kafka`` or ``mqtt``.
        counts: gives the counts at the moment of the scrape.
    """

    def __init__(self, stream: str, counts: Counts) -> None:
        self._stream, self._counts = stream, counts

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Read the counts."""
        from prometheus_client.core import CounterMetricFamily

        events = CounterMetricFamily(
            "medassets_stream_events", "Messages by what became of them", labels=["stream", "outcome"]
        )
        for outcome in OUTCOMES:
            events.add_metric([self._stream, outcome], getattr(self._counts, outcome))
        yield events
        commits = CounterMetricFamily(
            "medassets_stream_commits", "Micro-batches committed to Delta", labels=["stream"]
        )
        commits.add_metric([self._stream], self._counts.commits)
        yield commits
