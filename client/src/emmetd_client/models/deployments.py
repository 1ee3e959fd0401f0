"""Deployments: versions that an engine elsewhere serves, and that follow an alias there."""

from __future__ import annotations

from datetime import datetime

from emmetd_client.models.answers import Answer
from emmetd_client.models.jobs import JobError


class DeploymentCheck(Answer):
    """Greedy answers there beside those here: `said` of `facts`, `equal` and `near_ties` of `prompts` ordinary ones."""

    version: str
    passed: bool
    at: datetime | None = None
    facts: int = 0
    said: int = 0
    prompts: int = 0
    equal: int = 0
    near_ties: int = 0
    different: int = 0
    seconds: float = 0.0


class Deployment(Answer):
    """`actual` is the version served there under `name`, `desired` the one that shall be."""

    id: str
    model: str
    target: str
    name: str
    state: str
    format: str = "auto"
    desired: str | None = None
    actual: str | None = None
    previous: str | None = None
    path: str | None = None
    lag_seconds: float = 0.0
    last_check: DeploymentCheck | None = None
    last_seen_at: datetime | None = None
    error: JobError | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def is_in_step(self) -> bool:
        """Whether the target serves what it shall."""
        return self.state == "deployed" and self.actual == self.desired


class DeploymentEvent(Answer):
    """One change of a deployment's state."""

    id: int
    state: str
    at: datetime | None = None
    version: str | None = None
    detail: str | None = None
    check: DeploymentCheck | None = None


class RemovedDeployment(Answer):
    """`unloaded`: the engine does not serve the adapter any more."""

    id: str
    unloaded: bool = False
