"""Queries for metrics on what is stored: aliases' versions, bytes by model, ended batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from store.schema.tables import AliasRow, BatchRow, VersionRow


@dataclass(frozen=True)
class AliasedVersion:
    """The version that an alias points at, with the measurements of its batch; None for the base."""

    model: str
    alias: str
    version: int
    metrics: dict[str, Any] | None


def aliased_versions(session: Session) -> list[AliasedVersion]:
    """Every alias of every model."""
    pointed_at = (VersionRow.model == AliasRow.model) & (VersionRow.number == AliasRow.version)
    found = select(AliasRow.model, AliasRow.alias, AliasRow.version, VersionRow.metrics).join(VersionRow, pointed_at)
    return [AliasedVersion(*row) for row in session.execute(found.order_by(AliasRow.model, AliasRow.alias))]


def bytes_by_model(session: Session) -> dict[str, int]:
    """Bytes of the blobs of each model's versions, also of models that have only their base."""
    total = func.sum(VersionRow.bytes)
    return {
        model: int(size) for model, size in session.execute(select(VersionRow.model, total).group_by(VersionRow.model))
    }


def ended_batches(session: Session) -> dict[tuple[str, str], int]:
    """(model, final state) → batches that ever ended so, whichever process ended them. Others are left out."""
    ended = select(BatchRow.model, BatchRow.state, func.count()).where(BatchRow.state.in_(FINAL_STATES))
    return {
        (model, state): count for model, state, count in session.execute(ended.group_by(BatchRow.model, BatchRow.state))
    }
