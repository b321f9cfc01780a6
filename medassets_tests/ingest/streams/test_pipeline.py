"""Whatever crashes where: every event once, every poison message once, late events in their day."""

import shutil
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.ingest.streams.pipeline import EVENTS
from medassets.ingest.streams.sink import OvertakenError
from medassets_tests.ingest.streams.samples import LOG, NOW_US, event, message, pipeline, rejected, table


def test_rows_and_offset_are_one_commit(tmp_path):
    made = pipeline(tmp_path)
    assert made.resume([LOG]) == {LOG: 0}
    made.write([message(4, event(1)), message(5, event(2))])
    again = pipeline(tmp_path)
    assert again.resume([LOG, "kafka/t/1"]) == {LOG: 6, "kafka/t/1": 0}
    assert [row["event_id"] for row in table(tmp_path)] == ["e1", "e2"]


def test_a_repeated_event_is_written_once_also_after_a_restart(tmp_path):
    made = pipeline(tmp_path)
    made.resume([LOG])
    made.write([message(0, event(1)), message(1, event(1))])
    again = pipeline(tmp_path)
    again.resume([LOG])
    again.write([message(2, event(1)), message(3, event(2))])
    assert [row["log_offset"] for row in table(tmp_path)] == [0, 3]
    assert (made.counts.duplicates, again.counts.duplicates) == (1, 1)


def test_a_batch_of_duplicates_alone_moves_the_offset(tmp_path):
    made = pipeline(tmp_path)
    made.resume([LOG])
    made.write([message(0, event(1))])
    made.write([message(1, event(1))])
    assert pipeline(tmp_path).resume([LOG]) == {LOG: 2}


def test_a_late_event_goes_to_its_day(tmp_path):
    made = pipeline(tmp_path)
    made.resume([LOG])
    made.write([message(0, event(1)), message(1, event(2, event_time="2026-02-20T10:00:00Z"))])
    assert [row["event_day"] for row in table(tmp_path)] == [date(2026, 3, 2), date(2026, 2, 20)]
    assert (tmp_path / EVENTS / "event_day=2026-02-20").is_dir()
    assert made.counts.late == 1


def test_poison_is_set_aside_and_the_good_rows_arrive(tmp_path):
    made, dead = pipeline(tmp_path), []
    made.dead_letter = dead.extend
    made.resume([LOG])
    made.write([message(0, b"\x00"), message(1, event(1)), message(2, event(2, code="fever", site="\ud800"))])
    assert [row["event_id"] for row in table(tmp_path)] == ["e1"]
    assert [(row["row"], row["field"], row["value"]) for row in rejected(tmp_path)] == [
        (0, "message", None),
        (2, "code", "fever"),
    ]
    assert [held.offset for held, _ in dead] == [0, 2]


def test_two_processes_on_one_log_do_not_both_write(tmp_path):
    first, second = pipeline(tmp_path), pipeline(tmp_path)
    first.resume([LOG])
    second.resume([LOG])
    first.write([message(0, event(1))])
    with pytest.raises(OvertakenError, match="stands at 1"):
        second.write([message(0, event(1)), message(1, event(2))])
    second.resume([LOG])
    second.write([message(1, event(2))])
    assert [row["event_id"] for row in table(tmp_path)] == ["e1", "e2"]


def test_two_processes_on_two_logs_do(tmp_path):
    first, second = pipeline(tmp_path), pipeline(tmp_path)
    first.resume(["kafka/t/0"])
    second.resume(["kafka/t/1"])
    for offset in range(5):
        first.write([message(offset, event(offset), "kafka/t/0")])
        second.write([message(offset, event(100 + offset), "kafka/t/1")])
    assert len(table(tmp_path)) == 10


def test_compaction_keeps_rows_and_offsets(tmp_path):
    made = pipeline(tmp_path, compact_every=8)
    made.resume([LOG])
    for offset in range(8):
        made.write([message(offset, event(offset))])
    assert len(made.events.table.file_uris()) == 1
    assert len(table(tmp_path)) == 8
    assert pipeline(tmp_path).resume([LOG]) == {LOG: 8}


def test_offsets_survive_checkpoints(tmp_path):
    made = pipeline(tmp_path)
    made.resume([LOG, "kafka/t/1"])
    made.write([message(0, event(0), "kafka/t/1")])
    for offset in range(60):
        made.write([message(offset, event(1 + offset))])
    assert list((tmp_path / EVENTS / "_delta_log").glob("*.checkpoint.parquet"))
    assert pipeline(tmp_path).resume([LOG, "kafka/t/1"]) == {LOG: 60, "kafka/t/1": 1}


class Crash(BaseException):
    """The process dies here."""


#: Of each batch: how many messages, and where the process dies in it.
STEPS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["no", "before events", "after events", "before rejected"])),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25)
@given(steps=STEPS)
def test_any_batches_and_any_crashes_give_the_same_tables(steps):
    sent = [message(i, event(i // 2 * 2) if i % 5 else b"{poison") for i in range(24)]
    folder = Path(tempfile.mkdtemp())
    try:
        made = pipeline(folder)
        at = made.resume([LOG])[LOG]
        for size, crash in [*steps, (24, "no")]:
            batch = sent[at : at + size]
            with pytest.MonkeyPatch.context() as patched:
                die(patched, made, crash)
                with suppress(Crash):
                    made.write(batch)
            made = pipeline(folder)
            at = made.resume([LOG])[LOG]
        assert [row["log_offset"] for row in table(folder)] == [1, 2, 4, 6, 8, 11, 12, 14, 16, 18, 21, 22]
        assert [row["row"] for row in rejected(folder)] == [0, 5, 10, 15, 20]
    finally:
        shutil.rmtree(folder)


def die(patched, made, where):
    """Let the process die at one place of the next write."""
    if where == "no":
        return
    target = made.rejected if where == "before rejected" else made.events
    append = type(target).append

    def dying(rows, spans):
        if where == "after events":
            append(target, rows, spans)
        raise Crash

    patched.setattr(target, "append", dying)


def test_ids_beyond_the_window_are_forgotten(tmp_path):
    made = pipeline(tmp_path, hours=1.0)
    made.resume([LOG])
    hour = 3_600_000_000
    for offset, hours in enumerate((0, 1.5, 3)):
        made.write([message(offset, event(offset), received_us=NOW_US + int(hours * hour))])
    assert "e0" not in dict(held(made))
    again = pipeline(tmp_path, hours=1.0)
    again.resume([LOG])
    assert [event_id for event_id, _ in held(again)] == ["e2"]


def held(made):
    return [(name, True) for name in (*made.seen._old, *made.seen._young)]
