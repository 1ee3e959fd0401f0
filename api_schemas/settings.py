"""The settings of an edit: what a caller may give, and complete, as a worker runs them and a version records them.

One model for every method, since every method is one formula. A setting's limits stand in its type, its meaning in
`SettingsOverrides`, its default in `EditSettings`.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LayerNumber = Annotated[int, Field(ge=0, le=1000)]
MOST_LAYERS = 16
DEFAULT_ALGORITHM = "emmet"
"""What an edit takes that names none."""
Steps = Annotated[int, Field(ge=1, le=500)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
Clamp = Annotated[float, Field(gt=0, le=100)]
Weight = Annotated[float, Field(ge=0, le=100)]
KLDirection = Literal["forward", "reverse"]
SecondMoment = Literal["element", "value"]
"""Whether Adam scales each element of a value change by its own second moment, or all of them by their mean."""
StopAfterArgmax = Annotated[int, Field(ge=-1, le=500)]
Contexts = Annotated[int, Field(ge=0, le=64)]
ContextTokens = Annotated[int, Field(ge=1, le=256)]
Mu = Annotated[float, Field(ge=0, le=1e12)]
MuRelative = Annotated[float, Field(ge=0, le=1e6)]
RepairRounds = Annotated[int, Field(ge=0, le=5)]
RepairSteps = Annotated[int, Field(ge=1, le=100)]
Rehearse = Annotated[int, Field(ge=0, le=64)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Form = Literal["bare", "context", "chat"]
"""How a prompt is put to the model: by itself; after a sampled text; as a user's words in the model's chat template."""
Protect = Literal["none", "weighted", "pinned"]
ProtectWeight = Annotated[float, Field(ge=0, le=1e6)]
ConditionLimit = Annotated[float, Field(ge=0, le=1e16)]
Ridge = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(gt=0, le=1)]
Alpha = Annotated[float, Field(gt=0, le=1e12)]
ChatWeight = Annotated[float, Field(ge=0, le=0.9)]


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
            max_length=MOST_LAYERS,
            description="Layers whose MLP output projection is edited, in any order.",
            json_schema_extra={"uniqueItems": True},
        ),
    ] = None
    steps: Annotated[Steps | None, Field(description="Most optimiser steps for a fact's value.")] = None
    lr: Annotated[LearningRate | None, Field(description="Adam's learning rate for values.")] = None
    second_moment: Annotated[
        SecondMoment | None,
        Field(
            description="element: Adam; value: one second moment for a whole value (Adam-mini's block), whose steps "
            "keep the gradient's direction and reach a target with a smaller change."
        ),
    ] = None
    clamp: Annotated[Clamp | None, Field(description="A value change's norm is at most this × the state's norm.")] = (
        None
    )
    weight_decay: Annotated[Weight | None, Field(description="Weight of ‖δ‖/‖z₀‖² in the loss (MEMIT's form).")] = None
    kl_factor: Annotated[Weight | None, Field(description="Weight of the KL term in the loss.")] = None
    kl_direction: Annotated[
        KLDirection | None,
        Field(description="forward: KL(p₀‖p), keep what was said; reverse: KL(p‖p₀), as in the authors' code."),
    ] = None
    stop_loss: Annotated[
        Weight | None, Field(description="A fact is done when its loss is below this; 0 turns it off.")
    ] = None
    stop_after_argmax: Annotated[
        StopAfterArgmax | None,
        Field(description="A fact is done this many steps after its target is the argmax in all contexts; -1 is off."),
    ] = None
    contexts: Annotated[
        Contexts | None, Field(description="Texts sampled from the model and put before each prompt.")
    ] = None
    context_tokens: Annotated[ContextTokens | None, Field(description="Length of each of those texts.")] = None
    forms: Annotated[
        list[Form] | None,
        Field(
            min_length=1,
            max_length=3,
            description="How prompts are put to the model while values are optimised: bare (always), after a sampled "
            "text, and as a user's words in its chat template, with and without an instruction. By default all that "
            "the model has.",
            json_schema_extra={"uniqueItems": True},
        ),
    ] = None
    chat_weight: Annotated[
        ChatWeight | None,
        Field(description="Share of the chat forms in a fact's loss and key; the others have the rest."),
    ] = None
    mu: Annotated[Mu | None, Field(description="μ of the solve; 0 asks for equality (ROME, EMMET).")] = None
    mu_relative: Annotated[
        MuRelative | None, Field(description="μ as a multiple of the mean eigenvalue of KᵀSK; instead of mu.")
    ] = None
    strict: Annotated[
        bool | None, Field(description="Refuse, rather than raise μ, where the equality constraint is ill-posed.")
    ] = None
    condition_limit: Annotated[
        ConditionLimit | None,
        Field(description="Condition number of KᵀSK + μI above which μ is raised (or strict refuses); 0 is no limit."),
    ] = None
    protect: Annotated[
        Protect | None,
        Field(
            description="Keys of facts edited earlier on the line: weighted in S like ordinary text, pinned, so that "
            "nothing changes there, or none."
        ),
    ] = None
    protect_weight: Annotated[
        ProtectWeight | None,
        Field(
            description="What a protected key weighs, in means of ordinary text; 1/μ makes a line one least-squares."
        ),
    ] = None
    ridge: Annotated[
        Ridge | None, Field(description="Added to C's diagonal, in mean eigenvalues of C: a bound on ‖Δ‖ (ENCORE's γ).")
    ] = None
    anchor_norm: Annotated[
        bool | None, Field(description="Scale each wanted state to the norm of the one that it replaces.")
    ] = None
    null_space_threshold: Annotated[
        Share | None,
        Field(
            description="AlphaEdit: directions of C with at most this share of its largest eigenvalue are written in."
        ),
    ] = None
    alpha: Annotated[Alpha | None, Field(description="AlphaEdit: weight of the norm of Δ.")] = None
    repair_rounds: Annotated[
        RepairRounds | None, Field(description="After the solve, optimise again the facts that are not said.")
    ] = None
    repair_steps: Annotated[RepairSteps | None, Field(description="Optimiser steps in a repair round.")] = None
    rehearse: Annotated[
        Rehearse | None,
        Field(
            description="Facts of earlier batches that are listened to in the first repair round, for each subject of "
            "the batch (512 at most in all); those that are not said any more are written again. 0 is none, as with "
            "strict."
        ),
    ] = None
    seed: Annotated[Seed | None, Field(description="Seed of the sampled contexts.")] = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mu is not None and self.mu_relative is not None:
            raise ValueError("give mu or mu_relative, not both")
        if self.layers is not None and len(set(self.layers)) != len(self.layers):
            raise ValueError(f"layers {self.layers} names a layer twice; name each once")
        if self.forms is not None and len(set(self.forms)) != len(self.forms):
            raise ValueError(f"forms {self.forms} names a form twice; name each once")
        if self.forms is not None and "bare" not in self.forms:
            raise ValueError(
                f"forms {self.forms} leaves out bare; every fact is edited in its bare prompt, name it too"
            )
        return self


class EditSettings(BaseModel):
    """Complete settings: what a worker runs and a version records. Same names and meanings as `SettingsOverrides`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: Annotated[tuple[LayerNumber, ...], Field(min_length=1, max_length=MOST_LAYERS)]
    steps: Steps = 25
    lr: LearningRate = 0.5
    second_moment: SecondMoment = "element"
    clamp: Clamp = 4.0
    weight_decay: Weight = 1e-3
    kl_factor: Weight = 0.0625
    kl_direction: KLDirection = "forward"
    stop_loss: Weight = 0.05
    stop_after_argmax: StopAfterArgmax = 1
    contexts: Contexts = 5
    context_tokens: ContextTokens = 10
    forms: Annotated[tuple[Form, ...], Field(min_length=1, max_length=3)] = ("bare", "context")
    chat_weight: ChatWeight = 0.4
    mu: Mu | None = 0.0
    mu_relative: MuRelative | None = None
    strict: bool = False
    condition_limit: ConditionLimit = 1e4
    protect: Protect = "none"
    protect_weight: ProtectWeight = 0.01
    ridge: Ridge = 0.0
    anchor_norm: bool = False
    null_space_threshold: Share = 1e-4
    alpha: Alpha = 1.0
    repair_rounds: RepairRounds = 1
    repair_steps: RepairSteps = 3
    rehearse: Rehearse = 0
    seed: Seed = 0

    @property
    def context_texts(self) -> int:
        """How many texts are sampled and put before each prompt."""
        return self.contexts if "context" in self.forms else 0
