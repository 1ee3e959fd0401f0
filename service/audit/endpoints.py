"""`/v1/audit`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api_schemas.access import AuditPage
from api_schemas.references import NAME_PATTERN
from service.audit import service
from service.errors import InvalidFieldsError
from service.http.cursors import Cursor, Limit
from service.http.problems import responses
from service.resources import ResourcesDependency
from store.errors import CursorError

router = APIRouter(prefix="/v1/audit", tags=["operations"])


@router.get("", summary="List what was changed, newest first", responses=responses(CursorError, InvalidFieldsError))
def list_audit(
    resources: ResourcesDependency,
    model: Annotated[str | None, Query(pattern=NAME_PATTERN, description="Only changes of this model (NAME).")] = None,
    actor: Annotated[
        str | None, Query(pattern=r"^[^\x00-\x1f]{1,100}$", description="Only changes that this key or user made.")
    ] = None,
    action: Annotated[
        str | None,
        Query(pattern=r"^[a-z_.]{1,40}$", description="Only changes of this kind.", examples=["alias.moved"]),
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> AuditPage:
    """Who changed what, when, and from which address. A key for some models sees the changes of those models alone."""
    return service.page(resources, model, actor, action, cursor, limit)
