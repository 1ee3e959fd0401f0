"""The tables of deployments to engines elsewhere. Every change here comes with a migration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import BIG_ID, Base


class DeploymentRow(Base):
    """What an engine shall serve under `name`, and what it serves.

    It follows `alias`, or stays at `version`. `desired` is what that meant when it was last looked at, and has differed
    from `actual` since `behind_since`; `rejected` is a version whose check failed there. `path` and `previous_path` are
    where the engine finds the files of `actual` and `previous`. `key` goes to the target alone.

    One process at a time works on it: the one whose `claim` it has, up to `claimed_until`.
    """

    __tablename__ = "deployments"
    __table_args__ = (UniqueConstraint("target", "name", name="uq_deployments_target"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int] = mapped_column(BIG_ID, unique=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"), index=True)
    alias: Mapped[str | None] = mapped_column(String(64))
    version: Mapped[int | None]
    target: Mapped[str] = mapped_column(String(300))
    name: Mapped[str] = mapped_column(String(128))
    format: Mapped[str] = mapped_column(String(16))
    folder: Mapped[str | None] = mapped_column(Text)
    key: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    desired: Mapped[int | None]
    actual: Mapped[int | None]
    previous: Mapped[int | None]
    rejected: Mapped[int | None]
    path: Mapped[str | None] = mapped_column(Text)
    previous_path: Mapped[str | None] = mapped_column(Text)
    behind_since: Mapped[datetime | None]
    last_check: Mapped[dict[str, Any] | None]
    last_seen_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime]
    claim: Mapped[str | None] = mapped_column(String(40))
    claimed_until: Mapped[datetime | None]
    caller: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class DeploymentEventRow(Base):
    """A change of a deployment's state. `check` is what was measured then."""

    __tablename__ = "deployment_events"
    __table_args__ = (Index("ix_deployment_events_of", "deployment_id", "id"),)

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=True)
    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.id"))
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(16))
    version: Mapped[int | None]
    detail: Mapped[str | None] = mapped_column(Text)
    check: Mapped[dict[str, Any] | None] = mapped_column("check_result")
