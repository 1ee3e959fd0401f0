"""How fast this machine multiplies matrices, which shares of what is possible are measured against."""

from __future__ import annotations

import time

import torch

MATRIX_SIZES = {"cpu": 2048}
ACCELERATOR_MATRIX_SIZE = 8192
"""Of the square matrices whose product is the machine's rate: large enough to reach it."""


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.float32, repetitions: int = 12) -> float:
    """Floating-point operations a second of a large square matrix product; the best of a few runs."""
    size = MATRIX_SIZES.get(device.type, ACCELERATOR_MATRIX_SIZE)
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(repetitions):
        started = time.perf_counter()
        product = torch.nn.functional.linear(a, b)
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best
