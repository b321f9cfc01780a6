"""``medassets forget``: erase a person from predictions, feedback and the lake.

What belongs here: arguments and printing. What does not: what is removed (``orchestration.erasure``).
"""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import Annotated

import typer

from medassets.commands.output import AsJson, emit, err, failures, out, settings

ELSEWHERE = (
    "Copies in backups, message brokers and the sender's own files are not reached from here. "
    "Bundles made before still carry what they learned: `medassets run` makes a new one, "
    "and retention removes the old."
)


def forget(
    patient: Annotated[str, typer.Argument(help="The patient's identifier, or its pseudonym (ps_...).")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; it cannot be undone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person, prove that nothing is left, and verify the audit log; it cannot be undone."""
    config = settings()
    from medassets.ingest.pseudonyms import Pseudonymizer
    from medassets.orchestration.erasure import ErasureError
    from medassets.orchestration.erasure import forget as erase
    from medassets.serving.answering import open_store
    from medassets.serving.store import NoPredictionError

    with failures(as_json, ErasureError):
        known = patient.startswith("ps_")
        pseudonym = patient if known else Pseudonymizer.from_settings(config).pseudonym(patient)
        if not yes:
            typer.confirm(f"Erase {pseudonym} for good?", abort=True, err=True)
        try:
            store = open_store(config)
        except NoPredictionError:
            store = None
        erased = erase(config, store, pseudonym, actor=f"medassets forget by {getpass.getuser()}")
    if as_json:
        emit(asdict(erased))
        return
    out.print(
        f"{pseudonym}: {len(erased.predictions)} predictions, {erased.verdicts} verdicts and "
        f"{sum(erased.rows.values())} rows of {len(erased.rows)} tables erased; nothing names it any more",
        highlight=False,
    )
    if erased.learned:
        err.print(f"bundles that learned from erased rows: {', '.join(erased.learned)}", highlight=False)
    err.print(ELSEWHERE, highlight=False)
