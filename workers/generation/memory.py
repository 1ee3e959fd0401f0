"""Memory budgets of serving: the key-value cache and the matrix cache, beside the model and what editing needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from configuration.machine.memory import available_memory
from configuration.settings import Settings
from editing.values.memory import free_on_cuda

_SHARES = {"cuda": (0.4, 0.1)}
_OTHER_SHARES = (1 / 4, 1 / 8)
"""Of keys and values, and of edited matrices. The rest is for C0's factors, activations and gradients of edits, and on
a CPU for everybody else on the machine."""


@dataclass(frozen=True)
class Budgets:
    """In bytes."""

    kv_cache: int
    matrix_cache: int


def budgets(settings: Settings, device: torch.device) -> Budgets:
    """What the settings say, or shares of what is free now; asked for when the model is loaded."""
    free = free_memory(device)
    kv_share, matrix_share = shares(device)
    return Budgets(
        kv_cache=int(free * kv_share) if settings.kv_cache_bytes is None else int(settings.kv_cache_bytes),
        matrix_cache=int(free * matrix_share)
        if settings.matrix_cache_bytes is None
        else int(settings.matrix_cache_bytes),
    )


def shares(device: torch.device) -> tuple[float, float]:
    """Of what is free on `device` beside the model: for keys and values, and for edited matrices."""
    return _SHARES.get(device.type, _OTHER_SHARES)


def free_memory(device: torch.device) -> int:
    """Bytes that this process may still take on `device`."""
    return free_on_cuda(device) if device.type == "cuda" else available_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was asked for that there is not. On a CPU PyTorch has no error of its own for that."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
