"""Complete settings of an edit: one model for every method, since every method is one formula with other settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class EditSettings(BaseModel):
    """Complete settings: what a worker runs and a version records. Same names and meanings as `SettingsOverrides`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: tuple[int, ...]
    steps: int = 25
    lr: float = 0.5
    clamp: float = 4.0
    weight_decay: float = 1e-3
    kl_factor: float = 0.0625
    kl_direction: Literal["forward", "reverse"] = "forward"
    stop_loss: float = 0.05
    stop_after_argmax: int = 1
    contexts: int = 5
    context_tokens: int = 10
    mu: float | None = 0.0
    mu_relative: float | None = None
    strict: bool = False
    repair_rounds: int = 1
    repair_steps: int = 3
    seed: int = 0


CONTEXT_OVERHEAD = 2
"""Tokens beside a context text's own: the full stop after it, and one that may change where the texts meet."""


def context_reserve(settings: EditSettings) -> int:
    """Tokens of the model's context that are kept for a context text before each prompt."""
    return settings.context_tokens + CONTEXT_OVERHEAD if settings.contexts else 0
