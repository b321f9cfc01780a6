"""Content hashes of tables, folders and files: what the graph calls the *data version* of a value.

What belongs here: hashing of content, independent of row order (tables), of chunking, of file times and of
where the content lies. What does not: when a hash is compared (``staleness``) or stored (``io_managers``).
Two values with the same content have the same version, so that what hangs below an unchanged one can stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Bytes read at once from a file.
BLOCK = 1 << 20
#: Hex digits kept of a SHA-256 where a table's or a folder's version is shown; files keep all 64.
SHOWN = 20


def table_hash(table: pa.Table, primary_key: Sequence[str] = ()) -> str:
    """Hash a table's columns, types and values.

    Args:
        table: any Arrow table; column order matters (``conform`` fixes it), chunking does not.
        primary_key: scalar columns that identify a row; rows are put in their order first, so that row order
            does not matter. Without a key the rows are taken as they come.

    Returns:
        The first 20 hex digits of a SHA-256.
    """
    if primary_key and table.num_rows:
        table = table.take(pc.sort_indices(table, sort_keys=[(name, "ascending") for name in primary_key]))
    digest = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        digest.update(f"{field.name}:{_canonical_type(field.type)}:{table.num_rows};".encode())
        chunk = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
        _feed(digest, chunk)
    return digest.hexdigest()[:SHOWN]


def _canonical_type(kind: pa.DataType) -> str:
    """Name a type so that ``string`` and ``large_string`` (a reader's choice) are the same."""
    return str(kind).replace("large_", "").replace("string_view", "string").replace("element:", "item:")


def _feed(digest: hashlib._Hash, array: pa.Array) -> None:
    """Feed an array's validity and values, with whatever lies under a null replaced by zero."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _feed(digest, array.dictionary_decode())
    digest.update(np.packbits(pc.is_valid(array).to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_null(kind):
        return None
    if pa.types.is_struct(kind):
        for child in array.flatten():
            _feed(digest, child)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.cast(pc.fill_null(pc.list_value_length(array), 0), pa.int64())
        digest.update(lengths.to_numpy(zero_copy_only=False).tobytes())
        _feed(digest, array.flatten())
    elif pa.types.is_boolean(kind):
        digest.update(
            pc.cast(pc.fill_null(array, False), pa.uint8()).to_numpy(zero_copy_only=False).tobytes()
        )
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        digest.update(pc.fill_null(array, 0).to_numpy(zero_copy_only=False).tobytes())
    else:
        _feed_text(digest, array)
    return None


def _feed_text(digest: hashlib._Hash, array: pa.Array) -> None:
    """Feed strings and binaries; dates, timestamps and decimals are fed as their text."""
    if not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
        array = pc.cast(array, pa.large_string())
    binary = pc.fill_null(pc.cast(array, pa.large_binary()), b"")
    digest.update(pc.binary_length(binary).to_numpy(zero_copy_only=False).tobytes())
    digest.update(b"".join(binary.to_pylist()) if len(binary) < 1000 else _joined(binary))


def _joined(binary: pa.LargeBinaryArray) -> memoryview:
    """Give the values' bytes without a Python object per value."""
    offsets = np.frombuffer(binary.buffers()[1], dtype=np.int64)[
        binary.offset : binary.offset + len(binary) + 1
    ]
    return memoryview(binary.buffers()[2])[int(offsets[0]) : int(offsets[-1])]


def file_sha256(path: Path) -> str:
    """Give a file's SHA-256 as 64 hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def folder_hash(folder: Path) -> str:
    """Hash a folder's files by relative path and bytes, whatever their times; 20 hex digits.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}:{file_sha256(path)};".encode())
    return digest.hexdigest()[:SHOWN]
