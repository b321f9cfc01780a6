"""Addresses of tables and files: local paths, or ``s3://bucket/prefix``.

What belongs here: joining addresses and how deltalake reaches one. What does not: reading and writing. Access
to S3 comes from the environment, under the names that AWS's own tools use: ``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, and for another server ``AWS_ENDPOINT_URL`` (where it has no TLS,
``AWS_ALLOW_HTTP=true``).
"""

from __future__ import annotations

from pathlib import Path

#: A commit is put only where no other has that version: two writers never overwrite each other. The server
#: has to know this condition (S3's ``If-None-Match``); ``AWS_S3_ALLOW_UNSAFE_RENAME`` is never set.
_S3_OPTIONS = {"aws_conditional_put": "etag"}


def is_remote(address: str | Path) -> bool:
    """Say whether an address is a URL, not a local path."""
    return isinstance(address, str) and "://" in address


def join(root: str | Path, key: str) -> str:
    """Give the address of ``layer/name`` under a root."""
    return f"{str(root).rstrip('/')}/{key}" if is_remote(root) else str(Path(root, *key.split("/")))


def delta_options(address: str | Path) -> dict[str, str] | None:
    """Give deltalake's storage options for an address; ``None`` for a local path."""
    return dict(_S3_OPTIONS) if is_remote(address) else None
