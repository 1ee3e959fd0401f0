"""The table of what was read of earlier facts at later checks. Every change here comes with a migration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import Base


class FactReadingRow(Base):
    """A fact of an earlier batch, read at the check of `version` before and after it: {"EM": 1.0, "GA": 0.0}."""

    __tablename__ = "fact_readings"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), primary_key=True, index=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
