"""Changes of aliases that wait for a second key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from api_schemas.texts import Clean

AliasRequestState = Literal["open", "approved", "refused", "withdrawn", "expired", "stale"]
Reason = Annotated[str, StringConstraints(max_length=500), Clean()]


class AliasDecision(BaseModel):
    """Why; kept with the request and in the audit log."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[Reason | None, Field(examples=["measured against v3, holds"])] = None


class AliasRequest(BaseModel):
    """A change of an alias that another key must approve; `expected` is where the alias pointed when it was asked for.

    Null in `version`, `protected` or `approval` leaves that as it is. `edit` is the batch whose publishing asked. It is
    `stale` once the alias points elsewhere, and `expired` after `expires_at`: nothing comes of it then.
    """

    id: str
    model: str
    alias: str
    expected: str
    version: str | None
    protected: bool | None
    approval: bool | None
    edit: str | None
    reason: str | None
    state: AliasRequestState
    requested_by: str
    requested_label: str | None
    created_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_label: str | None
    decided_at: datetime | None
    decision: str | None


class AliasRequestPage(BaseModel):
    data: list[AliasRequest]
    next_cursor: str | None
