"""Run the graph from a program or the command line: only what is not up to date, with progress, in this
process.

What belongs here: waves of assets (``staleness``) executed one after another and summed up. What does not:
the command line itself (``medassets.cli``) and schedules (``automation``), for which Dagster's daemon runs
the same jobs.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import logging
import math
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
from dagster import AssetKey
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run_iterator
from rich.console import Console

from medassets.orchestration import staleness
from medassets.orchestration.build import WHOLE_GRAPH, build_definitions
from medassets.orchestration.instance import open_instance
from medassets.orchestration.io_managers import Holds
from medassets.orchestration.openlineage import LAUNCHED_BY, send_run
from medassets.orchestration.progress import AssetLine, Progress
from medassets.settings import Settings, let_threads_sleep, switch_telemetry_off

#: Resident bytes above which memory is given back between steps.
GIVE_BACK_ABOVE = 1 << 30
#: Waves after which a graph that never settles is an error in this module.
MOST_WAVES = 30


class RunInProgressError(RuntimeError):
    """Another process is running the graph of the same home."""


@dataclass
class RunSummary:
    """What a run of the graph did.

    Attributes:
        success: whether every asset was made and every error check passed.
        executed: what was made, in order.
        up_to_date: assets that were left as they were.
        failed: asset or check, and what went wrong.
        skipped: assets that were not reached because something above them failed.
        sources: origin of each source: bundled, folder, download or absent.
        run_ids: Dagster's runs.
        metrics: main figures, each with n, interval and the origin of the data it was measured on.
        paths: where the bundle, the bento and the reports lie.
        seconds: wall time.
    """

    success: bool = True
    executed: list[AssetLine] = field(default_factory=list)
    up_to_date: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    run_ids: list[str] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    paths: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> str:
        """Give the summary as JSON."""
        return json.dumps(asdict(self), indent=1)


def run_graph(
    settings: Settings,
    select: str | None = None,
    force: bool = False,
    console: Console | None = None,
    definitions: dg.Definitions | None = None,
) -> RunSummary:
    """Materialize what is not up to date, wave by wave; sources are always looked at.

    Args:
        settings: the installation.
        select: Dagster's asset selection syntax, for example ``group:clinical`` or
            ``key:"models/rare_ranker"+``; without it the whole unpartitioned graph.
        force: make everything selected again.
        console: where progress goes; standard error by default.
        definitions: definitions to run instead of the installation's own.

    Returns:
        What was done. A failed asset or check is in the summary, not raised.

    Raises:
        RunInProgressError: another process runs the graph of the same home.
    """
    switch_telemetry_off()
    let_threads_sleep()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    began, console = time.monotonic(), console or Console(stderr=True)
    defs = definitions or build_definitions(settings.model_copy(update={"executor": "in_process"}))
    summary = RunSummary()
    with _only_one(settings.home), open_instance(settings) as instance:
        job = defs.resolve_job_def(WHOLE_GRAPH)
        graph = defs.resolve_asset_graph()
        keys = _selected(graph, job, select)
        _run_waves(_Waves(job, graph, instance, defs.resources or {}, console, summary), keys, force)
        if settings.openlineage_url:
            for run_id in summary.run_ids:
                send_run(settings.openlineage_url, graph, instance, run_id)
        summary.sources = _origins(instance, graph)
        _read_results(instance, graph, summary)
    summary.success = not summary.failed
    summary.seconds = time.monotonic() - began
    return summary


@dataclass
class _Waves:
    """What a run needs at hand while it goes from wave to wave."""

    job: dg.JobDefinition
    graph: AssetGraph
    instance: dg.DagsterInstance
    managers: Mapping[str, object]
    console: Console
    summary: RunSummary


def _run_waves(at: _Waves, keys: Sequence[AssetKey], force: bool) -> None:
    order = staleness.topological(at.graph, keys)
    pending = {key: staleness.Reason("asked for", True) for key in order} if force else None
    seen: set[AssetKey] = set()
    for _ in range(MOST_WAVES):
        why = (
            dict(pending)
            if pending is not None
            else staleness.reasons(at.graph, at.instance, order, _gone(at, order))
        )
        for key in order:
            if key.path[0] == "sources" and key not in seen:
                why.setdefault(key, staleness.Reason("looked at in every run", True))
            elif key in seen:
                why.pop(key, None)
        wave, waiting = staleness.next_wave(order, at.graph, why)
        if not wave:
            break
        seen.update(wave)
        pending = None
        if not _execute(at, wave, why):
            at.summary.skipped += [k.to_user_string() for k in waiting]
            break
    else:
        raise RuntimeError(f"the graph did not settle within {MOST_WAVES} waves")
    made = {line.key for line in at.summary.executed}
    unreached = {name for name, _ in at.summary.failed} | set(at.summary.skipped)
    at.summary.up_to_date = [k.to_user_string() for k in order if k.to_user_string() not in made | unreached]


def _execute(at: _Waves, wave: Sequence[AssetKey], why: Mapping[AssetKey, staleness.Reason]) -> bool:
    """Run one wave; what came after a failure is counted as skipped."""
    job = at.job.get_subset(asset_selection=set(wave))
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    run = at.instance.create_run_for_job(job, run_config=quiet, tags={LAUNCHED_BY: "run_graph"})
    texts = {key.to_user_string(): why[key].text if key in why else "follows its inputs" for key in wave}
    progress = Progress(at.console, len(wave), texts)
    with progress.shown():
        for event in execute_run_iterator(InMemoryJob(job), run, at.instance):
            progress.see(event)
            if event.event_type == dg.DagsterEventType.STEP_SUCCESS:
                _give_memory_back()
    at.summary.run_ids.append(run.run_id)
    at.summary.executed += progress.lines
    at.summary.failed += progress.failed
    finished = at.instance.get_run_by_id(run.run_id)
    success = finished is not None and finished.is_success
    if not success:
        seen = {line.key for line in progress.lines} | {name for name, _ in progress.failed}
        at.summary.skipped += [k.to_user_string() for k in wave if k.to_user_string() not in seen]
        if not progress.failed:
            at.summary.failed.append((run.run_id, "the run failed; its log is in the Dagster UI"))
    return success


def _give_memory_back() -> None:
    """Return what a step has freed to the machine: a run is one process, and leftovers would add up.

    Walking all objects costs a good part of a second: not worth it while the process is small.
    """
    if _resident() < GIVE_BACK_ABOVE:
        return
    gc.collect()
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own; other C libraries have none
    if trim is not None:
        trim(0)


def _resident() -> float:
    """Give the process's resident memory in bytes; where the system does not say, more than any bound."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else math.inf


