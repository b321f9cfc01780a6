"""A batch is bounded; a lake that is away is waited for; a stop writes what was read."""

import pytest

from medassets.ingest.streams import runner
from medassets.ingest.streams.runner import Limits, Moved, StreamError, run_stream
from medassets_tests.ingest.streams.samples import LOG, event, message, pipeline, table


class Messages:
    """A source over a list; it tells what was asked of it."""

    def __init__(self, made, sent, chunk=4):
        self.made, self.sent, self.chunk = made, sent, chunk
        self.at, self.held, self.restarts, self.closed, self.ends = 0, [], 0, False, {}

    def read(self, most, seconds):
        found = self.sent[self.at : self.at + min(most, self.chunk)]
        self.at += len(found)
        return found

    def restart(self):
        self.at = self.made.resume([LOG])[LOG]
        self.restarts += 1

    def committed(self, ends):
        self.ends = dict(ends)

    def hold(self, seconds):
        self.held.append(seconds)

    def close(self):
        self.closed = True


@pytest.fixture
def made(tmp_path):
    return pipeline(tmp_path)


def stop_at(source, end):
    return lambda: source.at >= end


def test_batches_keep_their_bounds(made, tmp_path):
    source = Messages(made, [message(i, event(i)) for i in range(20)])
    sizes = []
    run_stream(
        source,
        made,
        Limits(rows=6),
        stopping=lambda: source.ends.get(LOG) == 20,
        report=lambda p: sizes.append(p.counts.messages),
    )
    assert sizes[:4] == [6, 12, 18, 20]
    assert source.closed
    assert len(table(tmp_path)) == 20


def test_bytes_end_a_batch_too(made):
    sent = [message(i, event(i, unit="x" * 100)) for i in range(8)]
    batch = runner.gather(Messages(made, sent, chunk=1), Limits(size=700), lambda: False)
    assert 1 < len(batch) < 8


def test_what_was_read_before_the_stop_is_written(made, tmp_path):
    source = Messages(made, [message(i, event(i)) for i in range(20)])
    run_stream(source, made, Limits(), stopping=stop_at(source, 8))
    assert len(table(tmp_path)) == 8
    assert source.ends == {LOG: 8}


def test_a_lake_that_is_away_is_waited_for_without_reading_on(made, tmp_path, monkeypatch):
    source = Messages(made, [message(i, event(i)) for i in range(8)])
    append, failures = made.events.append, [OSError("no route"), OSError("no route")]

    def flaky(rows, spans):
        if failures:
            raise failures.pop()
        return append(rows, spans)

    monkeypatch.setattr(made.events, "append", flaky)
    run_stream(source, made, Limits(), stopping=lambda: source.ends.get(LOG) == 8)
    assert source.held == [0.5, 1.0]
    assert [row["event_id"] for row in table(tmp_path)] == [f"e{i}" for i in range(8)]


def test_a_lake_that_stays_away_ends_the_stream(made, monkeypatch):
    def gone(rows, spans):
        raise OSError("no route")

    monkeypatch.setattr(made.events, "append", gone)
    source = Messages(made, [message(0, event(0))])
    with pytest.raises(StreamError, match="cannot be written to: no route"):
        run_stream(source, made, Limits(patience=1.0), stopping=lambda: False)
    assert source.closed


def test_a_second_process_is_told(made, tmp_path):
    source = Messages(made, [message(i, event(i)) for i in range(50)])
    other = pipeline(tmp_path)

    def interfere():
        at = other.resume([LOG])[LOG]
        other.write([message(at, event(at))])
        return False

    with pytest.raises(StreamError, match="another process reads the same stream"):
        run_stream(source, made, Limits(rows=1), stopping=interfere)
    assert [row["log_offset"] for row in table(tmp_path)] == list(range(len(table(tmp_path))))


def test_new_partitions_throw_away_what_is_not_written(made, tmp_path):
    source = Messages(made, [message(i, event(i)) for i in range(8)])
    read, raised = source.read, []

    def moving(most, seconds):
        if source.at == 4 and not raised:
            raised.append(True)
            raise Moved
        return read(most, seconds)

    source.read = moving
    run_stream(source, made, Limits(), stopping=lambda: source.ends.get(LOG) == 8)
    assert source.restarts == 2
    assert len(table(tmp_path)) == 8
