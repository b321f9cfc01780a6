"""Refusing to start where a service would only half work.

What belongs here: how that is said on the command line. What does not: what is looked at
(``medassets.deploying.preflight``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medassets.commands.output import NOT_READY, err, stop

if TYPE_CHECKING:
    from medassets.deploying.preflight import Purpose
    from medassets.settings import Settings


def refuse_faults(config: Settings, purpose: Purpose, *, as_json: bool = False) -> None:
    """End the command where something is wrong that stops it; name all of it, and what to do."""
    from medassets.deploying.preflight import faults

    found = faults(config, purpose)
    for fault in found:
        if not fault.stops:
            err.print(f"[yellow]note:[/yellow] {fault.what}: {fault.detail}", highlight=False)
    if wrong := [fault for fault in found if fault.stops]:
        problems = [(fault.what, fault.detail) for fault in wrong]
        text = "; ".join(f"{what}: {detail}" for what, detail in problems)
        stop(NOT_READY, f"not started: {text}", as_json=as_json, problems=problems)
