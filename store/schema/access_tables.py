"""The tables of API keys and of the audit log. Every change here comes with a migration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import BIG_ID, Base


class KeyRow(Base):
    """An API key, known by the hash of its text. `id` is what the text begins with, and what people see of it.

    `models` are the NAMEs that it is for, null for all. A limit that is null is the server's default, 0 is none.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    label: Mapped[str] = mapped_column(String(200))
    sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[Any]]
    models: Mapped[list[Any] | None]
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    facts_per_day: Mapped[int | None]
    open_batches: Mapped[int | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class AuditRow(Base):
    """One change, written in the transaction that made it. It refers to no other table: it outlives what it tells of.

    `label` is what the actor's key was called then; `target` what was changed: an edit's id, an alias, a version.
    """

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_model", "model", "id"),)

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(100))
    label: Mapped[str | None] = mapped_column(String(200))
    address: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(40))
    model: Mapped[str | None] = mapped_column(String(64))
    target: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any]]
