"""Edit batches: what a client sends, and the job it watches."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from api_schemas.facts import FactList
from api_schemas.metrics import BatchMetrics, Budget, Thresholds
from api_schemas.problems import FieldProblem
from api_schemas.references import ReferenceText
from api_schemas.settings import DEFAULT_ALGORITHM, SettingsOverrides
from api_schemas.texts import Label

EditState = Literal[
    "queued", "planning", "optimising", "solving", "checking", "succeeded", "rejected", "failed", "cancelled"
]
FINAL_STATES: frozenset[EditState] = frozenset({"succeeded", "rejected", "failed", "cancelled"})
RUNNING_STATES: tuple[EditState, ...] = ("planning", "optimising", "solving", "checking")

BUDGET_EXCEEDED: Final = "budget_exceeded"
"""The code of a batch with which its lineage would use up more than its budget."""


class EditRequest(BaseModel):
    """A batch of fact edits on one model."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[ReferenceText, Field(examples=["smollm2-135m"], description="NAME, NAME@v3 or NAME@alias")]
    algorithm: Annotated[str, Field(max_length=50)] = DEFAULT_ALGORITHM
    settings: SettingsOverrides = SettingsOverrides()
    facts: FactList
    invalid_facts: Annotated[
        Literal["refuse", "skip"],
        Field(description="`skip` edits all other facts where some are wrong, and lists what it left out."),
    ] = "refuse"
    label: Label | None = None
    thresholds: Thresholds = {}
    budget: Budget = Budget()
    dry_run: bool = False
    urgent: bool = False


class Progress(BaseModel):
    """`done` of `total` in `stage` (facts, or optimiser steps of a shard as a fraction of its facts)."""

    stage: str
    done: float
    total: float
    eta_seconds: float | None = None
    detail: str | None = None


class EditError(BaseModel):
    """Why a batch has no version; `facts` are the indices it is about."""

    code: str
    title: str
    detail: str
    facts: list[int] = []


class RevertedFacts(BaseModel):
    """Facts (indices) of the batch `edit` that a revert takes out."""

    edit: str
    facts: list[int]


class EditJob(BaseModel):
    """An edit batch as `GET /v1/edits/{id}` shows it. `facts` counts those that it edits, or (a revert) takes out.

    A consolidation has all facts that the version `consolidates` says. `left_out` counts the facts that were sent and
    are not edited since something is wrong with them; `GET /v1/edits/{id}/left-out` lists them.
    `thresholds` are on what the batch changes, `budget` on what its lineage has used up with it.
    """

    id: str
    object: Literal["edit"] = "edit"
    kind: Literal["edit", "revert", "consolidation"] = "edit"
    state: EditState
    model: str
    requested: str
    base_version: str | None
    version: str | None
    algorithm: str
    settings: dict[str, Any]
    facts: int
    left_out: int = 0
    reverts: list[RevertedFacts] = []
    consolidates: str | None = None
    label: str | None
    thresholds: dict[str, float]
    budget: dict[str, float]
    dry_run: bool
    urgent: bool
    progress: Progress
    metrics: BatchMetrics | None
    error: EditError | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class EditEvent(BaseModel):
    """One change in the life of a batch. `state` is null for what is told without a change of state.

    `details` depend on the kind: the version that a succeeded batch has, the error of a failed one, and so on.
    """

    id: int
    edit: str
    kind: str
    state: EditState | None
    at: datetime
    details: dict[str, Any]


class EditProgress(Progress):
    """What an event `progress` tells of the batch `edit`."""

    edit: str


class EditPage(BaseModel):
    data: list[EditJob]
    next_cursor: str | None


class LeftOutFact(FieldProblem):
    """A fact that is not edited: `index` is its place in the request, `loc` and `msg` are what is wrong first."""

    index: int


class LeftOutPage(BaseModel):
    data: list[LeftOutFact]
    next_cursor: str | None
