"""Serialises a statistic for other workers: C alone, whose Cholesky factor is computed again on arrival."""

from __future__ import annotations

import json
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from editing.covariance.statistic import Statistic
from editing.errors import StatisticError

_FORMAT = "emmetd-packed-statistic-1"
_ABOUT = ("layer", "tokens", "corpus", "fingerprint", "shrinkage", "condition")


def packed_bytes(statistic: Statistic) -> int:
    """About how large `pack` makes it: 8 · d_in², 19 MB for d_in 1536, 969 MB for 11,008."""
    return statistic.C.numel() * statistic.C.element_size()


def pack(statistic: Statistic) -> bytes:
    """C (d_in, d_in) in float64, and what is known about it."""
    about = {name: getattr(statistic, name) for name in _ABOUT}
    tensors = {"C": statistic.C.cpu().contiguous()}
    return save(tensors, metadata={"statistic": json.dumps({"format": _FORMAT, **about})})


def unpack(content: bytes, device: torch.device | str = "cpu") -> Statistic:
    """What was packed. Raises StatisticError where that is no statistic, or one that cannot be factored."""
    try:
        about: dict[str, Any] = json.loads(_metadata(content).get("statistic", "{}"))
        C = load(content)["C"].to(device)
    except (SafetensorError, ValueError, KeyError) as error:
        raise StatisticError(f"these bytes are no statistic ({error})") from error
    if about.pop("format", None) != _FORMAT:
        raise StatisticError("these bytes are no statistic of this version of emmetd")
    factor, info = torch.linalg.cholesky_ex(C)
    if int(info) != 0:
        raise StatisticError(f"C0 of layer {about['layer']} is not positive definite")
    return Statistic(C=C, factor=factor, **about)


def _metadata(content: bytes) -> dict[str, str]:
    """The header's own part, which `load` does not hand out: its length in 8 bytes, then JSON."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return dict(metadata)
