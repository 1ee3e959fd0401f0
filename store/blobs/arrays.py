"""Named arrays and a JSON header as deterministic safetensors: the same content is the same bytes, hence one hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from store.errors import BlobCorruptError

_HEADER = "emmetd"


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
