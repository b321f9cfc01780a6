"""``medassets form-template``: an example of a symptom form in the format that the drop folder reads.

What belongs here: arguments and printing. What does not: the format (``ingest.forms``).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medassets.commands.output import out


class FormKind(StrEnum):
    """Format of a symptom form."""

    CSV = "csv"
    JSON = "json"


def form_template(
    kind: Annotated[FormKind, typer.Argument(help="csv or json")] = FormKind.CSV,
    file: Annotated[Path | None, typer.Option("--out", help="Write it there instead of printing it.")] = None,
) -> None:
    """Give an example of a symptom form; drop such files into inbox/forms of MEDASSETS_HOME."""
    from medassets.ingest.forms import template

    text = template(kind.value)
    if file is None:
        typer.echo(text, nl=False)
        return
    file.write_text(text, encoding="utf-8", newline="")
    out.print(f"{file}: an example with every column; {kind.value} as medassets/ingest/forms.py describes it")
