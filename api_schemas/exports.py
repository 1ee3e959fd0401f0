"""Exports: versions made into files for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel

from api_schemas.edits import EditError, Progress

ExportFormat = Literal["peft", "hf", "gguf-lora", "merged"]


@dataclass(frozen=True)
class FileKind:
    """What the API says of a format's files. `is_adapter`: they have a rank, which is told; `takes_max_rank`: and which
    the caller may bound."""

    media_type: str
    extension: str
    is_adapter: bool = False
    takes_max_rank: bool = False


FILE_KINDS: Final[dict[ExportFormat, FileKind]] = {
    "peft": FileKind("application/zip", "zip", is_adapter=True, takes_max_rank=True),
    "hf": FileKind("application/zip", "zip"),
    "gguf-lora": FileKind("application/zip", "zip", is_adapter=True),
    "merged": FileKind("application/octet-stream", "safetensors"),
}
"""The formats; `workers.exporting.formats` has who writes each."""


class ExportJob(BaseModel):
    """A file that is being prepared. `max_rank` is null for formats whose rank is not bounded."""

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
