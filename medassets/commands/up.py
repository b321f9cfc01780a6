"""``medassets up``, ``down`` and ``status``: the whole stack on this machine, without containers.

What belongs here: options, what is printed. What does not: what the stack is (``medassets.deploying``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from medassets.commands.output import BAD_INPUT, FAILURE, NOT_READY, AsJson, emit, err, out, settings, stop
from medassets.commands.preflight import refuse_faults
from medassets.deploying.stack import STACK_PROFILES, StackProfile

if TYPE_CHECKING:
    from medassets.deploying.native import Plan

#: Seconds that a clinic's small machine may take until all answer.
HEALTHY_SECONDS = 180.0
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", help=f"Stack profile: {', '.join(STACK_PROFILES)}; default: the last, or small."
    ),
]


def up(profile: Profile = None) -> None:
    """Start the stack on loopback: the Dagster UI, its daemon and code, the API, the page, and their stores.

    It starts again by itself what ends or stops answering. After a power cut, run it again (or let the system
    do so at its start): what was interrupted is found and made again.
    """
    with _stack_errors(), _planned(profile) as made:
        from medassets.deploying.manager import start, wait_until_healthy

        refuse_faults(settings(), "up")
        _give_page_its_key(made)
        for note in made.notes:
            err.print(f"[yellow]note:[/yellow] {note}", highlight=False)
        start(made)
        waiting = frozenset() if _has_bundle(made) else frozenset({"api"})
        if waiting:
            err.print("no bundle yet: the API starts by itself once `medassets run` has made one")
        wrong = wait_until_healthy(made, HEALTHY_SECONDS, waiting)
        healthy = {ready.process.name for ready in made.members} - waiting - wrong.keys()
        for name in ("webserver", "api", "page", "prometheus", "grafana"):
            if name in healthy:
                out.print(f"{name}: http://{made.at[name]}", highlight=False)
        if wrong:
            logs = "; ".join(f"{name}: {why}" for name, why in wrong.items())
            stop(FAILURE, f"not healthy after {HEALTHY_SECONDS:.0f} s: {logs}; logs lie in {made.home}/logs")


def down() -> None:
    """Stop everything that `medassets up` started here."""
    config = settings()
    with _stack_errors():
        from medassets.deploying.manager import stop as stop_stack

        out.print("stopped" if stop_stack(config.home) else "nothing ran")


def status(profile: Profile = None, as_json: AsJson = False) -> None:
    """Say how each process of the stack is, and how much memory it holds."""
    with _stack_errors(), _planned(profile) as made:
        from medassets.deploying.manager import states

        found = states(made)
        if as_json:
            emit({"profile": made.profile, "processes": [asdict(state) for state in found]})
        else:
            table = Table("process", "state", "healthy", "MB", "")
            for state in found:
                healthy = "yes" if state.healthy else "no"
                table.add_row(state.name, state.state, healthy, f"{state.resident_mb:.0f}", state.detail)
            out.print(table)
            out.print(f"{sum(state.resident_mb for state in found):.0f} MB in all", highlight=False)
        if not all(state.healthy for state in found):
            raise typer.Exit(NOT_READY)


@contextmanager
def _planned(profile: str | None) -> Iterator[Plan]:
    from medassets.deploying.native import plan

    config = settings()
    kept = config.home / "run" / "profile"
    chosen = profile or (kept.read_text(encoding="ascii").strip() if kept.exists() else "small")
    if chosen not in STACK_PROFILES:
        stop(BAD_INPUT, f"profile {chosen!r}: choose one of {', '.join(STACK_PROFILES)}")
    name: StackProfile = "small" if chosen == "small" else "full"
    made = plan(config, name)
    made.folder.mkdir(parents=True, exist_ok=True)
    kept.write_text(name, encoding="ascii")
    yield made


def _give_page_its_key(made: Plan) -> None:
    """Let the page ask where the API asks for keys; its key is made once, in a file of its owner's."""
    from medassets.commands.serve import development_key

    config = settings()
    for ready in made.members:
        if ready.process.name == "page" and config.auth in ("keys", "both"):
            ready.environment["MEDASSETS_API_KEY"] = development_key(config)


def _has_bundle(made: Plan) -> bool:
    return (made.home / "bundles" / "latest").exists()


@contextmanager
def _stack_errors() -> Iterator[None]:
    from medassets.deploying.native import StackError

    try:
        yield
    except StackError as error:
        stop(BAD_INPUT, str(error))
