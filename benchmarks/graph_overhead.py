"""What the graph costs: ``run_graph`` against the same functions called one after another in a plain script.

The plain script has no Dagster run, no Delta, no MLflow and no checks: each asset's own function is called
with the values of the functions before it. Each way has a process of its own, so that both import what the
functions need. Times are of the processor as well as of the clock, since a shared machine makes the clock
lie.

    python benchmarks/graph_overhead.py [--select 'group:clinical'] [--data-dir FOLDER]

The figure to reach: the graph takes at most 1.2 times the plain script, plus 20 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
from rich.console import Console

from medassets.cohorts.tables import TABLES, conform
from medassets.orchestration import staleness
from medassets.orchestration.build import WHOLE_GRAPH, build_definitions
from medassets.orchestration.instance import open_instance
from medassets.orchestration.io_managers import as_arrow
from medassets.orchestration.run import run_graph
from medassets.settings import Settings

#: By the clock, and of the processor.
Seconds = tuple[float, float]


def timed(way: Callable[[Settings, str | None], None], settings: Settings, select: str | None) -> Seconds:
    """Take one way in a process of its own; give the clock's and the processor's seconds."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        return fresh.submit(_timed, way, settings, select).result()


def _timed(way: Callable[[Settings, str | None], None], settings: Settings, select: str | None) -> Seconds:
    began = time.monotonic()
    way(settings, select)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.monotonic() - began, sum(one.ru_utime + one.ru_stime for one in used)


def graph_way(settings: Settings, select: str | None) -> None:
    """Run the graph.

    Raises:
        RuntimeError: something of it failed.
    """
    summary = run_graph(settings, select=select, console=Console(quiet=True))
    if not summary.success:
        raise RuntimeError(f"the graph failed: {summary.failed}")


def show(name: str, seconds: Seconds) -> None:
    """Print the two times of one way."""
    print(f"{name:<13} {seconds[0]:8.1f} s by the clock {seconds[1]:8.1f} s of processor", flush=True)


def plain_way(settings: Settings, select: str | None) -> None:
    """Call every asset's function with the values of the ones before it."""
    with open_instance(settings) as instance:
        _call_all(settings, select, instance)


def _call_all(settings: Settings, select: str | None, instance: dg.DagsterInstance) -> None:
    defs = build_definitions(settings)
    graph, resources = defs.resolve_asset_graph(), dict(defs.resources or {})
    wanted = set(defs.resolve_job_def(WHOLE_GRAPH).asset_layer.executable_asset_keys)
    if select:
        wanted &= dg.AssetSelection.from_string(select).resolve(graph)
    context = SimpleNamespace(
        add_output_metadata=lambda found, **_: None, instance=instance, log=None, run=None
    )
    values: dict[dg.AssetKey, Any] = {}
    for key in staleness.topological(graph, wanted):
        if key in values:
            continue
        made = graph.get(key).assets_def
        function = made.op.compute_fn.decorated_fn
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        # What is only waited for (``deps``) is no argument.
        arguments = {
            name: values[above]
            for name, above in made.keys_by_input_name.items()
            if not made.op.ins[name].dagster_type.is_nothing
        }
        given = {name: value for name, value in {"context": context, **resources}.items() if name in names}
        result = function(**given, **arguments)
        results = result if len(made.keys) > 1 else (result,)
        for output, given_back in zip(made.keys_by_output_name.values(), results, strict=True):
            value = given_back.value if isinstance(given_back, dg.Output) else given_back
            spec = TABLES.get(output.to_user_string())
            values[output] = conform(as_arrow(value), spec) if spec else value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--select", help="Dagster's asset selection; the unpartitioned graph without it")
    parser.add_argument("--data-dir", type=Path, help="folder of releases; bundled knowledge without it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["DAGSTER_HOME"] = str(Path(home, "dagster"))
        settings = Settings(home=Path(home), data_dir=asked.data_dir)
        graph = timed(graph_way, settings, asked.select)
        show("graph", graph)
        # What the graph left behind must not save the script work: vectors of terms, trials of studies.
        shutil.rmtree(settings.home / "cache", ignore_errors=True)
        fresh = settings.model_copy(update={"study_url": f"sqlite:///{settings.home / 'plain-studies.db'}"})
        script = timed(plain_way, fresh, asked.select)
    show("plain script", script)
    for name, i in (("clock", 0), ("processor", 1)):
        allowed = 1.2 * script[i] + 20
        print(f"{name:<10} ratio {graph[i] / script[i]:.2f}; allowed {allowed:.1f} s, taken {graph[i]:.1f} s")


if __name__ == "__main__":
    main()
