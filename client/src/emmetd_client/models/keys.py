"""API keys, and what one's own may do."""

from __future__ import annotations

from datetime import datetime

from emmetd_client.models.answers import Answer


class Key(Answer):
    """An API key without its secret. `models` is None where it is for all; of a limit, None is the server's default."""

    id: str
    label: str
    scopes: list[str]
    models: list[str] | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    facts_per_day: int | None = None
    open_batches: int | None = None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class NewKey(Key):
    """`secret` is told this once."""

    secret: str


class Caller(Answer):
    """Who asks: the id and the label of the key, what it may do and for which models (None: all)."""

    id: str
    label: str | None = None
    scopes: list[str]
    models: list[str] | None = None