def _selected(graph: AssetGraph, job: dg.JobDefinition, select: str | None) -> list[AssetKey]:
    keys = set(job.asset_layer.executable_asset_keys)
    if select is None:
        return sorted(keys)
    # What one function makes together is selected together.
    chosen = dg.AssetSelection.from_string(select).required_multi_asset_neighbors().resolve(graph)
    if not chosen & keys:
        raise ValueError(f"no asset of the graph is selected by {select!r}")
    return sorted(chosen & keys)


def _gone(at: _Waves, keys: Sequence[AssetKey]) -> list[AssetKey]:
    """Find assets whose stored value was removed behind Dagster's back."""
    gone = []
    for key in keys:
        manager = at.managers.get(at.graph.get(key).assets_def.get_io_manager_key_for_asset_key(key))
        if isinstance(manager, Holds) and not manager.holds(key.to_user_string()):
            gone.append(key)
    return gone


def _origins(instance: dg.DagsterInstance, graph: AssetGraph) -> dict[str, str]:
    found = {}
    for key in sorted(k for k in graph.executable_asset_keys if k.path[0] == "sources"):
        event = instance.get_latest_materialization_event(key)
        materialization = event.asset_materialization if event else None
        if materialization and "origin" in materialization.metadata:
            found[key.path[-1]] = str(materialization.metadata["origin"].value)
    return found


def _read_results(instance: dg.DagsterInstance, graph: AssetGraph, summary: RunSummary) -> None:
    """Collect the main figures and places that assets state in their metadata (``headline``, ``place``)."""
    for key in sorted(graph.executable_asset_keys):
        event = instance.get_latest_materialization_event(key)
        metadata = event.asset_materialization.metadata if event and event.asset_materialization else {}
        if "headline" in metadata:
            summary.metrics += list(metadata["headline"].value)  # type: ignore[arg-type]
        if "place" in metadata:
            summary.paths[key.path[-1]] = str(metadata["place"].value)


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Hold the home's run lock.

    Raises:
        RunInProgressError: another process holds it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunInProgressError(
                f"another run of the graph in {home} is under way: wait for it"
            ) from error
        yield
