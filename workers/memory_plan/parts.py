"""A part of a memory plan: how many bytes of which memory something takes, and during which phases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch

HOST: Final = "host"
"""The machine's own memory, or what a container's limit leaves of it."""

PROCESS: Final = "process"
"""The part of interpreter and libraries, which a process that plans has taken already."""

Phase = Literal["load", "sample", "statistics", "held-out text", "values", "solve", "check", "export"]
PHASES: Final[tuple[Phase, ...]] = (
    "load",
    "sample",
    "statistics",
    "held-out text",
    "values",
    "solve",
    "check",
    "export",
)
"""What a worker does one after another; decoding goes on beside the tasks."""
TASKS: Final[tuple[Phase, ...]] = ("values", "solve", "check", "export")
"""Those of them that editing and exporting consist of, while completions are served."""


@dataclass(frozen=True)
class Part:
    """`bytes` of the memory `place` (`HOST`, or a device such as cuda:0) during `phases`; `detail` says of what."""

    name: str
    place: str
    bytes: int
    phases: tuple[Phase, ...]
    detail: str


def place_of(device: torch.device) -> str:
    """Whose memory the tensors of `device` take. Apple's GPUs have no other than the host's."""
    return str(device) if device.type == "cuda" else HOST
