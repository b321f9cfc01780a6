"""A run whose process is gone is seen; a living one is left alone."""

import fcntl
import json
import os
import subprocess
import sys
import time

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from medassets.commands.server import free_port
from medassets.orchestration.instance import open_instance
from medassets.orchestration.launching import WatchedRunLauncher, _is_same_process
from medassets.settings import Settings


@pytest.fixture
def instance(tmp_path):
    with open_instance(Settings(home=tmp_path)) as opened:
        yield opened


def started(instance, pid: int, **tags: str) -> dg.DagsterRun:
    run = dg.DagsterRun("job", status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.add_run(run)
    instance.report_engine_event("started", run, EngineEventData({"pid": str(pid)}))
    return run


def health(instance, run) -> WorkerStatus:
    return instance.run_launcher.check_run_worker_health(run).status


def unreachable() -> dict[str, str]:
    return {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": free_port()})}


def test_the_instance_has_the_launcher(instance):
    assert isinstance(instance.run_launcher, WatchedRunLauncher)
    assert instance.run_launcher.supports_check_run_worker_health and instance.run_monitoring_enabled


def test_a_run_whose_process_and_server_are_gone_is_not_found(instance):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert health(instance, started(instance, process.pid, **unreachable())) is WorkerStatus.NOT_FOUND


def test_a_living_process_counts_even_if_its_server_is_gone(instance):
    assert health(instance, started(instance, os.getpid(), **unreachable())) is WorkerStatus.RUNNING


def test_a_new_process_of_an_old_number_is_another():
    assert _is_same_process(os.getpid(), time.time())
    assert not _is_same_process(os.getpid(), time.time() - 86_400)


def test_a_run_of_the_command_line_lives_as_long_as_its_lock(instance, tmp_path):
    run = started(instance, 2**22 - 1)
    assert health(instance, run) is WorkerStatus.NOT_FOUND
    with (tmp_path / "run.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert health(instance, run) is WorkerStatus.RUNNING
    assert health(instance, run) is WorkerStatus.NOT_FOUND
