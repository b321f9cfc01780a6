"""Members of a zip, one after the other, with precise errors where the archive is damaged.

What belongs here: opening archives. What does not: what the members mean (one module a format).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from medassets.ingest.quarantine import IngestError


def zip_members(path: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each member whose name ends in ``suffix``, sorted by name.

    Each member's checksum is verified as it is read.

    Raises:
        IngestError: the archive or a member is damaged or encrypted; the message names both.
    """
    name = ""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(n for n in archive.namelist() if n.endswith(suffix) and "__MACOSX/" not in n):
                yield name, archive.read(name)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
    ) as error:
        raise IngestError(
            f"{path}{f', member {name}' if name else ''}: the zip is corrupt: {error}"
        ) from error
    except RuntimeError as error:
        # zipfile's way of saying that a password is needed.
        raise IngestError(f"{path}, member {name}: cannot be read: {error}") from error
