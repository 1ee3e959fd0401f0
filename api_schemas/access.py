"""Who may do what, and the log of who did."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel

Scope = Literal["generate", "evaluate", "edit", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)


class AuditEntry(BaseModel):
    """One change: who made it, from where, when, and what became different.

    `actor` is the id of an API key, `bootstrap` for the key of the configuration, `local` for a server without keys,
    `cli:NAME` for somebody at the command line, `worker:ID` for a worker, `deployments` for what follows an alias.
    """

    id: int
    at: datetime
    actor: str
    label: str | None
    address: str | None
    action: str
    model: str | None
    target: str | None
    details: dict[str, Any]


class AuditPage(BaseModel):
    data: list[AuditEntry]
    next_cursor: str | None
