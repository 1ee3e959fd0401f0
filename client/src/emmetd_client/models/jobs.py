"""What all work that the server does later has in common: state, progress, and why it failed."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field

from emmetd_client.errors import JobCancelledError, JobEndedError, JobFailedError, JobRejectedError
from emmetd_client.models.answers import Answer

FINAL_STATES: Final = frozenset({"succeeded", "rejected", "failed", "cancelled"})


class Progress(Answer):
    """`done` of `total` in `stage`; `eta_seconds` is the server's estimate of what is left."""

    stage: str
    done: float = 0.0
    total: float = 0.0
    eta_seconds: float | None = None
    detail: str | None = None

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class JobError(Answer):
    """`facts` are the indices that it is about."""

    code: str
    title: str = ""
    detail: str = ""
    facts: list[int] = []
    remedy: str | None = None


class Job(Answer):
    """`state` is one of FINAL_STATES when it has ended."""

    id: str
    state: str
    progress: Progress = Field(default_factory=lambda: Progress(stage="queued"))
    error: JobError | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def succeeded(self) -> bool:
        return self.state == "succeeded"

    def raise_unless_succeeded(self) -> None:
        """Raises JobRejectedError, JobFailedError or JobCancelledError for a job that ended otherwise."""
        if self.ended and not self.succeeded:
            kinds: dict[str, type[JobEndedError]] = {"rejected": JobRejectedError, "cancelled": JobCancelledError}
            raise kinds.get(self.state, JobFailedError)(self)
