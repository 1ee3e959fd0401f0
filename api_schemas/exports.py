"""Exports: versions made into files for other programs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from api_schemas.edits import EditError, Progress

ExportFormat = Literal["peft", "merged"]


class ExportJob(BaseModel):
    """A file that is being prepared. `max_rank` is null for merged matrices, which have none."""

    id: str
    object: Literal["export"] = "export"
    state: Literal["queued", "running", "succeeded", "failed"]
    model: str
    format: ExportFormat
    max_rank: int | None
    progress: Progress
    error: EditError | None
    created_at: datetime
    finished_at: datetime | None
