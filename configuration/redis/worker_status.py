"""What a worker says of itself, every few seconds, under a Redis key that expires."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

WorkerStage = Literal["starting", "loading", "statistics", "ready", "stopping"]


class WorkerStatus(BaseModel):
    """`detail` is a line for people, such as "C0 of layer 8: 40%"."""

    id: str
    model: str
    stage: WorkerStage
    detail: str = ""
    pid: int
    host: str
    device: str
    busy_with: str | None = None
    memory_bytes: int = 0
    updated_at: float
