"""The command line: ``medassets``.

What belongs here: which commands there are. What does not: what they do (``medassets.commands``). Nothing
heavy is imported before a command runs, so that ``--help`` is instant.
"""

from __future__ import annotations

from typing import Annotated

import typer

from medassets import __version__
from medassets.commands import (
    ask,
    backup,
    bundle,
    doctor,
    exporter,
    forget,
    forms,
    migrate,
    run,
    secure,
    serve,
    stream,
    ui,
    up,
    validate,
    wheelhouse,
)
from medassets.commands.output import EXIT_CODES

app = typer.Typer(
    name="medassets",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Decision support for common and rare diseases: from source files to a served differential.",
    epilog=EXIT_CODES,
)
app.command()(run.run)
app.command()(serve.serve)
app.command()(serve.dev)
app.command()(ui.ui)
app.command()(ask.diagnose)
app.add_typer(validate.app, name="validate")
app.command()(ask.lineage)
app.command()(up.up)
app.command()(up.down)
app.command()(up.status)
app.command()(wheelhouse.wheelhouse)
app.command()(doctor.doctor)
app.command()(exporter.exporter)
app.command()(migrate.migrate)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(forget.forget)
app.command()(forms.form_template)
app.add_typer(bundle.app, name="bundle")
app.add_typer(stream.app, name="stream")
app.add_typer(secure.keys, name="keys")
app.add_typer(secure.audit, name="audit")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"medassets {__version__}")
        raise typer.Exit


@app.callback()
def callback(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Settings are read from MEDASSETS_* variables and from .env; `medassets doctor` checks them."""


def main() -> None:
    """Entry point."""
    app()
