"""Named arrays and a JSON header as deterministic safetensors: the same content is the same bytes, hence one hash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from store.errors import BlobCorruptError

_HEADER: Final = "emmetd"
_DTYPES: Final[dict[str, np.dtype[Any]]] = {"F32": np.dtype("<f4"), "U8": np.dtype("u1")}
_FIRST_READ: Final = 1 << 16
"""Bytes in which the file's own header mostly ends."""
_LONGEST_HEADER: Final = 100_000_000
"""As safetensors itself has it."""


def pack(arrays: Mapping[str, NDArray[Any]], header: Mapping[str, Any]) -> bytes:
    """One metadata entry only: the format's map of several has no fixed order."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return save({name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}, metadata={_HEADER: text})


def unpack(content: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and header. Raises BlobCorruptError where `content` is not such a file."""
    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        header = json.loads(metadata[_HEADER])
    except (SafetensorError, KeyError, ValueError) as error:
        raise BlobCorruptError(f"not a safetensors file of ours: {error}") from error
    return arrays, header


def unpack_some(
    read: Callable[[int, int], bytes], wanted: Callable[[str], bool]
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays whose names are `wanted`, and the header, without the rest of the file.

    `read` gives at most so many bytes from a position on. Raises BlobCorruptError as `unpack` does; bytes that were
    changed within an array are not noticed.
    """
    head = read(0, _FIRST_READ)
    length = int.from_bytes(head[:8], "little")
    if len(head) < 8 or length > _LONGEST_HEADER:
        raise BlobCorruptError("not a safetensors file of ours: it has no header")
    if len(head) < 8 + length:
        head += read(len(head), 8 + length - len(head))
    try:
        entries = json.loads(head[8 : 8 + length])
        header = json.loads(entries.pop("__metadata__", {})[_HEADER])
        arrays = {name: _array(read, 8 + length, entry) for name, entry in sorted(entries.items()) if wanted(name)}
    except (KeyError, TypeError, ValueError) as error:
        raise BlobCorruptError(f"not a safetensors file of ours: {error}") from error
    return arrays, header


def _array(read: Callable[[int, int], bytes], start: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    first, end = entry["data_offsets"]
    content = bytearray(read(start + first, end - first))
    if len(content) != end - first:
        raise BlobCorruptError(f"not a safetensors file of ours: it ends {end - first - len(content)} bytes early")
    dtype: np.dtype[Any] = _DTYPES[entry["dtype"]]
    flat: NDArray[Any] = np.frombuffer(content, dtype=dtype)
    return flat.reshape(entry["shape"])
