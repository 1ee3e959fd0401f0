"""Queries on API keys. A key's text is shown once, when it is made; what is kept of it is its hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from api_schemas.access import Scope
from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.errors import KeyNotFoundError
from store.schema.access_tables import KeyRow

USED_PRECISION: Final = timedelta(hours=1)
"""`last_used_at` is no more precise than this, so that reading does not become writing."""

_KEY = re.compile(r"(emk_[0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NO_HASH: Final = "0" * 64


@dataclass(frozen=True)
class KeyLimits:
    """What a key may do in a time. None is the server's default, 0 is no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    facts_per_day: int | None = None
    open_batches: int | None = None


def create(
    session: Session,
    actor: Actor,
    *,
    label: str,
    scopes: Sequence[Scope],
    models: Sequence[str] | None = None,
    expires_at: datetime | None = None,
    limits: KeyLimits | None = None,
) -> tuple[KeyRow, str]:
    """A new key and its text, which cannot be had again. `models` None is all models, also those to come."""
    key_id = f"emk_{secrets.token_hex(6)}"
    text = f"{key_id}_{secrets.token_urlsafe(32)}"
    row = KeyRow(
        id=key_id,
        label=label,
        sha256=digest(text),
        scopes=list(scopes),
        models=None if models is None else list(models),
        created_at=now(),
        created_by=actor.id,
        expires_at=expires_at,
        **asdict(limits or KeyLimits()),
    )
    session.add(row)
    session.flush()
    expiry = None if expires_at is None else expires_at.isoformat()
    audit.record(
        session,
        actor,
        "key.created",
        target=key_id,
        key_label=label,
        scopes=row.scopes,
        models=row.models,
        expires_at=expiry,
    )
    return row, text


def find(session: Session, text: str) -> KeyRow | None:
    """The key whose text this is, whether or not it is still good. What is compared takes the same time for all."""
    shaped = _KEY.fullmatch(text)
    row = session.get(KeyRow, shaped[1]) if shaped else None
    known = row.sha256 if row is not None else _NO_HASH
    return row if hmac.compare_digest(known, digest(text)) else None


def id_in(text: str) -> str:
    """The id of a key by its text, so that one that was found somewhere can be revoked; an id is its own."""
    shaped = _KEY.fullmatch(text)
    return shaped[1] if shaped else text


def all_keys(session: Session) -> list[KeyRow]:
    """Newest first, revoked and expired ones too."""
    return list(session.scalars(select(KeyRow).order_by(KeyRow.created_at.desc(), KeyRow.id)))


def page(session: Session, first: int, limit: int) -> list[KeyRow]:
    """As `all_keys` from the one at `first` on; one more than `limit` says that there are others."""
    query = select(KeyRow).order_by(KeyRow.created_at.desc(), KeyRow.id).offset(first).limit(limit + 1)
    return list(session.scalars(query))


def revoke(session: Session, actor: Actor, key_id: str) -> KeyRow:
    """From now on the key opens nothing. One that is revoked already stays as it is. Raises KeyNotFoundError."""
    row = session.get(KeyRow, key_id)
    if row is None:
        raise KeyNotFoundError(f"no API key {key_id[:60]!r}; `emmetd keys list` shows all")
    if row.revoked_at is None:
        row.revoked_at = now()
        audit.record(session, actor, "key.revoked", target=row.id, key_label=row.label)
    return row


def is_used(row: KeyRow) -> bool:
    """Whether `last_used_at` is as it should be if the key is used now."""
    return row.last_used_at is not None and row.last_used_at > now() - USED_PRECISION


def mark_used(session: Session, key_id: str) -> None:
    moment = now()
    before = or_(KeyRow.last_used_at.is_(None), KeyRow.last_used_at < moment - USED_PRECISION)
    session.execute(update(KeyRow).where(KeyRow.id == key_id, before).values(last_used_at=moment))


def digest(text: str) -> str:
    """SHA-256 in hexadecimal. A key has 256 random bits: no slower hash is needed to keep it from being guessed."""
    return hashlib.sha256(text.encode()).hexdigest()
