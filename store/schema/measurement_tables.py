"""The tables of what was measured of versions, fact by fact and by other programs. Changes come with a migration."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import BIG_ID, Base

_NULLABLE: Final = JSON(none_as_null=True)
"""None is SQL's NULL, which queries can ask for, not JSON's."""


class EvaluationFactRow(Base):
    """A fact of an evaluation, in the caller's order, and what was read of it: null until it was measured.

    `values` and `readings` are keyed by version, NAME@vN: the fact's own value of each metric, which measurements are
    made of, and what those were computed from, as clients see it. `place` is where a version's fact came in.
    """

    __tablename__ = "evaluation_facts"

    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    fact: Mapped[dict[str, Any]]
    place: Mapped[dict[str, Any] | None] = mapped_column(_NULLABLE)
    values: Mapped[dict[str, Any] | None] = mapped_column(_NULLABLE)
    readings: Mapped[dict[str, Any] | None] = mapped_column(_NULLABLE)


class DownstreamRow(Base):
    """What another program measured of a version: by task, then by metric. `seq` is the order in which they came."""

    __tablename__ = "downstream_results"
    __table_args__ = (Index("ix_downstream_results_version", "model", "version", "seq"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    seq: Mapped[int] = mapped_column(BIG_ID, unique=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    version: Mapped[int]
    harness: Mapped[dict[str, Any]]
    settings: Mapped[dict[str, Any]]
    results: Mapped[dict[str, Any]]
    caller: Mapped[str] = mapped_column(String(64), server_default="")
    created_at: Mapped[datetime]
