"""What a step of a deployment works with, and what it leaves to be written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import httpx
from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from api_schemas.exports import ExportFormat
from api_schemas.references import version_name
from service.resources import Resources
from store.schema.deployment_tables import DeploymentRow

PROBE_SECONDS: Final = 5.0
"""How often a target that serves what it shall is looked at: one that has been started anew serves no adapters."""
_TITLES: Final = {
    "target_away": "The target does not answer",
    "target_refused": "The target refuses",
    "check_failed": "The version answers otherwise there",
    "engine_to_be_started": "The engine has to be started with the checkpoint",
    "alias_gone": "There is nothing to follow",
    "deployment_folder": "The deployment folder cannot be written",
}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Work:
    """A deployment under this process's `claim`. `threads` bounds what all deployments keep busy of them."""

    resources: Resources
    http: httpx.AsyncClient
    threads: CapacityLimiter
    deployment: str
    claim: str

    async def in_thread(
        self, call: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """What waits for SQL or a disk, apart from the threads that answer requests."""
        return await run_sync(partial(call, *arguments, **named), limiter=self.threads)


@dataclass(frozen=True)
class Goal:
    """The row as it was when the step began, and the version that it shall serve."""

    row: DeploymentRow
    version: int

    @property
    def version_name(self) -> str:
        return f"{self.row.model}@{version_name(self.version)}"


@dataclass(frozen=True)
class Files:
    """A version's files: `path` is where the engine sees them."""

    format: ExportFormat
    path: str


@dataclass(frozen=True)
class Outcome:
    """What a step came to; `columns` of the row are set besides. It is due again after `again_in` seconds."""

    state: str
    again_in: float = PROBE_SECONDS
    error: Mapping[str, Any] | None = None
    check: Mapping[str, Any] | None = None
    columns: Mapping[str, Any] | None = None


def problem(code: str, detail: str) -> dict[str, Any]:
    """As `api_schemas.edits.EditError`."""
    return {"code": code, "title": _TITLES.get(code, "The version cannot be deployed"), "detail": detail, "facts": []}


def seen_by_engine(row: DeploymentRow, folder: Path, place: Path) -> str:
    """The path that the engine has for `place`, which is in our `folder`."""
    return str(Path(row.folder or folder) / place.relative_to(folder))
