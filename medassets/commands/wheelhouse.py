"""``medassets wheelhouse``: an installation on a medium, for machines without a network.

What belongs here: options and what is printed. What does not: what lies on it
(``medassets.deploying.medium``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medassets.commands.output import failures, out, settings


def wheelhouse(
    folder: Annotated[Path, typer.Argument(help="New folder, for example on a USB drive.")],
    serving: Annotated[
        bool, typer.Option("--serving", help="Only what answers: no training, no Dagster, no page.")
    ] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check a medium instead of writing one.")] = False,
) -> None:
    """Write wheels, source and the latest bundle to a medium; its `sh install.sh FOLDER` installs offline."""
    from medassets.deploying.medium import MediumError, verify_medium, write_medium

    config = settings()
    with failures(False, MediumError):
        if verify:
            out.print(f"{verify_medium(folder)} files as their sums say", highlight=False)
            return
        made = write_medium(config, folder, extras="" if serving else "[platform,native]")
    bundle = f"bundle {made.bundle}" if made.bundle else "no bundle yet (`medassets run` makes one)"
    out.print(f"{made.folder}: {made.wheels} wheels, {bundle}, {made.size / 1e9:.2f} GB", highlight=False)
