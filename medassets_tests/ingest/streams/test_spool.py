"""The spool numbers messages, knows one that comes again, and lets go of what is in the lake."""

from medassets.ingest.streams.spool import Spool


def test_numbers_go_on_after_a_restart(tmp_path):
    spool = Spool(tmp_path / "s.db")
    assert spool.put([(b"a", 1), (b"b", 2), (b"a", 3)]) == 2
    name = spool.name
    spool.close()
    again = Spool(tmp_path / "s.db")
    again.put([(b"b", 9), (b"c", 4)])
    assert again.name == name
    assert [(m.payload, m.received_us) for m in again.after(0, 10)] == [(b"a", 1), (b"b", 2), (b"c", 4)]
    numbers = [m.offset for m in again.after(0, 10)]
    assert numbers == sorted(set(numbers))
    assert [m.payload for m in again.after(numbers[0] + 1, 1)] == [b"b"]


def test_what_is_released_is_gone_and_still_known(tmp_path):
    spool = Spool(tmp_path / "s.db", keys_kept=100)
    spool.put([(b"a", 1), (b"b", 2)])
    spool.release(spool.after(0, 1)[0].offset + 1)
    assert [m.payload for m in spool.after(0, 10)] == [b"b"]
    assert spool.waiting() == 1
    assert spool.put([(b"a", 5)]) == 0


def test_keys_are_forgotten_in_time_and_numbers_never_reused(tmp_path):
    spool = Spool(tmp_path / "s.db", keys_kept=2)
    spool.put([(bytes([i]), i) for i in range(6)])
    last = spool.after(0, 10)[-1].offset
    spool.release(last + 1)
    assert spool.waiting() == 0
    assert spool.put([(bytes([0]), 9)]) == 1
    assert spool.after(0, 10)[0].offset > last


def test_a_new_spool_has_another_name(tmp_path):
    assert Spool(tmp_path / "a.db").name != Spool(tmp_path / "b.db").name
