"""API keys as administrators see them: made here, shown once, revoked for ever."""

from __future__ import annotations

from api_schemas.access import SCOPES, CallerInfo, KeyInfo, KeyPage, KeyRequest, NewKey
from service.errors import ForbiddenError
from service.http.cursors import read_cursor, write_cursor
from service.http.fields import invalid
from service.resources import Resources
from store.access import keys
from store.access.keys import KeyLimits
from store.clock import now
from store.schema.access_tables import KeyRow


def own(resources: Resources) -> CallerInfo:
    """What the caller's own key may do."""
    caller = resources.caller
    return CallerInfo(
        id=caller.id,
        label=caller.label,
        scopes=[scope for scope in SCOPES if scope in caller.scopes],
        models=None if caller.models is None else sorted(caller.models),
    )


def page(resources: Resources, cursor: str | None, limit: int) -> KeyPage:
    """Newest first, revoked and expired ones too."""
    _check_may_manage(resources)
    first = read_cursor("keys", cursor) or 0
    with resources.database.reading() as session:
        rows = keys.page(session, first, limit)
    more = write_cursor("keys", first + limit) if len(rows) > limit else None
    return KeyPage(data=[_info(row) for row in rows[:limit]], next_cursor=more)


def create(resources: Resources, request: KeyRequest) -> NewKey:
    """Raises ForbiddenError, and InvalidFieldsError for a key that would have expired already."""
    _check_may_manage(resources)
    if request.expires_at is not None and request.expires_at <= now():
        raise invalid("expires_at", f"{request.expires_at.isoformat()} is past; give a moment to come, or leave it out")
    limits = KeyLimits(
        request.requests_per_minute, request.tokens_per_minute, request.facts_per_day, request.open_batches
    )
    with resources.database.writing() as session:
        row, text = keys.create(
            session,
            resources.caller.actor,
            label=request.label,
            scopes=[scope for scope in SCOPES if scope in request.scopes],
            models=None if request.models is None else sorted(set(request.models)),
            expires_at=request.expires_at,
            limits=limits,
        )
        return NewKey(**_info(row).model_dump(), secret=text)


def revoke(resources: Resources, key_id: str) -> KeyInfo:
    """From the next request on it opens nothing. Raises ForbiddenError, KeyNotFoundError."""
    _check_may_manage(resources)
    with resources.database.writing() as session:
        return _info(keys.revoke(session, resources.caller.actor, key_id))


def _check_may_manage(resources: Resources) -> None:
    """A key is of no model: whoever may see some models alone neither gives nor takes what is others'.

    A server that asks for no keys makes none: anybody on the machine could keep one for the day when it does.
    """
    if not resources.settings.needs_key:
        raise ForbiddenError("this server asks for no API keys; start it with one (EMMETD_API_KEY) to make others")
    resources.caller.check_all_models("API keys")


def _info(row: KeyRow) -> KeyInfo:
    return KeyInfo.model_validate(row, from_attributes=True)
