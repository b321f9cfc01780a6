"""Files under one prefix of an S3-compatible store.

What belongs here: putting, getting and listing files. What does not: what they mean
(``serving.bundle_store``). The client is pyarrow's, so that a serving process needs no further library.
Access comes from the environment (``addresses``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import fs

_BLOCK = 1 << 22


class ObjectError(OSError):
    """A store cannot be reached, or does not hold what was asked for; the message names the address."""


class ObjectStore:
    """Files under ``s3://bucket/prefix``.

    Raises:
        ObjectError: the address is no ``s3://`` URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or parts.query or parts.username:
            raise ObjectError("an address is written s3://bucket/prefix; access comes from AWS_* variables")
        self.url = url.rstrip("/")
        self._root = PurePosixPath(parts.netloc, *PurePosixPath(parts.path.strip("/")).parts)
        endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
        place = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if endpoint.netloc else {}
        self._files = fs.S3FileSystem(region=os.environ.get("AWS_REGION", "us-east-1"), **place)

    def names(self, prefix: str = "") -> list[str]:
        """List the files below a prefix (a folder's name, or nothing for all), sorted."""
        with self._failures(prefix):
            selector = fs.FileSelector(str(self._root / prefix), recursive=True, allow_not_found=True)
            found = self._files.get_file_info(selector)
        files = (PurePosixPath(info.path) for info in found if info.type == fs.FileType.File)
        return sorted(str(path.relative_to(self._root)) for path in files)

    def put(self, name: str, source: Path) -> None:
        """Upload a file."""
        with self._failures(name), source.open("rb") as read, self._write(name) as write:
            while block := read.read(_BLOCK):
                write.write(block)

    def get(self, name: str, target: Path) -> None:
        """Download a file, with its folder."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._failures(name),
            self._files.open_input_stream(str(self._root / name)) as read,
            target.open("wb") as write,
        ):
            while block := read.read(_BLOCK):
                write.write(block)

    def put_bytes(self, name: str, content: bytes) -> None:
        """Upload a short content."""
        with self._failures(name), self._write(name) as write:
            write.write(content)

    def get_bytes(self, name: str) -> bytes:
        """Download a short content."""
        with self._failures(name), self._files.open_input_stream(str(self._root / name)) as read:
            content: bytes = read.read()
        return content

    def _write(self, name: str) -> fs.NativeFile:
        return self._files.open_output_stream(str(self._root / name))

    @contextmanager
    def _failures(self, name: str) -> Iterator[None]:
        try:
            yield
        except ObjectError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise ObjectError(f"{self.url}/{name}: {error}") from error
