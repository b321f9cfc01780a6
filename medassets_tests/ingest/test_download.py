import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from medassets.ingest.download import (
    ChecksumError,
    DownloadError,
    UnpinnedError,
    fetch_all,
    read_lock,
)
from medassets.ingest.folder import SOURCES

CONTENT = bytes(range(256)) * 4000  # 1 MB
SUM = hashlib.sha256(CONTENT).hexdigest()


class Mirror:
    """A local server whose next answers can be spoilt, one after the other."""

    def __init__(self) -> None:
        self.files = {"/hpo/hp.obo": CONTENT}
        self.faults: list[str] = []
        self.ranges: list[str | None] = []
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                mirror.ranges.append(self.headers.get("Range"))
                fault = mirror.faults.pop(0) if mirror.faults else ""
                body = mirror.files.get(self.path)
                if fault.isdigit() or body is None:
                    self.send_error(int(fault or 404))
                    return
                start = 0
                if (
                    wanted := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                ) and fault != "no range":
                    start = int(wanted[1])
                    if start >= len(body):
                        self.send_response(416)
                        self.send_header("Content-Range", f"bytes */{len(body)}")
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                        return
                    self.send_response(206)
                    claimed = 0 if fault == "wrong place" else start
                    self.send_header("Content-Range", f"bytes {claimed}-{len(body) - 1}/{len(body)}")
                else:
                    self.send_response(200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                if fault == "cut":
                    self.wfile.write(body[start : start + 300_000])
                    self.close_connection = True
                    return
                self.wfile.write(body[start:])

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    server = Mirror()
    yield server
    server.close()


def entry(**changes) -> dict:
    return {
        "source": "hpo", "path": "hpo/hp.obo", "url": "http://127.0.0.1:9/elsewhere", "release": "1",
        "size": len(CONTENT), "sha256": SUM, "licence": "x",
    } | changes  # fmt: skip


def start_of(wanted: str | None) -> int:
    return int((wanted or "").removeprefix("bytes=").removesuffix("-"))


def get(tmp_path: Path, mirror: Mirror, *entries: dict, **options) -> list[Path]:
    lock = tmp_path / "lock.json"
    lock.write_text(json.dumps({"files": list(entries) or [entry()]}))
    options = {"base_url": mirror.url, "show_progress": False, "backoff": 0.001} | options
    return fetch_all(tmp_path / "got", lock=lock, **options)


def test_a_pinned_file_is_fetched_once(tmp_path, mirror) -> None:
    (path,) = get(tmp_path, mirror)
    assert path == tmp_path / "got" / "hpo" / "hp.obo" and path.read_bytes() == CONTENT
    assert get(tmp_path, mirror) == [path]
    assert mirror.ranges == [None]
    assert [p.name for p in path.parent.iterdir()] == ["hp.obo"]


def test_without_a_mirror_the_publisher_is_asked(tmp_path, mirror) -> None:
    (path,) = get(tmp_path, mirror, entry(url=f"{mirror.url}/hpo/hp.obo"), base_url=None)
    assert path.read_bytes() == CONTENT


def test_a_broken_transfer_is_taken_up_where_it_broke(tmp_path, mirror) -> None:
    mirror.faults = ["cut", "cut"]
    (path,) = get(tmp_path, mirror)
    assert path.read_bytes() == CONTENT
    first, second, third = mirror.ranges
    assert first is None
    assert 0 < start_of(second) <= 300_000 < start_of(third) <= 600_000


def test_a_later_run_takes_up_an_earlier_one(tmp_path, mirror) -> None:
    mirror.faults = ["cut"]
    with pytest.raises(DownloadError, match=r"could not be fetched in 1 attempts"):
        get(tmp_path, mirror, attempts=1)
    assert not (tmp_path / "got" / "hpo" / "hp.obo").exists()
    (path,) = get(tmp_path, mirror)
    assert path.read_bytes() == CONTENT
    assert len(mirror.ranges) == 2 and 0 < start_of(mirror.ranges[1]) <= 300_000


@pytest.mark.parametrize("fault", ["no range", "wrong place", "503", "429"])
def test_a_server_that_cannot_resume_costs_time_only(tmp_path, mirror, fault: str) -> None:
    mirror.faults = ["cut", fault]
    (path,) = get(tmp_path, mirror)
    assert path.read_bytes() == CONTENT


def test_a_complete_partial_file_is_kept(tmp_path, mirror) -> None:
    part = tmp_path / "got" / "hpo" / "hp.obo.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    (path,) = get(tmp_path, mirror)
    assert path.read_bytes() == CONTENT and mirror.ranges == []


@pytest.mark.parametrize("rest", [b"something else" * 10, CONTENT + b"too long"])
def test_a_partial_file_of_something_else_is_given_up(tmp_path, mirror, rest: bytes) -> None:
    part = tmp_path / "got" / "hpo" / "hp.obo.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(rest)
    (path,) = get(tmp_path, mirror)
    assert path.read_bytes() == CONTENT


def test_another_file_than_pinned_stops_with_both_sums(tmp_path, mirror) -> None:
    mirror.files["/hpo/hp.obo"] = other = CONTENT[:-1] + b"x"
    with pytest.raises(ChecksumError) as caught:
        get(tmp_path, mirror)
    assert SUM in str(caught.value) and hashlib.sha256(other).hexdigest() in str(caught.value)
    assert list((tmp_path / "got" / "hpo").iterdir()) == []


def test_an_older_release_gives_way_only_to_the_pinned_one(tmp_path, mirror) -> None:
    (path,) = get(tmp_path, mirror)
    path.write_bytes(b"an older release")
    mirror.files["/hpo/hp.obo"] = b"nonsense" * 200_000
    with pytest.raises(ChecksumError):
        get(tmp_path, mirror)
    assert path.read_bytes() == b"an older release"
    mirror.files["/hpo/hp.obo"] = CONTENT
    get(tmp_path, mirror)
    assert path.read_bytes() == CONTENT


def test_a_file_without_a_pinned_sum_is_refused_until_it_has_one(tmp_path, mirror) -> None:
    with pytest.raises(UnpinnedError, match=SUM) as caught:
        get(tmp_path, mirror, entry(sha256=None))
    assert "releases.lock.json" in str(caught.value)
    assert not (tmp_path / "got" / "hpo" / "hp.obo").exists()
    (path,) = get(tmp_path, mirror)  # pinned now: what has arrived is not fetched again
    assert path.read_bytes() == CONTENT and len(mirror.ranges) == 1


def test_a_file_shorter_than_pinned_is_another_file(tmp_path, mirror) -> None:
    mirror.files["/hpo/hp.obo"] = CONTENT[:1000]
    with pytest.raises(DownloadError, match="1000 of 1024000 bytes arrived"):
        get(tmp_path, mirror, attempts=1)
    with pytest.raises(ChecksumError):
        get(tmp_path, mirror, attempts=2)


def test_an_absent_file_is_not_asked_for_again(tmp_path, mirror) -> None:
    with pytest.raises(DownloadError, match=r"mondo/x\.tsv: http.*answered 404"):
        get(tmp_path, mirror, entry(source="mondo", path="mondo/x.tsv"))
    assert len(mirror.ranges) == 1


def test_no_server_is_said_after_all_attempts(tmp_path, mirror) -> None:
    with pytest.raises(DownloadError, match="in 2 attempts; last: ConnectError"):
        get(tmp_path, mirror, base_url="http://127.0.0.1:9", attempts=2)


def test_only_what_is_asked_for_is_fetched(tmp_path, mirror) -> None:
    entries = [entry(), entry(source="mondo", path="mondo/none.tsv")]
    assert len(get(tmp_path, mirror, *entries, sources=["hpo"])) == 1
    with pytest.raises(DownloadError, match="no release of orphanet is pinned"):
        get(tmp_path, mirror, *entries, sources=["orphanet"])


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b"])
def test_nothing_is_written_outside_the_folder(tmp_path, mirror, path: str) -> None:
    with pytest.raises(DownloadError, match="outside the download folder"):
        get(tmp_path, mirror, entry(path=path))


@pytest.mark.parametrize("text", ["", "[]", '{"files": [{"source": "hpo"}]}'])
def test_a_broken_lock_file_is_named(tmp_path, text: str) -> None:
    (tmp_path / "lock.json").write_text(text)
    with pytest.raises(DownloadError, match=r"lock\.json: not a lock file"):
        read_lock(tmp_path / "lock.json")


def test_the_bar_follows_the_bytes(tmp_path, mirror, capsys) -> None:
    get(tmp_path, mirror, show_progress=True)
    assert "hpo/hp.obo" in capsys.readouterr().out


def test_every_release_of_the_package_is_pinned() -> None:
    releases = read_lock()
    assert {r.source for r in releases} == set(SOURCES) - {"fhir", "orphanet", "pubmed"}
    assert all(re.fullmatch("[0-9a-f]{64}", r.sha256 or "") and r.size for r in releases)
    assert all(r.url.startswith("https://") and r.licence and r.release for r in releases)
    assert len({r.path for r in releases}) == len(releases)
