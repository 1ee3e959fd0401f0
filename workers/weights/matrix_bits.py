"""The bits of an edited matrix, told apart by their hash."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def matrix_hash(matrix: Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of a matrix in its module's layout."""
    digest = hashlib.sha256(f"{matrix.dtype} {tuple(matrix.shape)}\n".encode())
    digest.update(matrix.detach().contiguous().view(torch.uint8).cpu().numpy().tobytes())
    return digest.hexdigest()
