"""Workers that live, as they say of themselves."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class WorkerInfo(BaseModel):
    """One worker process. `detail` says in words how far `stage` is, `busy_with` is the task that it does now."""

    id: str
    model: str
    stage: Literal["starting", "loading", "statistics", "ready", "stopping"]
    detail: str
    device: str
    memory_bytes: int
    busy_with: str | None


class WorkerList(BaseModel):
    data: list[WorkerInfo]
