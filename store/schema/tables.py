"""The tables. Every change here comes with a migration in `store/schema/migrations`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from store.schema.base import BIG_ID, Base
from store.schema.notes import Noted


class ModelRow(Noted, Base):
    """A NAME bound to exact weights. `fingerprint` is null until the first worker has loaded them.

    `source` is a known short name, a hub id or a folder, and `revision` the hub's commit that every worker loads; null
    for a folder, a package, and where no worker has said since there is a column for it.
    """

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    source: Mapped[str] = mapped_column(Text)
    revision: Mapped[str | None] = mapped_column(String(64))
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    tokenizer_fingerprint: Mapped[str | None] = mapped_column(String(64))
    dtype: Mapped[str | None] = mapped_column(String(16))
    model_type: Mapped[str | None] = mapped_column(String(64))
    n_layers: Mapped[int | None]
    d_in: Mapped[int | None]
    d_out: Mapped[int | None]
    context_length: Mapped[int | None]
    tokenizer_blob: Mapped[str | None] = mapped_column(String(64))
    chat_template: Mapped[str | None] = mapped_column(Text)
    special_tokens: Mapped[dict[str, Any] | None]
    next_version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]


class VersionRow(Noted, Base):
    """One immutable version. Version 0 is the base: no parent, no batch, no blob.

    `matrix_blobs` names by layer the blob of each edited matrix; versions made before had all of theirs in
    `matrices_blob`. `delta_bytes` and `matrix_bytes` are what the version added. One that `consolidates` another says
    what that one says, from the base. `facts_in_force` counts what its lineage says.
    """

    __tablename__ = "versions"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    parent: Mapped[int | None]
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("batches.id"), unique=True)
    algorithm: Mapped[str | None] = mapped_column(String(50))
    label: Mapped[str | None] = mapped_column(String(200))
    facts: Mapped[int] = mapped_column(default=0)
    total_facts: Mapped[int] = mapped_column(default=0)
    layers: Mapped[list[Any]]
    rank: Mapped[int] = mapped_column(default=0)
    blob: Mapped[str | None] = mapped_column(String(64))
    matrices_blob: Mapped[str | None] = mapped_column(String(64))
    matrix_blobs: Mapped[dict[str, Any] | None]
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    delta_bytes: Mapped[int | None] = mapped_column(BigInteger)
    matrix_bytes: Mapped[int | None] = mapped_column(BigInteger)
    matrix_hashes: Mapped[dict[str, Any]]
    provenance: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(String(16), default="available")
    consolidates: Mapped[int | None]
    facts_in_force: Mapped[int | None]
    created_at: Mapped[datetime]


class AliasRow(Base):
    """A name that points at a version. A protected one is moved only by whoever may administer; where it demands
    `approval`, by two keys. `guard` is what must have been measured of a version before the alias points at it
    (`api_schemas.downstream`)."""

    __tablename__ = "aliases"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int]
    protected: Mapped[bool] = mapped_column(default=False)
    approval: Mapped[bool] = mapped_column(default=False)
    guard: Mapped[dict[str, Any] | None]
    updated_at: Mapped[datetime]


class JobRow(Base):
    """What the rows of all kinds of jobs have (`store.work.kinds`): who asked for it, how far it is, how it ended."""

    __abstract__ = True

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    state: Mapped[str] = mapped_column(String(16))
    progress: Mapped[dict[str, Any]]
    error: Mapped[dict[str, Any] | None]
    caller: Mapped[str] = mapped_column(String(64), server_default="")
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class SequencedRow(JobRow):
    """Of jobs that are listed: `seq` is the order in which those of the kind were accepted."""

    __abstract__ = True

    seq: Mapped[int] = mapped_column(BIG_ID, unique=True)


class KeyedRow(SequencedRow):
    """Of jobs that a client may send twice under one Idempotency-Key, with a hash of what was sent."""

    __abstract__ = True

    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    body_sha256: Mapped[str | None] = mapped_column(String(64))


class StoppableRow(JobRow):
    """Of jobs whose worker is asked to stop at its next step: others end under their workers."""

    __abstract__ = True

    cancel_requested: Mapped[bool] = mapped_column(default=False)


class BatchRow(StoppableRow, KeyedRow):
    """An edit batch. `seq` is the order in which batches were accepted; `line` is the alias that it will move.

    A batch of kind `revert` takes facts of earlier batches out: `reverts` is a list of {"edit": id, "facts": [index]}.
    `base_version` is its parent from the head of its line on, the version that its values are made on; `carried_to` the
    one that it is solved again on since its alias was moved meanwhile. `if_match` is the only parent that its caller
    wants. `left_out` is what was sent and is not edited, read only where it is asked for. `traceparent` is the place of
    the request that brought it in that request's trace (W3C), if it has one.
    """

    __tablename__ = "batches"
    __table_args__ = (
        Index("ix_batches_line", "model", "line", "state", "seq"),
        Index("uq_batches_idempotency", "caller", "idempotency_key", unique=True),
    )

    kind: Mapped[str] = mapped_column(String(16), default="edit")
    requested: Mapped[str] = mapped_column(String(200))
    line: Mapped[str | None] = mapped_column(String(64))
    branch_of: Mapped[int | None]
    base_version: Mapped[int | None]
    carried_to: Mapped[int | None]
    if_match: Mapped[int | None]
    version: Mapped[int | None]
    algorithm: Mapped[str] = mapped_column(String(50))
    settings: Mapped[dict[str, Any]]
    thresholds: Mapped[dict[str, Any]]
    label: Mapped[str | None] = mapped_column(String(200))
    dry_run: Mapped[bool]
    urgent: Mapped[bool]
    facts: Mapped[int]
    left_out_count: Mapped[int | None]
    left_out: Mapped[list[Any] | None] = mapped_column(deferred=True)
    reverts: Mapped[list[Any] | None]
    consolidates: Mapped[int | None]
    budget: Mapped[dict[str, Any] | None]
    moves_protected: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(16), index=True)
    metrics: Mapped[dict[str, Any] | None]
    caller: Mapped[str] = mapped_column(String(64), default="")
    traceparent: Mapped[str | None] = mapped_column(String(55))
    started_at: Mapped[datetime | None]


class FactRow(Base):
    """`question` is what the fact asks (`store.lineage.questions`). `origin` of a fact of a consolidation is the fact
    that it stands for, {"edit": id, "index": number, "version": number}. Where an earlier consolidation stood for it,
    "from" names that one's fact, {"edit": id, "index": number}, with which its value is kept."""

    __tablename__ = "facts"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    fact: Mapped[dict[str, Any]]
    question: Mapped[str] = mapped_column(String(32), server_default="", index=True)
    origin: Mapped[dict[str, Any] | None]


