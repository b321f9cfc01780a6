"""Starting, stopping and looking at the stack of one machine, through supervisor.

What belongs here: the life of the process manager and what was left of an earlier one. What does not: its
file (``native``). A power cut needs no repair here: the next start ends what an earlier manager left, and
stores and runs recover by themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medassets.deploying.health import fault
from medassets.deploying.native import BIND, MARK, Plan, StackError, find_program, refuse_unfit, write_files

STOP_SECONDS = 60.0
LOOK_EVERY = 0.25


@dataclass(frozen=True)
class State:
    """One process as it is now.

    Attributes:
        name: of the process.
        state: supervisor's word for it.
        healthy: whether it answers.
        detail: what is wrong, or since when it runs.
        resident_mb: memory of it and its children, counting pages shared between them once for each sharer's
            part (proportional set size).
    """

    name: str
    state: str
    healthy: bool
    detail: str
    resident_mb: float


def start(made: Plan) -> None:
    """Start the manager, unless it runs already with the same file.

    Raises:
        StackError: something is missing or in the way; supervisor did not start.
    """
    daemon = find_program("supervisord")
    if daemon is None:
        raise StackError("supervisord is not installed: make install, or apt-get install supervisor")
    if manager_pid(made.folder):
        write_files(made)
        _control(made.folder, "update")
        return
    end_processes(made.home)
    made.home.mkdir(parents=True, exist_ok=True)
    refuse_unfit(
        made, {name: port for name, port in made.ports.items() if fault(f"tcp:{BIND}:{port}") is None}
    )
    file = write_files(made)
    for ready in made.members:
        if not ready.process.is_own:
            _prepare_store(made, ready.process.name, ready.data, ready.user)
    done = subprocess.run(
        [daemon, "-c", str(file)],
        env=os.environ | {MARK: str(made.home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackError(f"supervisord: {(done.stderr or done.stdout).strip()[-500:]}")


def stop(home: Path) -> bool:
    """Stop everything of an installation.

    Returns:
        Whether anything ran.

    Raises:
        StackError: it did not end in time.
    """
    folder, pid = home / "run", manager_pid(home / "run")
    if pid is None:
        return end_processes(home) > 0
    _control(folder, "shutdown")
    deadline = time.monotonic() + STOP_SECONDS
    while _runs(pid):
        if time.monotonic() > deadline:
            raise StackError(
                f"supervisord ({pid}) did not end in {STOP_SECONDS:.0f} s: {folder}/supervisord.log"
            )
        time.sleep(LOOK_EVERY)
    end_processes(home)
    return True


def wait_until_healthy(made: Plan, seconds: float, skip: frozenset[str] = frozenset()) -> dict[str, str]:
    """Wait until every process answers.

    Returns:
        What is still wrong at the end, by process.
    """
    deadline = time.monotonic() + seconds
    wrong = {m.process.name: m.check for m in made.members if m.process.name not in skip}
    while True:
        left = {name: why for name, check in wrong.items() if (why := fault(check)) is not None}
        if not left or time.monotonic() > deadline:
            return left
        wrong = {name: wrong[name] for name in left}
        time.sleep(LOOK_EVERY)


def states(made: Plan) -> list[State]:
    """How each process is.

    Raises:
        StackError: the stack does not run.
    """
    if manager_pid(made.folder) is None:
        raise StackError(f"the stack of {made.home} does not run: medassets up")
    checks = {m.process.name: m.check for m in made.members}
    children = _children()
    found = []
    for line in _control(made.folder, "status").splitlines():
        name, state, *rest = line.split(None, 2)
        detail = " ".join(rest)
        wrong = fault(checks[name]) if name in checks and state == "RUNNING" else None
        pid = int(detail.split()[1].rstrip(",")) if state == "RUNNING" else None
        memory = sum(_resident_mb(one) for one in _tree(pid, children)) if pid else 0.0
        found.append(State(name, state, state == "RUNNING" and wrong is None, wrong or detail, memory))
    return found


def manager_pid(folder: Path) -> int | None:
    """The process id of the running manager."""
    try:
        pid = int((folder / "supervisord.pid").read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return pid if _runs(pid) and MARK.encode() in _environ(pid) else None


def end_processes(home: Path) -> int:
    """End what an earlier manager of this installation left, and nothing else.

    Returns:
        How many there were.
    """
    ended: set[int] = set()
    # A manager may start a process anew before its own turn comes.
    while left := set(marked(home)) - ended:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended |= left
    while any(_runs(pid) for pid in ended):
        time.sleep(0.02)
    return len(ended)


def _prepare_store(made: Plan, name: str, data: Path, user: str | None) -> None:
    """Make the folder of a server; PostgreSQL's cluster at the first start."""
    data.mkdir(parents=True, exist_ok=True)
    if user:
        import shutil

        shutil.chown(data, user)
    if name == "postgres" and not (data / "PG_VERSION").exists():
        made_by = {"user": user, "group": user, "extra_groups": []} if user else {}
        secret = made.folder / "initdb-password"
        from medassets.deploying.native import write_private

        write_private(secret, (made.home / "secrets" / "postgres-password").read_text(encoding="ascii"), user)
        data.chmod(0o700)
        done = subprocess.run(
            [
                find_program("initdb") or "initdb",
                "-D",
                str(data),
                "-U",
                "medassets",
                "-E",
                "UTF8",
                "--locale=C",
                "-A",
                "scram-sha-256",
                f"--pwfile={secret}",
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **made_by,  # type: ignore[call-overload]
        )
        secret.unlink()
        if done.returncode:
            raise StackError(f"initdb: {done.stderr.strip()[-500:]}")


def _control(folder: Path, *words: str) -> str:
    program = find_program("supervisorctl") or "supervisorctl"
    done = subprocess.run(
        [program, "-c", str(folder / "supervisord.conf"), *words],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def marked(home: Path) -> Iterator[int]:
    """Processes of an installation's stack, by the mark that they inherit."""
    wanted = f"{MARK}={home}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and wanted in _environ(int(entry.name)).split(b"\0"):
            yield int(entry.name)


def _environ(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it ended, or is somebody else's
        return b""


def _runs(pid: int) -> bool:
    try:
        state = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return False
    return state[0] != "Z"


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                text = (entry / "stat").read_text(encoding="ascii", errors="replace")
                found.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    return found


def _tree(pid: int, children: dict[int, list[int]]) -> Iterator[int]:
    yield pid
    for child in children.get(pid, []):
        yield from _tree(child, children)


def _resident_mb(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError:  # it ended
        return 0.0
    return 0.0
