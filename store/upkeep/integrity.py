"""Integrity check of the store: what must be true of SQL and blobs at any moment, and once no work is left.

`emmetd doctor` and `emmetd restore` look at this, and so do the tests that break things.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from api_schemas.references import version_name
from store.blobs.blob_store import BlobStore
from store.errors import BlobError
from store.schema.database import Database
from store.schema.measurement_tables import EvaluationFactRow
from store.schema.tables import AliasRow, BatchRow, EvaluationRow, FactRow, ModelRow, TaskRow, VersionRow
from store.work.kinds import EVALUATION, KINDS, job_ids

_OPEN_TASKS: Final = ("pending", "running")


@dataclass
class Verified:
    """Blobs that were read and matched their names: they never change, so a later check may pass them by.

    `everything`: as if all had been, where reading them would take too long.
    """

    blobs: set[str] = field(default_factory=set)
    everything: bool = False


def violations(
    database: Database, blobs: BlobStore, *, settled: bool = False, verified: Verified | None = None
) -> list[str]:
    """Everything that should not be, one sentence each; nothing where the store holds together.

    With `settled`, also what should not be once all work has ended. Every blob that a version names is read and
    compared with its hash, but for those in `verified`.
    """
    known = Verified() if verified is None else verified
    with database.reading() as session:
        found = [
            *_versions(session),
            *_batches(session),
            *_evaluations(session),
            *_aliases(session),
            *_facts(session),
        ]
        if settled:
            found += _settled(session)
        named = {blob: where for where, blob in _named(session)}
    for blob, where in sorted(named.items()):
        if known.everything or blob in known.blobs:
            continue
        try:
            blobs.get(blob)
            known.blobs.add(blob)
        except (BlobError, OSError) as error:
            found.append(f"{where}: {error}")
    return found


def _named(session: Session) -> Iterator[tuple[str, str]]:
    """Where, and which blob: all that are needed for good."""
    for row in session.scalars(select(VersionRow)):
        for blob in (row.blob, row.matrices_blob, *(row.matrix_blobs or {}).values()):
            if blob is not None:
                yield f"version {version_name(row.number)} of {row.model}", blob
    for model in session.scalars(select(ModelRow)):
        if model.tokenizer_blob is not None:
            yield f"the tokenizer of {model.name}", model.tokenizer_blob


def _versions(session: Session) -> Iterator[str]:
    """Numbers are dense for each model, each parent is there and as pinned, each version has what it is made of."""
    by_model: dict[str, dict[int, VersionRow]] = defaultdict(dict)
    for row in session.scalars(select(VersionRow)):
        by_model[row.model][row.number] = row
    pinned = {row.id: row for row in session.scalars(select(BatchRow).where(BatchRow.version.is_not(None)))}
    for model in session.scalars(select(ModelRow)):
        rows = by_model.pop(model.name, {})
        if sorted(rows) != list(range(model.next_version)):
            yield f"{model.name} has versions {_ranges(rows)}, and its next is {version_name(model.next_version)}"
        for number, row in rows.items():
            yield from _version(f"version {version_name(number)} of {model.name}", row, rows, pinned)
    for name in by_model:
        yield f"there are versions of {name}, which is no model"


def _version(what: str, row: VersionRow, rows: dict[int, VersionRow], pinned: dict[str, BatchRow]) -> Iterator[str]:
    if row.number == 0:
        if row.parent is not None or row.batch_id is not None or row.blob is not None:
            yield f"{what} is the base, and has a parent, a batch or a blob"
        return
    if row.parent is None or row.parent >= row.number or row.parent not in rows:
        yield f"{what} has the parent {row.parent}, which is no earlier version"
    has_matrices = row.matrices_blob is not None or row.matrix_blobs is not None  # {} where retention dropped them
    if row.state == "available" and (row.blob is None or not has_matrices or not row.layers):
        yield f"{what} lacks its delta or its matrices"
    if unknown := sorted((row.matrix_blobs or {}).keys() - row.matrix_hashes.keys()):
        yield f"{what} names matrices of layers without a hash: {', '.join(unknown)}"
    batch = pinned.get(row.batch_id or "")
    if batch is None:
        if row.batch_id is not None:
            yield f"{what} was made by {row.batch_id}, which does not say so"
    elif (batch.model, batch.version, batch.base_version) != (row.model, row.number, row.parent):
        yield (
            f"{what} has the parent {row.parent}; its batch {batch.id} says {batch.model} {batch.version} "
            f"on {batch.base_version}"
        )


def _batches(session: Session) -> Iterator[str]:
    """A batch that succeeded is one version, and no other batch is any."""
    makers = Counter(session.scalars(select(VersionRow.batch_id).where(VersionRow.batch_id.is_not(None))))
    keys: Counter[tuple[str, str]] = Counter()
    running: Counter[tuple[str, str]] = Counter()
    last = 0
    for row in session.scalars(select(BatchRow).order_by(BatchRow.seq)):
        made = makers.pop(row.id, 0)
        wanted = int(row.state == "succeeded" and not row.dry_run)
        if made != wanted or (row.version is not None) != bool(wanted):
            yield f"batch {row.id} is {row.state}, made {made} versions and names {row.version}"
        if (row.state in FINAL_STATES) != (row.finished_at is not None):
            yield f"batch {row.id} is {row.state} and ended at {row.finished_at}"
        if row.state in ("failed", "rejected", "cancelled") and row.error is None:
            yield f"batch {row.id} is {row.state} without a reason"
        if row.seq != last + 1:
            yield f"batch {row.id} was accepted as number {row.seq}, after number {last}"
        last = row.seq
        if row.idempotency_key is not None:
            keys[row.caller, row.idempotency_key] += 1
        if row.line is not None and row.state not in FINAL_STATES and row.state != "queued":
            running[row.model, row.line] += 1
    for batch_id in makers:
        yield f"a version was made by {batch_id}, which is no batch"
    for (_, key), count in keys.items():
        if count > 1:
            yield f"{count} batches have the Idempotency-Key {key!r}"
    for (model, line), count in running.items():
        if count > 1:
            yield f"{count} batches of the line {model}@{line} run at once"


def _evaluations(session: Session) -> Iterator[str]:
    """An evaluation has all of its facts, and one that has ended its measurements, or the reason why not."""
    of_each = select(EvaluationFactRow.evaluation_id, func.count()).group_by(EvaluationFactRow.evaluation_id)
    kept: dict[str, int] = {}
    for evaluation, number in session.execute(of_each):
        kept[evaluation] = number
    for row_id, facts in session.execute(select(EvaluationRow.id, EvaluationRow.n_facts)):
        if kept.get(row_id, 0) != facts:
            yield f"evaluation {row_id} has {facts} facts, of which {kept.get(row_id, 0)} are kept"
    ended = select(EvaluationRow).where(EvaluationRow.state.not_in(("queued", *EVALUATION.running_states)))
    for row in session.scalars(ended):
        if row.finished_at is None:
            yield f"evaluation {row.id} is {row.state} and has no end"
        if (row.metrics if row.state == "succeeded" else row.error) is None:
            yield f"evaluation {row.id} is {row.state} without measurements or a reason"


def _aliases(session: Session) -> Iterator[str]:
    numbers = {(row.model, row.number): row.state for row in session.scalars(select(VersionRow))}
    for alias in session.scalars(select(AliasRow)):
        if numbers.get((alias.model, alias.version), "deleted") == "deleted":
            yield f"alias {alias.model}@{alias.alias} points at {version_name(alias.version)}, which is not there"


def _facts(session: Session) -> Iterator[str]:
    """All facts of a batch are there, in order."""
    counted = func.count(), func.coalesce(func.max(FactRow.number), -1)
    kept = {
        batch_id: (count, most)
        for batch_id, count, most in session.execute(select(FactRow.batch_id, *counted).group_by(FactRow.batch_id))
    }
    for batch_id, facts in session.execute(select(BatchRow.id, BatchRow.facts)):
        if kept.get(batch_id, (0, -1)) != (facts, facts - 1):
            yield f"batch {batch_id} has {facts} facts, of which {kept.get(batch_id, (0, -1))[0]} are kept"


def _settled(session: Session) -> Iterator[str]:
    for kind in KINDS:
        for row_id, state in session.execute(select(kind.row.id, kind.row.state).where(kind.unfinished)):
            yield f"{kind.store_name or kind.name} {row_id} is still {state}"
    for task in session.scalars(select(TaskRow).where(TaskRow.state.in_(_OPEN_TASKS))):
        job = next(iter(job_ids(task).values()), None)
        yield f"task {task.id} ({task.kind} of {job}) is {task.state}"


def _ranges(numbers: Iterable[int]) -> str:
    """v0 to v3, v5"""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(
        version_name(low) if low == high else f"{version_name(low)} to {version_name(high)}" for low, high in spans
    )
