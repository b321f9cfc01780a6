"""A worker does not outlive the server that supervises it."""

import os
import signal
import subprocess
import sys

from medassets_tests.waiting import until

SERVER = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True, stdout=subprocess.PIPE)
worker.stdout.readline()
print(worker.pid, flush=True)
time.sleep(60)
"""
WORKER = """
import time
from medassets.serving.worker import end_with_server
end_with_server(every=0.05)
print("watches", flush=True)
time.sleep(60)
"""


def test_a_worker_whose_server_was_killed_ends():
    server = subprocess.Popen([sys.executable, "-c", SERVER, WORKER], stdout=subprocess.PIPE, text=True)
    worker = int(server.stdout.readline())
    os.kill(worker, 0)
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    until(lambda: not lives(worker))


def lives(pid: int) -> bool:
    """Whether a process runs; one that ended and is not yet fetched by its new parent does not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
