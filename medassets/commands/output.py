"""What all commands share: exit codes, how results and failures are printed, and the settings.

What belongs here: the contract that scripts rely on. What does not: what a command does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

OK, FAILURE, BAD_INPUT, NOT_READY = 0, 1, 2, 3
EXIT_CODES = (
    "Exit codes: 0 done; 1 it failed (an asset, a check, a broken audit chain); "
    "2 wrong usage or input; 3 not ready (no bundle yet, or one that is not what its manifest says)."
)

out = Console()
#: Progress and failures; standard output stays clean for ``--json``.
err = Console(stderr=True)

AsJson = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output, progress on standard error.")
]


def emit(content: Any) -> None:
    """Print JSON on standard output."""
    typer.echo(json.dumps(content, ensure_ascii=False, indent=1, default=str))


def stop(
    code: int, message: str, *, as_json: bool = False, problems: list[tuple[str, str]] | None = None
) -> NoReturn:
    """Say why and leave with a code."""
    if as_json:
        errors = [{"field": field, "message": text} for field, text in problems or []]
        emit({"error": message, "errors": errors, "exit_code": code})
    else:
        err.print(f"[red]error:[/red] {message}", highlight=False, markup=True)
    raise typer.Exit(code)


@contextmanager
def failures(as_json: bool = False, *own: type[Exception]) -> Iterator[None]:
    """Turn the errors that a user can do something about into a message and an exit code.

    Args:
        as_json: print the message as JSON.
        own: errors by which what this command does says that it failed.
    """
    from medassets.knowledge.quarantine import SourceError
    from medassets.serving.bundle import BundleError
    from medassets.serving.requests import RequestError
    from medassets.serving.store import AuditError, NoPredictionError, StoreError
    from medassets.stores.objects import ObjectError

    try:
        yield
    except own as error:
        stop(FAILURE, str(error), as_json=as_json)
    except RequestError as error:
        stop(BAD_INPUT, str(error), as_json=as_json, problems=error.problems)
    except (NoPredictionError, SourceError, FileNotFoundError) as error:
        stop(BAD_INPUT, str(error), as_json=as_json)
    except BundleError as error:
        stop(NOT_READY, str(error), as_json=as_json)
    except (AuditError, StoreError, ObjectError) as error:
        stop(FAILURE, str(error), as_json=as_json)


def settings() -> Any:
    """The installation's settings; a wrong one is named and ends the command."""
    from pydantic import ValidationError

    from medassets.settings import Settings, let_threads_sleep, switch_telemetry_off

    switch_telemetry_off()
    let_threads_sleep()
    try:
        return Settings.model_validate(Settings().model_dump())
    except ValidationError as error:
        faults = (
            f"MEDASSETS_{'__'.join(map(str, fault['loc'])).upper() or '*'}: {fault['msg']}"
            for fault in error.errors()
        )
        stop(BAD_INPUT, "settings: " + "; ".join(faults))


def number(value: float | None, digits: int = 3) -> str:
    """A figure as shown in tables."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(low_high: Any) -> str:
    """A confidence interval as shown in tables."""
    return "" if not low_high or low_high[0] is None else f"[{low_high[0]:.3f}, {low_high[1]:.3f}]"


def facts(mapping: Mapping[str, Any]) -> str:
    """Names and values on one line."""
    return ", ".join(f"{name} {value}" for name, value in mapping.items())
