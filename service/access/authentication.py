"""From the Authorization header to a caller."""

from __future__ import annotations

import hashlib
import hmac

from configuration.settings import Settings
from service.access.caller import Caller, Limits, bootstrap
from service.access.uses import KeyUses
from service.errors import UnauthorizedError
from store.access import keys
from store.clock import now
from store.schema.access_tables import KeyRow
from store.schema.database import Database


def bootstrapped(settings: Settings, authorization: str | None, address: str | None) -> Caller | None:
    """The caller, where the header carries the key of the configuration: one gets in with it without SQL or a thread.

    Raises UnauthorizedError where it carries none.
    """
    text = _bearer(authorization)
    is_first = settings.api_key is not None and _is_same(text, settings.api_key.get_secret_value())
    return bootstrap(address) if is_first else None


def authenticate(
    settings: Settings, database: Database, uses: KeyUses, authorization: str | None, address: str | None
) -> Caller:
    """Whose key of SQL `Authorization: Bearer <key>` carries. Raises UnauthorizedError."""
    text = _bearer(authorization)
    with database.reading() as session:
        row = keys.find(session, text)
    if row is None:
        raise UnauthorizedError("the API key is not known here; look for a slip, or ask for a new one", is_wrong=True)
    check_good(row)
    if not keys.is_used(row):
        uses.note(row.id)
    return Caller(
        id=row.id,
        scopes=frozenset(row.scopes),
        label=row.label,
        models=None if row.models is None else frozenset(row.models),
        limits=_limits(settings, row),
        address=address,
    )


def check_good(row: KeyRow) -> None:
    """Raises UnauthorizedError for a key that was revoked or has expired."""
    if row.revoked_at is not None:
        raise UnauthorizedError(f"the API key {row.id} was revoked; ask for a new one", is_wrong=True)
    if row.expires_at is not None and row.expires_at <= now():
        moment = row.expires_at.isoformat(timespec="seconds")
        raise UnauthorizedError(f"the API key {row.id} expired at {moment}; ask for a new one", is_wrong=True)


def _bearer(authorization: str | None) -> str:
    if authorization is None:
        raise UnauthorizedError("there is no API key; send the header Authorization: Bearer <API key>")
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise UnauthorizedError("the Authorization header has another form; send Authorization: Bearer <API key>")
    return text.strip()


def _is_same(given: str, known: str) -> bool:
    """In constant time, also where the lengths differ."""
    return hmac.compare_digest(hashlib.sha256(given.encode()).digest(), hashlib.sha256(known.encode()).digest())


def _limits(settings: Settings, row: KeyRow) -> Limits:
    def own(limit: int | None, default: int) -> int:
        return default if limit is None else limit

    return Limits(
        requests_per_minute=own(row.requests_per_minute, settings.key_requests_per_minute),
        tokens_per_minute=own(row.tokens_per_minute, settings.key_tokens_per_minute),
        facts_per_day=own(row.facts_per_day, settings.key_facts_per_day),
        open_batches=own(row.open_batches, settings.key_open_batches),
        event_streams=settings.key_event_streams,
    )
