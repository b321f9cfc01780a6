"""How time and memory grow with patients, engine by engine: from Delta to the symptom matrix to counts.

Usage: python benchmarks/scaling.py [--sizes 10000 100000 1000000] [--engines local ray] [--nodes 1 4 16]

Patients are simulated from the reference table, a file for every 50,000. Each engine and size runs in a
process of its own. Peak memory is the sum over it and its children (Ray's servers and workers), seen every
half second; pages that several of them share are divided among them. Processor time is of all of them too.
The exponent is the slope of log time over log patients: 1 is proportional. An engine that takes longer than
--limit seconds, or more memory than --memory, is ended, and the table says so.

The last table is a MODEL, not a measurement: it takes the processor seconds a patient measured here, divides
what can run side by side by the number of cores (Amdahl's law, the serial share is an argument), adds the
start of the nodes, and multiplies by a price that you state.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from processes import cpu_seconds, family, proportional

PART_ROWS = 50_000
#: Objects that Ray's workers share, in bytes; what does not fit goes to disk.
RAY_STORE = {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "1000000000"}


@dataclass
class Taken:
    """What an engine took.

    Attributes:
        found: rows, groups and seconds as the engine's process printed them; nothing where it was ended.
        processor_s: seconds of all its processes.
        peak_mb: most memory of all its processes at a time.
        ended: why it was ended.
    """

    found: dict[str, float]
    processor_s: float = 0.0
    peak_mb: float = 0.0
    ended: str = ""

    @property
    def seconds(self) -> float:
        """Seconds of the work, without the engine's start."""
        return self.found["features"] + self.found["counts"]


def write_patients(place: Path, rows: int) -> None:
    """Simulate patients into a Delta table, a file for every 50,000."""
    import deltalake

    from medassets.cohorts.simulate_common import simulate
    from medassets.knowledge.common_conditions import CommonKnowledge

    knowledge = CommonKnowledge.bundled()
    for start in range(0, rows, PART_ROWS):
        total = min(PART_ROWS, rows - start)
        part = simulate(knowledge, total=total, seed=1 + start, missing_rate=0.1, draw_values=True)
        deltalake.write_deltalake(str(place), part, mode="append")


def work(engine_name: str, source: str, target: str) -> None:
    """Do the work of one engine and print what it took as JSON."""
    from medassets.engines.choice import engine_of
    from medassets.features.common import EvidenceSpace
    from medassets.features.scaled import COHORT_PROFILE_SQL, CommonFeatures
    from medassets.knowledge.common_conditions import CommonKnowledge
    from medassets.settings import Settings

    space = EvidenceSpace.from_knowledge(CommonKnowledge.bundled())
    began = time.perf_counter()
    engine = engine_of(Settings(engine=engine_name))
    ready = time.perf_counter()
    rows = engine.write(source, CommonFeatures(space), target)
    written = time.perf_counter()
    groups = engine.query(COHORT_PROFILE_SQL, {"features": target}).num_rows
    done = time.perf_counter()
    took = {"start": ready - began, "features": written - ready, "counts": done - written}
    print(json.dumps({"rows": rows, "groups": groups, **took}))


def measure(engine: str, source: Path, target: Path, limit_s: float, limit_mb: float) -> Taken:
    """Run one engine in a process of its own, and end it where it passes a limit."""
    command = [sys.executable, __file__, "--work", engine, str(source), str(target)]
    began, taken = time.monotonic(), Taken({})
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | RAY_STORE)
    while True:
        taken.peak_mb = max(taken.peak_mb, proportional(process.pid))
        taken.processor_s = max(taken.processor_s, cpu_seconds(process.pid))
        if time.monotonic() - began > limit_s:
            taken.ended = f"ended after {limit_s:.0f} s"
        elif taken.peak_mb > limit_mb:
            taken.ended = f"ended over {limit_mb:.0f} MB"
        if taken.ended:
            for pid in family(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            printed, _ = process.communicate(timeout=0.5)
            break
    if not taken.ended:
        if process.returncode:
            sys.exit(f"{engine} failed")
        taken.found = json.loads(printed.strip().splitlines()[-1])
    return taken


def row(engine: str, size: int, taken: Taken) -> str:
    """A row of the table."""
    if taken.ended:
        parts = [taken.ended, "", "", ""]
    else:
        seconds = (f"{taken.found[name]:.1f}" for name in ("start", "features", "counts"))
        parts = [*seconds, f"{size / taken.seconds:,.0f}"]
    return f"| {engine} | {size:,} | {' | '.join(parts)} | {taken.processor_s:.0f} | {taken.peak_mb:.0f} |"


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of log seconds over log sizes."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]) if len(sizes) > 1 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], choices=["local", "ray"])
    parser.add_argument("--limit", type=float, default=900, help="most seconds of an engine and size")
    parser.add_argument("--memory", type=float, default=3000, help="most MB of an engine and size")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 4, 16], help="nodes of the model")
    parser.add_argument("--cores", type=int, default=8, help="cores of a node of the model")
    parser.add_argument("--price", type=float, default=0.4, help="price of a node and hour, of the model")
    parser.add_argument("--serial", type=float, default=0.05, help="serial share, of the model")
    parser.add_argument("--startup", type=float, default=60, help="seconds until a node works, of the model")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(*options.work)
    done: dict[str, dict[int, Taken]] = {engine: {} for engine in options.engines}
    print("| engine | patients | start s | features s | counts s | patients/s | processor s | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            source = Path(folder, f"patients-{size}")
            write_patients(source, size)
            for engine in options.engines:
                target = Path(folder, f"{engine}-{size}")
                taken = measure(engine, source, target, options.limit, options.memory)
                print(row(engine, size, taken), flush=True)
                if not taken.ended:
                    assert taken.found["rows"] == size, taken
                    done[engine][size] = taken
    for engine, by_size in done.items():
        sizes = list(by_size)
        seconds, processor = (
            [getattr(t, name) for t in by_size.values()] for name in ("seconds", "processor_s")
        )
        print(
            f"{engine}: exponent of growth {exponent(sizes, seconds):.2f}; between the two largest "
            f"{exponent(sizes[-2:], seconds[-2:]):.2f}, of processor time "
            f"{exponent(sizes[-2:], processor[-2:]):.2f}"
        )
    size, taken = list(done[options.engines[0]].items())[-1]
    model(taken.processor_s / size, options)
    return None


def model(rate: float, options: argparse.Namespace) -> None:
    """Print what a cluster would take and cost, from the processor seconds a patient measured here."""
    print(f"\nMODEL, not measured: 10^8 patients on a cluster, {rate * 1e6:.0f} processor seconds a million")
    print("| nodes | cores | minutes | price |\n| --- | --- | --- | --- |")
    for nodes in options.nodes:
        cores = nodes * options.cores
        seconds = options.startup + 1e8 * rate * (options.serial + (1 - options.serial) / cores)
        cost = seconds / 3600 * nodes * options.price
        print(f"| {nodes} | {cores} | {seconds / 60:,.0f} | {cost:,.2f} |")


if __name__ == "__main__":
    main()
