"""``medassets migrate``: moves an installation's stores, and compares both sides.

What belongs here: arguments and printing. What does not: the moving (``orchestration.migration``).
"""

from __future__ import annotations

from typing import Annotated

import typer

from medassets.commands.output import BAD_INPUT, AsJson, emit, err, failures, out, settings, stop

#: What to set so that the installation uses the new place.
_VARIABLES = {
    "predictions": "MEDASSETS_PREDICTIONS_URL",
    "documents": "MEDASSETS_DOCUMENTS_URL",
    "dagster": "MEDASSETS_DAGSTER_DATABASE",
    "mlflow": "MEDASSETS_MLFLOW_URL",
    "lake": "MEDASSETS_LAKE_URL",
    "bundles": "MEDASSETS_BUNDLES_URL",
}


def migrate(
    to: Annotated[
        str,
        typer.Option(help="postgresql://..., s3://bucket/prefix, mongodb://.../database, or local (back)."),
    ],
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(_VARIABLES)}; may be given repeatedly.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy stores to another place, losing nothing; the source stays. Stop the services before."""
    config = settings()
    from medassets.orchestration.migration.parts import MigrationError, move
    from medassets.orchestration.migration.plan import plan

    done = []
    try:
        parts = plan(config, to, tuple(only or ()))
    except MigrationError as error:
        stop(BAD_INPUT, str(error), as_json=as_json)
    if not parts:
        stop(BAD_INPUT, "nothing lies where it would have to be moved from", as_json=as_json)
    for name, opened in parts.items():
        err.print(f"{name} ...", highlight=False)
        with failures(as_json, MigrationError, OSError):
            moved = move(opened())
        done.append({**vars(moved), "part": name, "set": _VARIABLES[name] if to != "local" else None})
        if not as_json:
            counts = ", ".join(f"{count} {what}" for what, count in moved.counts.items() if count)
            what = "copied" if moved.copied else "was there already"
            out.print(f"{name}: {what}, both sides the same ({counts or 'empty'})", highlight=False)
    if as_json:
        emit(done)
    elif to == "local":
        out.print(f"now unset {', '.join(_VARIABLES[name] for name in parts)}", highlight=False)
    else:
        out.print(f"now set {', '.join(_VARIABLES[name] for name in parts)}", highlight=False)
