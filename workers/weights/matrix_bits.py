"""The bits of an edited matrix: their hash, and which layers of a version every machine makes again."""

from __future__ import annotations

import hashlib
from typing import Final

import torch
from torch import Tensor

EXACT_LAYERS: Final = "exact_layers"
"""In a version's provenance, the layers whose matrices are sums of exact products: the same bits on every machine."""


def matrix_hash(matrix: Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of a matrix in its module's layout."""
    digest = hashlib.sha256(f"{matrix.dtype} {tuple(matrix.shape)}\n".encode())
    digest.update(matrix.detach().contiguous().view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()
