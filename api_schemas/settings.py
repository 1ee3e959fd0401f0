"""The settings of an edit that a caller may give: one model for every method, since every method is one formula."""

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
