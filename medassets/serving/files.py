"""Writing small files whole: pointers, keys, signatures.

What belongs here: replacing a file in one step. What does not: what the files mean.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Modes: what everyone may read, and what only its owner may.
PUBLIC, PRIVATE = 0o644, 0o600


def replace_file(path: Path, content: bytes, mode: int = PUBLIC, *, beside: Path | None = None) -> None:
    """Write a file in one step that a crash cannot leave half done; readers see the old or the new one.

    Args:
        path: the file; its folder is made.
        content: all of it.
        mode: who may read it, from its first byte on.
        beside: folder of the half-written file, on the same disk; by default the file's own.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    pending = (beside or path.parent) / f".{path.name}-{os.getpid()}"
    pending.unlink(missing_ok=True)  # left by a crash; its mode may be another
    with os.fdopen(os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(pending, path)
