"""Health, the log of changes, files being prepared, and which release the server is."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from emmetd_client.models.answers import Answer
from emmetd_client.models.jobs import Job


class Health(Answer):
    status: str


class WorkerInfo(Answer):
    """One worker. `stage` is starting, loading, statistics, ready or stopping; `detail` says how far it is."""

    id: str
    model: str
    stage: str
    detail: str = ""
    device: str | None = None
    memory_bytes: int = 0
    busy_with: str | None = None


class WorkerList(Answer):
    data: list[WorkerInfo]


class AuditEntry(Answer):
    """One change: who made it, from where, when, and what became different."""

    id: int
    at: datetime
    actor: str
    label: str | None = None
    address: str | None = None
    action: str
    model: str | None = None
    target: str | None = None
    details: dict[str, Any] = {}


class ExportJob(Job):
    """A file that is being prepared."""

    model: str
    format: str
    max_rank: int | None = None


class ExportedFile(Answer):
    """A version as a file on this machine. `error` is an adapter's relative error, 0 at its full rank."""

    path: Path
    size: int
    version: str | None = None
    rank: int | None = None
    full_rank: int | None = None
    error: float | None = None
