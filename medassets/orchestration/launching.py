"""Runs whose process is gone are noticed: after a power cut, a crash, or a code server that was killed.

What belongs here: asking whether a run's process lives. What does not: what follows. Dagster's monitoring
marks such a run as failed, and its retries start it once more.

Dagster's own launcher starts runs in the code server and cannot say later whether one still lives, so that a
run interrupted by a power cut would count as running for ever, and hold its place in the queue.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from dagster import DagsterEventType, DagsterRun
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

#: A process that was started later than this many seconds after its event has only the same number.
CLOCK_SLACK = 2.0


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, which also says whether a run's process lives."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It does."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Say whether the process of a started run lives.

        A run of ``medassets run`` holds its home's lock for as long as it lives, and a run of a code server
        is known to it. Else (another command, a reloaded server) its process is looked for on this machine.
        """
        if GRPC_INFO_TAG not in run.tags:
            known = _is_locked(Path(self._instance.root_directory).parent / "run.lock")
        else:
            known = self._known_to_server(run.run_id)
        if known or self._process_lives(run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND,
            "the process of the run is gone: it, its code server or the machine was stopped",
        )

    def _known_to_server(self, run_id: str) -> bool:
        from dagster._core.errors import DagsterUserCodeUnreachableError

        client = self._get_grpc_client_for_termination(run_id)
        if client is None:
            return False
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=10)
        except DagsterUserCodeUnreachableError:
            return False
        return deserialize_value(answer, CanCancelExecutionResult).can_cancel

    def _process_lives(self, run_id: str) -> bool:
        events = self._instance.all_logs(run_id, of_type=DagsterEventType.ENGINE_EVENT)
        for entry in events:
            event = entry.dagster_event
            metadata = event.engine_event_data.metadata if event else {}
            if "pid" in metadata and _is_same_process(int(str(metadata["pid"].value)), entry.timestamp):
                return True
        return False


def _is_locked(file: Path) -> bool:
    """Whether some process holds the lock of a file."""
    if not file.exists():
        return False
    with file.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(lock, fcntl.LOCK_UN)
    return False


def _is_same_process(pid: int, at: float) -> bool:
    """Whether the process of this number is the one that wrote an event at ``at`` (seconds since 1970)."""
    try:
        state = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
        boot = next(
            int(line.split()[1])
            for line in Path("/proc/stat").read_text(encoding="ascii").splitlines()
            if line.startswith("btime")
        )
    except OSError:  # no such process; or a system without /proc, where only the code server can tell
        return False
    started = boot + int(state[19]) / os.sysconf("SC_CLK_TCK")
    return state[0] != "Z" and started <= at + CLOCK_SLACK
