"""The table of moves that wait for a second person. Every change here comes with a migration."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import BIG_ID, Base


class AliasRequestRow(Base):
    """A change of an alias that demands approval: what was asked for, by whom, and what another key decided.

    It is carried out only while the alias points at `expected`. Null in `version`, `protected` and `approval` leaves
    that as it is. `edit` is the batch whose publishing asked.
    """

    __tablename__ = "alias_requests"
    __table_args__ = (Index("ix_alias_requests_of", "model", "alias", "state"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int] = mapped_column(BIG_ID, unique=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    alias: Mapped[str] = mapped_column(String(64))
    expected: Mapped[int]
    version: Mapped[int | None]
    protected: Mapped[bool | None]
    approval: Mapped[bool | None]
    edit: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str | None] = mapped_column(String(500))
    state: Mapped[str] = mapped_column(String(16))
    requested_by: Mapped[str] = mapped_column(String(100))
    requested_label: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    decided_by: Mapped[str | None] = mapped_column(String(100))
    decided_label: Mapped[str | None] = mapped_column(String(200))
    decided_at: Mapped[datetime | None]
    decision: Mapped[str | None] = mapped_column(String(500))
