"""A small file is there whole, or as it was before."""

import pytest

from medassets.serving.files import PRIVATE, replace_file


def test_a_file_is_replaced_whole_and_only_its_owner_reads_a_private_one(tmp_path):
    path = tmp_path / "new" / "key"
    replace_file(path, b"one", PRIVATE)
    replace_file(path, b"two", PRIVATE)
    assert path.read_bytes() == b"two" and path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["key"]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "pointer"
    replace_file(path, b"old")
    with pytest.raises(FileNotFoundError):
        replace_file(path, b"new", beside=tmp_path / "nowhere")
    assert path.read_bytes() == b"old"


def test_a_file_left_by_a_crash_is_no_hindrance_and_gives_no_rights_away(tmp_path, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / ".key-7").write_bytes(b"half")
    (tmp_path / ".key-7").chmod(0o666)
    replace_file(tmp_path / "key", b"whole", PRIVATE)
    assert (tmp_path / "key").read_bytes() == b"whole"
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
