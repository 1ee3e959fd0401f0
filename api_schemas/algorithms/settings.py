"""The settings of an edit: one model for every method, since every method is one formula with other settings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LayerNumber = Annotated[int, Field(ge=0, le=1000)]


class SettingsOverrides(BaseModel):
    """What a caller may set. A field left out (or null) takes the method's and the model's default."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    preset: Annotated[
        str | None,
        Field(max_length=80, description="Named settings to start from, such as the authors'; see GET /v1/algorithms."),
    ] = None
    layers: Annotated[
        list[LayerNumber] | None,
        Field(
            min_length=1,
            max_length=16,
            description="Layers whose MLP output projection is edited, in any order.",
            json_schema_extra={"uniqueItems": True},
        ),
    ] = None
    steps: Annotated[int | None, Field(ge=1, le=500, description="Most optimiser steps for a fact's value.")] = None
    lr: Annotated[float | None, Field(gt=0, le=10, description="Adam's learning rate for values.")] = None
    clamp: Annotated[
        float | None, Field(gt=0, le=100, description="A value change's norm is at most this × the state's norm.")
    ] = None
    weight_decay: Annotated[
        float | None, Field(ge=0, le=100, description="Weight of ‖δ‖/‖z₀‖² in the loss (MEMIT's form).")
    ] = None
    kl_factor: Annotated[float | None, Field(ge=0, le=100, description="Weight of the KL term in the loss.")] = None
    kl_direction: Annotated[
        Literal["forward", "reverse"] | None,
        Field(description="forward: KL(p₀‖p), keep what was said; reverse: KL(p‖p₀), as in the authors' code."),
    ] = None
    stop_loss: Annotated[
        float | None, Field(ge=0, le=100, description="A fact is done when its loss is below this; 0 turns it off.")
    ] = None
    stop_after_argmax: Annotated[
        int | None,
        Field(
            ge=-1,
            le=500,
            description="A fact is done this many steps after its target is the argmax in all contexts; -1 is off.",
        ),
    ] = None
    contexts: Annotated[
        int | None, Field(ge=0, le=64, description="Texts sampled from the model and put before each prompt.")
    ] = None
    context_tokens: Annotated[int | None, Field(ge=1, le=256, description="Length of each of those texts.")] = None
    mu: Annotated[
        float | None, Field(ge=0, le=1e12, description="μ of the solve; 0 asks for equality (ROME, EMMET).")
    ] = None
    mu_relative: Annotated[
        float | None, Field(ge=0, le=1e6, description="μ as a multiple of the mean eigenvalue of KᵀSK; instead of mu.")
    ] = None
    strict: Annotated[
        bool | None, Field(description="Refuse, rather than raise μ, where the equality constraint is ill-posed.")
    ] = None
    repair_rounds: Annotated[
        int | None, Field(ge=0, le=5, description="After the solve, optimise again the facts that are not said.")
    ] = None
    repair_steps: Annotated[int | None, Field(ge=1, le=100, description="Optimiser steps in a repair round.")] = None
    seed: Annotated[int | None, Field(ge=0, le=2**31 - 1, description="Seed of the sampled contexts.")] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mu is not None and self.mu_relative is not None:
            raise ValueError("give mu or mu_relative, not both")
        if self.layers is not None and len(set(self.layers)) != len(self.layers):
            raise ValueError(f"layers {self.layers} names a layer twice; name each once")
        return self


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
