"""The devices that this machine has: tests on all of them hold an accelerator to what the processor does."""

from __future__ import annotations

from typing import Final

import torch

DEVICES: Final = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
