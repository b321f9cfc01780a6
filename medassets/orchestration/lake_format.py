"""The lake's format, in a file beside its tables: an older version does not touch a newer lake.

What belongs here: the number, and when it changes. What does not: the Delta protocol's own versions, which
deltalake checks table by table.

The number grows when an older version would misread what a newer one writes: tables renamed or split, keys or
units changed. Columns that are added do not change it.
"""

from __future__ import annotations

import json
from pathlib import Path

from medassets import __version__

FORMAT = 1
FILE = "medassets-lake.json"


class LakeFormatError(Exception):
    """The lake was written by a newer version."""


def refuse_newer(lake: Path) -> None:
    """Refuse a lake of a newer format; a lake without the file is of the first.

    Raises:
        LakeFormatError: it is newer, or the file cannot be read.
    """
    file = lake / FILE
    if not file.exists():
        return
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        number, by = int(content["format"]), str(content["written_by"])
    except (ValueError, KeyError, TypeError) as error:
        raise LakeFormatError(f"{file} cannot be read ({error}): restore it from a backup") from error
    if number > FORMAT:
        raise LakeFormatError(
            f"{lake} is of format {number}, written by medassets {by}; this is medassets {__version__}, "
            f"which reads up to format {FORMAT}: upgrade it, or set MEDASSETS_HOME to a folder of its own"
        )


def stamp(lake: Path) -> None:
    """Write the format beside the tables, before the first is written.

    Raises:
        LakeFormatError: the lake is newer; nothing was written.
    """
    refuse_newer(lake)
    file, content = lake / FILE, json.dumps({"format": FORMAT, "written_by": __version__}) + "\n"
    if not file.exists() or file.read_text(encoding="utf-8") != content:
        lake.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(content, encoding="utf-8")
        part.replace(file)
