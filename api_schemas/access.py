"""Who may do what, and the log of who did."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from api_schemas.references import NAME_PATTERN
from api_schemas.texts import FilledLabel

Scope = Literal["generate", "evaluate", "edit", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

_ModelName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
_Limit = Annotated[int | None, Field(ge=0, le=2_000_000_000)]


def _of_text(value: Any) -> Any:
    """JSON has no moments: a text by ISO 8601 becomes one; what is none is refused as it is."""
    if isinstance(value, str):
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_of_text)]


class KeyRequest(BaseModel):
    """A key to be made. Without `models` it is for all, also those to come; without `expires_at` it holds until it is
    revoked. Of a limit, null is the server's default and 0 is none."""

    model_config = ConfigDict(extra="forbid")

    label: Annotated[FilledLabel, Field(examples=["ada's notebook"], description="What it is for, and whose it is.")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(SCOPES), examples=[["generate", "evaluate"]])]
    models: Annotated[list[_ModelName] | None, Field(min_length=1, max_length=100)] = None
    expires_at: Moment | None = None
    requests_per_minute: _Limit = None
    tokens_per_minute: _Limit = None
    facts_per_day: _Limit = None
    open_batches: _Limit = None


class KeyInfo(BaseModel):
    """An API key without its secret, of which only a hash is kept. `id` is what the secret begins with."""

    id: str
    label: str
    scopes: list[Scope]
    models: list[str] | None
    requests_per_minute: int | None
    tokens_per_minute: int | None
    facts_per_day: int | None
    open_batches: int | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKey(KeyInfo):
    """`secret` is told this once and cannot be had again."""

    secret: str


class KeyPage(BaseModel):
    data: list[KeyInfo]
    next_cursor: str | None


class CallerInfo(BaseModel):
    """Who makes this request: the id and the label of its key, what it may do, and for which models (null: all).

    `id` is `bootstrap` for the key of the configuration, and `local` where the server asks for no key.
    """

    id: str
    label: str | None
    scopes: list[Scope]
    models: list[str] | None


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
