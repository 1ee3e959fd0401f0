"""What clients may rely on beyond a store that holds together: what they were told is so, and stays so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.references import version_name
from store.schema.database import Database
from store.schema.tables import AliasRow, BatchRow, EvaluationRow, TaskRow
from tests.faults.load import STABLE, Told

EXPECTED: Final = frozenset({"cancelled", "not_in_lineage", "parent_moved"})
"""Why a batch of ours may end without a version: aliases are moved under it. No machine that is lost is a reason."""


def broken_promises(database: Database, told: Told) -> list[str]:
    """One sentence for each, once all work has ended."""
    with database.reading() as session:
        found = [*_accepted(session, told), *_pointed(session, told), *_shards(session), *_order(session)]
        measured = {row.id: row for row in session.scalars(select(EvaluationRow))}
    for evaluation_id in told.measured:
        row = measured.get(evaluation_id)
        if row is None or row.state != "succeeded":
            found.append(f"evaluation {evaluation_id} was accepted, and is {row and (row.state, row.error)}")
        else:
            told.found(evaluation_id, row.metrics)
    return found


def _accepted(session: Session, told: Told) -> Iterator[str]:
    """A batch that got a 202 is there, under its key and no other, and nothing that broke was the end of it."""
    kept = {}
    for row in session.scalars(select(BatchRow)):
        kept[row.idempotency_key] = row.id
        if row.error is not None and row.error["code"] not in EXPECTED:
            yield f"batch {row.id} is {row.state}: {row.error}"
    for key, batch_id in told.accepted.items():
        if kept.get(key) != batch_id:
            yield f"batch {batch_id} was accepted under {key}, and {kept.get(key)} is kept"


def _pointed(session: Session, told: Told) -> Iterator[str]:
    """An alias that nobody else moves points where its one client was told that it does."""
    for model, version in told.stable.items():
        row = session.get(AliasRow, (model, STABLE))
        if row is None or version_name(row.version) != version:
            yield f"{model}@{STABLE} was pointed at {version}, and is at {row and row.version}"


def _shards(session: Session) -> Iterator[str]:
    """A published edit has every fact in exactly one shard, each done once."""
    published = select(BatchRow).where(BatchRow.kind == "edit", BatchRow.state == "succeeded")
    of_batch: dict[str, list[TaskRow]] = defaultdict(list)
    for task in session.scalars(select(TaskRow).where(TaskRow.kind == "values").order_by(TaskRow.shard)):
        of_batch[task.batch_id or ""].append(task)
    for batch in session.scalars(published):
        shards = of_batch[batch.id]
        if [shard.shard for shard in shards] != list(range(len(shards))):
            yield f"batch {batch.id} has the shards {[shard.shard for shard in shards]}"
        if undone := [shard.shard for shard in shards if shard.state != "done" or not (shard.result or {}).get("blob")]:
            yield f"batch {batch.id} was published without its shards {undone}"
        facts = sorted(fact for shard in shards for fact in shard.payload["facts"])
        if facts != list(range(batch.facts)):
            yield f"batch {batch.id} has {batch.facts} facts, and its shards have {facts}"


def _order(session: Session) -> Iterator[str]:
    """Batches of a line are published in the order in which they were accepted; urgent ones may pass."""
    query = select(BatchRow).where(BatchRow.line.is_not(None), BatchRow.version.is_not(None), ~BatchRow.urgent)
    last: dict[tuple[str, str | None], BatchRow] = {}
    for row in session.scalars(query.order_by(BatchRow.seq)):
        before = last.get((row.model, row.line))
        if before is not None and (before.version or 0) > (row.version or 0):
            yield f"batch {row.id} became {row.model}@v{row.version}, and {before.id} before it v{before.version}"
        last[row.model, row.line] = row
