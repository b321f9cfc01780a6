"""Drop folders: what is taken, where it goes, and that nothing is lost by repetition."""

import os
import time
from datetime import date

import pytest

from medassets.ingest.inbox import DayRemovedError, Inbox
from medassets.ingest.quarantine import QuarantineRow

DAY = "2026-02-03"


def drop(inbox: Inbox, name: str, content: str = "x", folder: str = "") -> None:
    place = inbox.root / folder
    place.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(content)
    os.utime(place / name, (time.time() - 60,) * 2)


def test_only_settled_files_of_the_format_are_staged(tmp_path):
    inbox = Inbox(tmp_path / "in", (".csv",))
    assert inbox.stage(date(2026, 2, 3)) == [] and inbox.waiting() == {}
    for name in ("b.csv", "A.CSV", "c.csv.part", "notes.txt", ".hidden.csv"):
        drop(inbox, name)
    (inbox.root / "now.csv").write_text("x")
    (inbox.root / "link.csv").symlink_to(inbox.root / "b.csv")
    staged = inbox.stage(date(2026, 2, 3))
    assert [p.name for p in staged] == ["A.CSV", "b.csv"] and (inbox.root / "now.csv").exists()
    assert (inbox.root / "arrived").stat().st_mode & 0o077 == 0
    assert list(inbox.waiting()) == [DAY] and len(inbox.waiting()[DAY]) == 2


def test_a_name_that_is_taken_keeps_both_files(tmp_path):
    inbox = Inbox(tmp_path, (".csv",))
    for content in ("one", "two"):
        drop(inbox, "a.csv", content)
        inbox.stage(date(2026, 2, 3))
    assert sorted(d.path.read_text() for d in inbox.deliveries(DAY)) == ["one", "two"]


def test_files_are_finished_with_their_errors_and_read_again_from_there(tmp_path):
    inbox = Inbox(tmp_path, (".csv",))
    for name, content in (("a.csv", "good"), ("b.csv", "bad"), ("c.csv", "good")):
        drop(inbox, name, content, f"arrived/{DAY}")
    used = inbox.deliveries(DAY)
    assert len(used) == 2  # the same content twice counts once
    drop(inbox, "later.csv", "more", f"arrived/{DAY}")
    bad = next(d.label for d in used if d.path.name == "b.csv")
    inbox.finish(DAY, used, {bad}, [QuarantineRow("form", bad, 4, None, "age", "x", "wrong", "0 to 130")])
    there = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert there == {
        f"done/{DAY}/a.csv", f"done/{DAY}/c.csv", f"failed/{DAY}/b.csv", f"failed/{DAY}/b.csv.errors.json",
        f"arrived/{DAY}/later.csv",
    }  # fmt: skip
    assert '"row": 4' in (tmp_path / "failed" / DAY / "b.csv.errors.json").read_text()
    again = inbox.deliveries(DAY)
    assert {d.label for d in used} < {d.label for d in again}
    # A reader that has learned the format since finds the file where it was put.
    inbox.finish(DAY, again, set(), [])
    assert (tmp_path / "done" / DAY / "b.csv").exists()
    assert not list(tmp_path.rglob("*.errors.json"))


def test_files_of_a_folder_are_offered_once_by_content(tmp_path):
    inbox, folder = Inbox(tmp_path / "in", (".csv",)), tmp_path / "site"
    folder.mkdir()
    for name, content in (("a.csv", "one"), ("same.csv", "one"), ("b.csv", "two"), ("notes.txt", "three")):
        (folder / name).write_text(content)
    drop(inbox, "read.csv", "two", f"done/{DAY}")
    offered = inbox.offer(sorted(folder.iterdir()))
    assert [path.read_text() for path in offered] == ["one"]
    assert offered[0].parent == inbox.root
    inbox.stage(date(2026, 2, 4), time.time() + 60)
    assert inbox.offer(sorted(folder.iterdir())) == []


def test_a_day_whose_files_were_removed_is_not_read_again(tmp_path):
    inbox = Inbox(tmp_path, (".csv",))
    for folder in (
        f"done/{DAY}",
        f"failed/{DAY}",
        "done/2026-02-05",
        "done/2026-01-01",
        "arrived/2026-01-01",
    ):
        drop(inbox, "a.csv", folder, folder)
    drop(inbox, "a.csv.errors.json", "[]", f"failed/{DAY}")
    assert inbox.remove_before(date(2026, 2, 5), really=False) == 3
    assert len(inbox.deliveries(DAY)) == 2
    assert inbox.remove_before(date(2026, 2, 5), really=True) == 3
    assert inbox.remove_before(date(2026, 2, 5), really=True) == 0
    with pytest.raises(DayRemovedError, match=DAY):
        inbox.deliveries(DAY)
    assert len(inbox.deliveries("2026-02-05")) == 1
    assert len(inbox.deliveries("2026-01-01")) == 2  # not all of it was read yet
