"""Prometheus sees what became of the messages."""

from prometheus_client import CollectorRegistry, generate_latest

from medassets.ingest.streams.measures import StreamCollector
from medassets.ingest.streams.pipeline import Counts


def test_the_counts_are_those_of_the_moment():
    counts, registry = Counts(), CollectorRegistry()
    registry.register(StreamCollector("kafka", counts))
    assert 'medassets_stream_commits_total{stream="kafka"} 0.0' in generate_latest(registry).decode()
    counts.written, counts.late, counts.commits = 7, 2, 1
    text = generate_latest(registry).decode()
    assert 'medassets_stream_events_total{outcome="written",stream="kafka"} 7.0' in text
    assert 'medassets_stream_events_total{outcome="late",stream="kafka"} 2.0' in text
    assert 'medassets_stream_commits_total{stream="kafka"} 1.0' in text
