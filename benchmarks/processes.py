"""What a server's processes use, read from Linux's ``/proc``: processor time and resident memory.

What belongs here: measuring processes from outside. What does not: starting them (``commands.server``).
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")


def family(root: int) -> set[int]:
    """A process and its descendants."""
    parents = {}
    for folder in PROC.glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(_after_name(folder)[1])
        except OSError:
            continue  # it ended meanwhile
    found, level = {root}, {root}
    while level := {pid for pid, parent in parents.items() if parent in level}:
        found |= level
    return found


def cpu_seconds(root: int) -> float:
    """Processor time of a process and its descendants."""
    return sum(_sum(pid, "cpu") for pid in family(root)) / os.sysconf("SC_CLK_TCK")


def resident(root: int) -> float:
    """Resident memory of a process and its descendants, in MiB."""
    return sum(_sum(pid, "memory") for pid in family(root)) * os.sysconf("SC_PAGE_SIZE") / 2**20


def proportional(root: int) -> float:
    """Memory of a process and its descendants, in MiB; a page that several share is divided among them."""
    return sum(map(_share, family(root))) / 2**10


def _share(pid: int) -> int:
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0  # it ended meanwhile
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _sum(pid: int, what: str) -> int:
    folder = PROC / str(pid)
    try:
        if what == "memory":
            return int((folder / "statm").read_text().split()[1])
        fields = _after_name(folder)
        return int(fields[11]) + int(fields[12])
    except OSError:
        return 0  # it ended meanwhile


def _after_name(folder: Path) -> list[str]:
    """Fields of ``stat`` after the program's name, which may hold spaces: state, parent, ..."""
    return (folder / "stat").read_text().rpartition(")")[2].split()
