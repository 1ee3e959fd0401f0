"""Writes the safetensors format tensor by tensor, for files larger than what may be held in memory.

The format (https://huggingface.co/docs/safetensors): eight bytes with the header's length, the header as JSON with
each tensor's dtype, shape and place, then the tensors' bytes one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

DTYPE_NAMES: Final = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT: Final = 8


@dataclass(frozen=True)
class PendingTensor:
    """A tensor that `read` gives, on any device, when its turn comes."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    read: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def pending(name: str, tensor: Tensor) -> PendingTensor:
    return PendingTensor(name, tensor.dtype, tuple(tensor.shape), lambda: tensor)


def stream(tensors: Sequence[PendingTensor], metadata: Mapping[str, str]) -> Iterator[bytes | memoryview]:
    """The file in pieces of a tensor each. Raises ValueError where a tensor is not what was said of it."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.bytes
        place = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        header[tensor.name] = place
    text = json.dumps(header, separators=(",", ":"), sort_keys=True).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    yield len(text).to_bytes(8, "little") + text
    for tensor in tensors:
        found = tensor.read().detach()
        if found.dtype != tensor.dtype or tuple(found.shape) != tensor.shape:
            raise ValueError(
                f"tensor {tensor.name} is {found.dtype} {tuple(found.shape)}, not {tensor.dtype} {tensor.shape}"
            )
        yield found.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
