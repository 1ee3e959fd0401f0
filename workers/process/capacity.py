"""Chooses the device and dtype of this machine, and measures its speed."""

from __future__ import annotations

import time

import torch

from configuration.errors import ConfigurationError
from editing.model.decoder import Decoder

EFFICIENCY = 0.4
"""Share of the matrix rate that value optimisation reaches on shards of moderate size; only sizes shards."""
_SIZES = {"cpu": 1024}
_ACCELERATOR_SIZE = 8192
"""Of the square matrices multiplied: large enough that starting the product is not what is measured."""
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device_of(name: str) -> torch.device:
    """`auto` is the first CUDA device, else the CPU. Raises ConfigurationError for one that PyTorch does not see."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    available = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 1)
    if (device.index or 0) >= available:
        raise ConfigurationError(
            f"device = {name!r}: PyTorch {torch.__version__} sees {available} devices of that kind here; "
            "`emmetd doctor` says more, and EMMETD_DEVICE=auto takes what there is"
        )
    return device


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 on CUDA and float32 on the CPU, where it is the faster and the exacter."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return _DTYPES[name]


def measure_tokens_per_second(decoder: Decoder) -> float:
    """About how many tokens a second run forward and backward through the model's layers. Takes a moment."""
    device, dtype = decoder.device, decoder.dtype
    size = _SIZES.get(device.type, _ACCELERATOR_SIZE)
    matrix = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        product = matrix @ matrix
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - started)
    rate = 2 * size**3 / best
    parameters = sum(parameter.numel() for layer in decoder.layers for parameter in layer.parameters())
    return EFFICIENCY * rate / (4 * parameters)
