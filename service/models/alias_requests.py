"""Asking for, approving and refusing changes of aliases that demand a second key."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api_schemas.aliases import AliasRequest, AliasRequestPage
from api_schemas.downstream import Guard
from api_schemas.references import version_name
from service.access.caller import Caller
from service.errors import ScopeMissingError
from service.http.cursors import read_cursor, write_cursor
from service.models.guards import check_guard
from service.models.references import model_named
from service.models.views import alias_request
from service.resources import Resources
from store.access import audit
from store.errors import AliasProtectedError
from store.lineage import alias_requests, aliases
from store.lineage import versions as lineage
from store.lineage.alias_requests import Change
from store.schema.alias_tables import AliasRequestRow
from store.schema.tables import AliasRow


def ask(session: Session, caller: Caller, alias: AliasRow, change: Change, reason: str | None) -> AliasRequestRow:
    """Whoever may edit asks for a move; what protects the alias only an administrator asks to change."""
    if not caller.is_admin and Change(None, change.protected, change.approval).differs(alias):
        raise AliasProtectedError(f"alias {alias.alias!r}: only an administrator asks to change its protection")
    return alias_requests.ask(session, caller.actor, alias, change, reason=reason)


def page(
    resources: Resources, name: str, alias: str | None, state: str | None, cursor: str | None, limit: int
) -> AliasRequestPage:
    """Newest first."""
    before = read_cursor("alias-requests", cursor)
    with resources.database.reading() as session:
        model = model_named(session, name)
        rows = alias_requests.page(session, model.name, before, limit, alias=alias, state=state)
    more = write_cursor("alias-requests", rows[limit - 1].seq) if len(rows) > limit else None
    return AliasRequestPage(data=[alias_request(row) for row in rows[:limit]], next_cursor=more)


def get(resources: Resources, name: str, request_id: str) -> AliasRequest:
    with resources.database.reading() as session:
        return alias_request(alias_requests.get(session, model_named(session, name).name, request_id))


def approve(resources: Resources, name: str, request_id: str, reason: str | None) -> AliasRequest:
    """Carry it out, if the alias still points where it did. The key that asked is refused, and so is nobody's key."""
    caller = resources.caller
    if not caller.is_admin:
        raise AliasProtectedError("without API keys nobody can be told from who asked; approve with a key of its own")
    with resources.database.writing() as session:
        row = alias_requests.get(session, model_named(session, name).name, request_id)
        alias_requests.check_decidable(row, caller.actor, approves=True)
        guarded = lineage.alias_named(session, row.model, row.alias)
        if row.version is not None and guarded is not None and guarded.guard is not None:
            check_guard(session, Guard.model_validate(guarded.guard), row.model, row.alias, row.version)
        alias = aliases.put(
            session,
            row.model,
            row.alias,
            row.version,
            row.expected,
            protected=row.protected,
            approval=row.approval,
            admin=True,
            approved=True,
        )
        alias_requests.close(session, caller.actor, row, "approved", reason)
        alias_requests.close_stale(session, caller.actor, alias)
        if row.version is not None and row.version != row.expected:
            audit.record(
                session,
                caller.actor,
                "alias.moved",
                model=row.model,
                target=row.alias,
                version=version_name(row.version),
                protected=alias.protected,
                before=version_name(row.expected),
                request=row.id,
                requested_by=row.requested_by,
            )
        told = alias_request(row)
    resources.sender.wake()
    return told


def refuse(resources: Resources, name: str, request_id: str, reason: str | None) -> AliasRequest:
    """An administrator refuses anybody's; whoever asked withdraws their own. Nothing moves."""
    caller = resources.caller
    with resources.database.writing() as session:
        row = alias_requests.get(session, model_named(session, name).name, request_id)
        is_own = row.requested_by == caller.id
        if not is_own and not caller.is_admin:
            raise ScopeMissingError(("admin",), sorted(caller.scopes))
        alias_requests.check_decidable(row, caller.actor, approves=False)
        alias_requests.close(session, caller.actor, row, "withdrawn" if is_own else "refused", reason)
        return alias_request(row)
