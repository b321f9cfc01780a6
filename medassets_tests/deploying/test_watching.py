"""Waiting for what is needed, and starting anew what does not answer."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from medassets.commands.server import free_port
from medassets.deploying.health import fault
from medassets.deploying.watch import FAILURES, Watch, events


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def web():
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/well" else 503)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port
    server.shutdown()


def test_looks(listener, web, tmp_path):
    assert fault(f"tcp:127.0.0.1:{listener}") is None
    assert "refused" in fault(f"tcp:127.0.0.1:{free_port()}")
    assert fault(f"http:127.0.0.1:{web}/well") is None
    assert "answers 503" in fault(f"http:127.0.0.1:{web}/ill")
    assert fault("exec:true") is None
    assert fault("exec:sh -c 'echo why >&2; exit 1'") == "why"
    assert "not there yet" in fault(f"path:{tmp_path / 'bundle'}")
    with pytest.raises(ValueError, match="tcp:, http:, exec: or path:"):
        fault("udp:1")


def test_a_process_starts_when_what_it_needs_is_there(tmp_path):
    variables, file = tmp_path / "environment.json", tmp_path / "bundle"
    variables.write_text(json.dumps({"environment": {"WORD": "given"}, "user": None, "nice": 3}))
    command = [sys.executable, "-c", "import os; print(os.environ['WORD'], os.nice(0))"]
    process = subprocess.Popen(
        [sys.executable, "-m", "medassets.deploying.launch", str(variables), f"path:{file}", "--", *command],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert "not there yet" in process.stderr.readline() and process.poll() is None
    file.touch()
    said, _ = process.communicate(timeout=60)
    assert said.split() == ["given", str(os.nice(0) + 3)] and process.returncode == 0


def test_what_stops_answering_is_started_anew_once(monkeypatch):
    answers, restarted = {"api": None}, []
    watch = Watch({"api": "tcp:x:1"}, restarted.append, look=lambda _: answers["api"])
    watch.round()
    answers["api"] = "refused"
    assert [watch.round() for _ in range(FAILURES)] == [[]] * (FAILURES - 1) + [["api"]]
    assert [watch.round() for _ in range(5)] == [[]] * 5, "it is starting, and may wait for another"
    assert restarted == ["api"]


def test_one_failed_look_is_forgiven():
    seen, restarted = iter([None, "x", "x", None, "x", "x", None]), []
    watch = Watch({"api": "tcp:x:1"}, restarted.append, look=lambda _: next(seen))
    for _ in range(7):
        watch.round()
    assert restarted == []


def test_looks_that_start_a_program_are_rare():
    looked = []
    watch = Watch({"daemon": "exec:true"}, print, look=lambda check: looked.append(check))
    for _ in range(10):
        watch.round()
    assert len(looked) == 2


def test_events_are_acknowledged_in_supervisors_protocol():
    payload = "when:1"
    given = io.StringIO(f"ver:3.0 eventname:TICK_60 len:{len(payload)}\n{payload}")
    said = io.StringIO()
    assert len(list(events(given, said))) == 1
    assert said.getvalue() == "READY\nRESULT 2\nOKREADY\n"
