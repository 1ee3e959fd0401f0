"""Deployments: versions that are served by an engine elsewhere, and follow an alias there."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from api_schemas.edits import EditError
from api_schemas.references import ReferenceText

DeploymentFormat = Literal["auto", "peft", "hf"]
DeploymentState = Literal[
    "pending", "exporting", "deploying", "checking", "deployed", "written", "away", "rolled_back", "refused"
]
TARGET_PATTERN: Final = r"^vllm\+https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$"
ENGINE_NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$"


class DeploymentRequest(BaseModel):
    """`model` is what the target follows; a version is deployed once and stays."""

    model_config = ConfigDict(extra="forbid")

    model: ReferenceText
    target: str = Field(
        max_length=300,
        pattern=TARGET_PATTERN,
        description="The engine: vllm+http://host:port, one of those that the setting deployment_targets allows.",
    )
    name: str | None = Field(
        None,
        pattern=ENGINE_NAME_PATTERN,
        description="What requests to the engine call it; by default NAME@alias, as it is called here.",
    )
    format: DeploymentFormat = Field(
        "auto",
        description="`peft`: an adapter that is loaded while the engine runs. `hf`: the whole checkpoint, written to "
        "the deployment folder, that the engine has to be started with. `auto`: the adapter where family and rank "
        "allow it, else the checkpoint.",
    )
    folder: str | None = Field(
        None,
        max_length=1000,
        pattern=r"^/[^\x00-\x1f]*$",
        description="The server's deployment folder as the engine sees it, where that is another path.",
    )
    key: SecretStr | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="The engine's own API key. It is sent to the target alone, and never shown again.",
    )


class DeploymentCheck(BaseModel):
    """Greedy answers there, beside ours of the same version.

    `said` of `facts` are said there; `facts` are those of the sample that are said here. `equal` of `prompts` ordinary
    prompts have the same answer; `near_ties` of the others part at a token that is as likely here as the one there,
    within `tolerance` nats; `different` part elsewhere.
    """

    at: datetime
    version: str
    passed: bool
    facts: int
    said: int
    prompts: int
    equal: int
    near_ties: int
    different: int
    tolerance: float
    seconds: float


class Deployment(BaseModel):
    """`desired` is the version that `model` means now, `actual` the one served there under `name`, if any.

    `lag_seconds` is for how long they have differed, 0 while they do not. `previous` was served there before `actual`.
    `path` is where the engine finds what it serves. `error` says why `state` is not `deployed`, and what would help.
    """

    id: str
    object: Literal["deployment"] = "deployment"
    model: str
    target: str
    name: str
    format: DeploymentFormat
    has_key: bool
    state: DeploymentState
    desired: str | None
    actual: str | None
    previous: str | None
    path: str | None
    lag_seconds: float
    last_check: DeploymentCheck | None
    last_seen_at: datetime | None
    error: EditError | None
    attempts: int
    next_try_at: datetime | None
    created_at: datetime
    updated_at: datetime


class DeploymentPage(BaseModel):
    data: list[Deployment]
    next_cursor: str | None


class DeploymentEvent(BaseModel):
    """One change of a deployment's state; `version` is the one that it is about."""

    id: int
    at: datetime
    state: DeploymentState
    version: str | None
    detail: str | None
    check: DeploymentCheck | None


class DeploymentEventPage(BaseModel):
    data: list[DeploymentEvent]
    next_cursor: str | None


class RemovedDeployment(BaseModel):
    """`unloaded`: the engine said that it does not serve the adapter any more."""

    id: str
    object: Literal["deployment"] = "deployment"
    deleted: bool = True
    unloaded: bool
