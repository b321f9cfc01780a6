"""``medassets bundle``: which bundles there are, which one is served, and the way back.

What belongs here: arguments and printing. What does not: the pointer (``serving.bundle``) and what a running
service makes of it (``serving.swap``).
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from medassets.commands.output import AsJson, emit, failures, out, settings

app = typer.Typer(
    no_args_is_help=True,
    help="Bundles. A running service follows a change within seconds, without dropping a request.",
)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the bundles, newest first."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import latest_bundle, list_bundles

        known = list_bundles(config.bundles_dir)
        latest = latest_bundle(config.bundles_dir).name
    if as_json:
        emit(
            [
                {
                    "version": m.version, "created": m.created, "origin": m.settings_origin,
                    "profile": m.profile, "parts": m.parts, "latest": m.version == latest,
                }
                for m in known
            ]
        )  # fmt: skip
        return
    table = Table("", "version", "created", "origin", "profile", "parts")
    for m in known:
        mark = "served" if m.version == latest else ""
        table.add_row(mark, m.version, f"{m.created:%F %T}", m.settings_origin, m.profile, ", ".join(m.parts))
    out.print(table)


@app.command()
def use(
    version: Annotated[str, typer.Argument(help="As `medassets bundle list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Serve this bundle from now on, after verifying it."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import load_bundle, point_latest

        load_bundle(config.bundles_dir / version)
        point_latest(config.bundles_dir, version)
    _say(version, as_json)


@app.command()
def rollback(as_json: AsJson = False) -> None:
    """Serve the bundle that was served before the present one."""
    config = settings()
    with failures(as_json):
        from medassets.serving.bundle import roll_back

        version = roll_back(config.bundles_dir)
    _say(version, as_json)


def _say(version: str, as_json: bool) -> None:
    if as_json:
        emit({"version": version})
        return
    out.print(f"{version} is the latest: running services change to it within seconds")
