"""Processes run side by side: what ends one ends all, and nothing is left behind."""

import os
import signal
import subprocess
import sys

import pytest

from medassets_tests.waiting import LONGEST, until

#: Writes its number, and ends when the file is there that its second argument names.
CHILD = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
while not os.path.exists(sys.argv[2]):
    time.sleep(0.02)
"""
#: Heeds Ctrl-C even where the tests run in a shell's background, whose programs do not.
RUNNER = """
import os, signal, sys
from medassets.commands.server import run_together
signal.signal(signal.SIGINT, signal.default_int_handler)
child, *files = sys.argv[1:]
commands = {file: [sys.executable, "-c", child, file, file + ".end"] for file in files}
print(run_together(commands, dict.fromkeys(commands, os.environ)))
"""


@pytest.fixture
def started(tmp_path):
    """Two processes side by side: the one that runs them, and the files with their numbers."""
    files = [tmp_path / "one", tmp_path / "two"]
    command = [sys.executable, "-c", RUNNER, CHILD, *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as runner:
        until(lambda: runner.poll() is not None or all(f.exists() and f.read_text() for f in files))
        assert runner.poll() is None
        yield runner, files
        runner.kill()


def alive(pid: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_none_outlives_the_one_that_started_them(started, signum):
    runner, files = started
    runner.send_signal(signum)
    assert "KeyboardInterrupt" in runner.communicate(timeout=LONGEST)[1]
    assert not any(alive(int(file.read_text())) for file in files)


def test_the_one_that_ends_is_named_and_ends_the_others(started):
    runner, (one, two) = started
    two.with_name("two.end").touch()
    assert runner.communicate(timeout=LONGEST)[0].strip() == str(two)
    assert not alive(int(one.read_text()))
