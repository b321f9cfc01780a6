"""The small profile on this machine, for real: up, healthy, killed, up again, down; nothing stays running."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from medassets.commands.server import port_is_free
from medassets.deploying import manager
from medassets.deploying.manager import end_processes, manager_pid
from medassets.deploying.native import MARK, StackError, find_program, plan
from medassets.deploying.stack import processes
from medassets.settings import Settings
from medassets_tests.waiting import until


def free_shift() -> int:
    """A shift with which every port of the small profile is free."""
    ports = [process.port for process in processes("small") if process.port]
    return next(
        shift
        for shift in range(20_000, 60_000, 97)
        if all(port_is_free("127.0.0.1", p + shift) for p in ports)
    )


def sleeper(home: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    return subprocess.Popen(command, env=os.environ | {MARK: str(home)}, start_new_session=True)


def test_only_processes_of_this_installation_are_ended(tmp_path):
    own, others = sleeper(tmp_path / "a"), sleeper(tmp_path / "a-b")
    try:
        until(lambda: end_processes(tmp_path / "a"))
        assert own.wait(60) == -signal.SIGKILL and others.poll() is None
        assert end_processes(tmp_path / "a") == 0
    finally:
        others.kill()
        others.wait()


def test_a_stale_pid_file_is_no_manager(tmp_path):
    (tmp_path / "supervisord.pid").write_text(str(os.getpid()))
    assert manager_pid(tmp_path) is None
    (tmp_path / "supervisord.pid").write_text("?")
    assert manager_pid(tmp_path) is None


def test_the_state_of_nothing_says_what_to_do(tmp_path):
    with pytest.raises(StackError, match="medassets up"):
        manager.states(plan(Settings(home=tmp_path), "small"))
    assert manager.stop(tmp_path) is False


@pytest.mark.integration
def test_up_a_power_cut_up_again_and_down(tmp_path):
    if find_program("supervisord") is None:
        pytest.fail("supervisord is not installed: make install")
    shift = free_shift()
    home = tmp_path / "home"
    variables = os.environ | {"MEDASSETS_HOME": str(home), "MEDASSETS_PORT_SHIFT": str(shift)}
    medassets = str(Path(sys.executable).parent / "medassets")

    def run(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([medassets, *words], env=variables, capture_output=True, text=True, check=False)

    try:
        first = run("up")
        assert first.returncode == 0, first.stderr
        assert (
            "no bundle yet" in first.stderr and f"webserver: http://127.0.0.1:{3070 + shift}" in first.stdout
        )
        found = {one["name"]: one for one in json.loads(run("status", "--json").stdout)["processes"]}
        assert {name for name, one in found.items() if one["healthy"]} == {
            "code-server", "webserver", "daemon", "page", "watch",
        }  # fmt: skip
        assert sum(one["resident_mb"] for one in found.values()) < 4000
        assert end_processes(home) >= 5
        assert run("up").returncode == 0
        assert httpx.get(f"http://127.0.0.1:{3070 + shift}/server_info", timeout=60).status_code == 200
    finally:
        down = run("down")
    assert down.stdout.strip() == "stopped" and manager_pid(home / "run") is None
    assert port_is_free("127.0.0.1", 3070 + shift)