class EvaluationRow(KeyedRow):
    """`version` is measured beside `compare_with` and `others`, on the facts that `EvaluationFactRow` has.

    `judge` is what was asked of the judge, null where none was asked.
    """

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("ix_evaluations_caller", "caller", "created_at"),
        Index("uq_evaluations_idempotency", "caller", "idempotency_key", unique=True),
    )

    version: Mapped[int]
    compare_with: Mapped[int | None]
    others: Mapped[list[Any] | None]
    requested_metrics: Mapped[list[Any]]
    n_facts: Mapped[int]
    facts_of: Mapped[int | None]
    sample: Mapped[int | None]
    seed: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(16), index=True)
    metrics: Mapped[dict[str, Any] | None]
    judge: Mapped[dict[str, Any] | None]


class ExportRow(JobRow):
    """A version made into a file for other programs. `report` tells its rank and error; `blob` is the file."""

    __tablename__ = "exports"
    __table_args__ = (
        Index("ix_exports_of", "model", "version", "format", "max_rank"),
        Index("ix_exports_caller", "caller", "created_at"),
    )

    version: Mapped[int]
    format: Mapped[str] = mapped_column(String(16))
    max_rank: Mapped[int]
    blob: Mapped[str | None] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    report: Mapped[dict[str, Any] | None]


class StatisticRow(KeyedRow):
    """C0 of some layers, made ahead of time. `layers` is null where the worker that knows the model shall choose."""

    __tablename__ = "statistics"
    __table_args__ = (
        Index("ix_statistics_caller", "caller", "created_at"),
        Index("uq_statistics_idempotency", "caller", "idempotency_key", unique=True),
    )

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), index=True)
    layers: Mapped[list[Any] | None]
    corpus: Mapped[str] = mapped_column(String(64))
    tokens: Mapped[int | None]
    report: Mapped[dict[str, Any] | None]


class TaskRow(Base):
    """A piece of work that travels through RQ as its id alone: outbox row, lease and resume point in one.

    pending → (enqueued) → running under a lease → done. `token` grows with every lease, so that a worker that was
    thought dead cannot commit after another took over. `traceparent` is that of the request that it goes back to,
    `attempt_traceparent` that of the newest attempt.
    """

    __tablename__ = "tasks"
    __table_args__ = (Index("ix_tasks_ready", "state", "enqueued_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    queue: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(16))
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("batches.id"), index=True)
    evaluation_id: Mapped[str | None] = mapped_column(ForeignKey("evaluations.id"), index=True)
    export_id: Mapped[str | None] = mapped_column(ForeignKey("exports.id"), index=True)
    statistic_id: Mapped[str | None] = mapped_column(ForeignKey("statistics.id"), index=True)
    shard: Mapped[int] = mapped_column(default=0)
    payload: Mapped[dict[str, Any]]
    result: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(String(16), default="pending")
    token: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    traceparent: Mapped[str | None] = mapped_column(String(55))
    attempt_traceparent: Mapped[str | None] = mapped_column(String(55))
    owner: Mapped[str | None] = mapped_column(String(100))
    lease_expires_at: Mapped[datetime | None]
    enqueued_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class EventRow(Base):
    """The life of a batch, one row a change, in order; server-sent events are read from here."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(BIG_ID, primary_key=True, autoincrement=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
