"""Drops the matrices of old versions: they are a cache, which workers make again from the deltas of the lineage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.references import version_name
from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.lineage.versions import EXACT_LAYERS
from store.schema.database import Database
from store.schema.tables import AliasRow, ModelRow, VersionRow


def drop(
    database: Database, age: timedelta, keep_versions: int, actor: Actor, *, execute: bool
) -> list[tuple[str, int]]:
    """Let versions older than `age` name no matrices that any worker can make again; these versions, by model.

    Neither those that an alias points at, nor the newest `keep_versions` of a model, nor layers whose bits may be
    another machine's. The blobs go with the garbage, once no other version names them.
    """
    with database.reading() as session:
        names = list(session.scalars(select(ModelRow.name).order_by(ModelRow.name)))
    dropped = []
    for model in names:
        if not execute:
            with database.reading() as session:
                numbers = [row.number for row in _droppable(session, model, age, keep_versions)]
        else:
            with database.writing() as session:  # no alias moves meanwhile
                numbers = _drop(session, model, age, keep_versions, actor)
        dropped += [(model, number) for number in numbers]
    return dropped


def _drop(session: Session, model: str, age: timedelta, keep_versions: int, actor: Actor) -> list[int]:
    rows = _droppable(session, model, age, keep_versions)
    if not rows:
        return []
    sizes = _sizes(session, model)
    for row in rows:
        row.matrix_blobs = {
            layer: blob for layer, blob in (row.matrix_blobs or {}).items() if not _is_exact(row, layer)
        }
    session.flush()
    _count_anew(session, model, sizes)
    numbers = [row.number for row in rows]
    audit.record(
        session,
        actor,
        "matrices.dropped",
        model=model,
        versions=len(numbers),
        newest=version_name(max(numbers)),
    )
    return numbers


def _droppable(session: Session, model: str, age: timedelta, keep_versions: int) -> Sequence[VersionRow]:
    aliased = select(AliasRow.version).where(AliasRow.model == model)
    versions = select(VersionRow).where(VersionRow.model == model, VersionRow.state != "deleted")
    newest = versions.with_only_columns(VersionRow.number).order_by(VersionRow.number.desc()).limit(keep_versions)
    kept = list(session.scalars(newest))
    query = versions.where(VersionRow.created_at < now() - age, VersionRow.number.not_in(aliased))
    query = query.where(VersionRow.number < min(kept, default=0)).order_by(VersionRow.number)
    rows = session.scalars(query.execution_options(yield_per=100))
    return [row for row in rows if any(_is_exact(row, layer) for layer in row.matrix_blobs or {})]


def _is_exact(row: VersionRow, layer: str) -> bool:
    return int(layer) in row.provenance.get(EXACT_LAYERS, ())


def _namers(session: Session, model: str) -> dict[str, int]:
    """Each blob of a matrix, and the first version that names it, at which its bytes are counted."""
    query = select(VersionRow.number, VersionRow.matrix_blobs).where(VersionRow.model == model)
    first: dict[str, int] = {}
    for number, blobs in session.execute(query.order_by(VersionRow.number)):
        for blob in (blobs or {}).values():
            first.setdefault(blob, number)
    return first


def _sizes(session: Session, model: str) -> dict[str, int]:
    """Bytes of each blob: what a version added, shared among the blobs that it was the first to name."""
    counted: dict[int, list[str]] = defaultdict(list)
    for blob, number in _namers(session, model).items():
        counted[number].append(blob)
    query = select(VersionRow.number, VersionRow.matrix_bytes).where(VersionRow.model == model)
    added = {number: size or 0 for number, size in session.execute(query)}
    return {blob: added[number] // len(blobs) for number, blobs in counted.items() for blob in blobs}


def _count_anew(session: Session, model: str, sizes: dict[str, int]) -> None:
    """A matrix that a later version shares with one that dropped it is from now on counted there."""
    added: dict[int, int] = defaultdict(int)
    for blob, number in _namers(session, model).items():
        added[number] += sizes[blob]
    query = select(VersionRow).where(VersionRow.model == model, VersionRow.delta_bytes.is_not(None))
    for row in session.scalars(query.execution_options(yield_per=100)):
        if row.matrix_bytes != added[row.number]:
            row.matrix_bytes = added[row.number]
            row.bytes = (row.delta_bytes or 0) + row.matrix_bytes
