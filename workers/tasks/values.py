"""The `values` task: optimise one shard's δ and keep it, with the keys, in the blob store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
import torch
from torch import Tensor

from api_schemas.facts import Fact
from editing.values.contexts import contexts_of
from editing.values.facts import SubjectGroup
from editing.values.optimisation import optimise_values
from editing.values.value_set import Values
from store.blobs.arrays import pack, unpack
from store.blobs.blob_store import BlobStore
from store.schema.tables import TaskRow
from store.work import batches, lifecycle, tasks
from workers.context import WorkerContext
from workers.metrics import VALUE_STEPS
from workers.tasks.batch_settings import settings_of
from workers.tasks.lease import Lease
from workers.tasks.plan import SOLVE_TASKS, stored_forms, tokenized_groups
from workers.tasks.progress import TaskProgress
from workers.tasks.stage_times import timed

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class BatchValues:
    """The values of all of a batch's subjects, in the order of its groups."""

    deltas: Tensor
    keys: Tensor
    states: Tensor
    steps: Tensor
    reached: Tensor


def optimise_shard(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.batch_id is not None
    with context.database.reading() as session:
        batch = batches.get(session, task.batch_id)
        all_facts = batches.facts(session, batch.id)
        shards = tasks.of_batch(session, batch.id, "values")
    assert batch.base_version is not None
    facts = [Fact.model_validate(all_facts[number]) for number in task.payload["facts"]]
    settings = settings_of(context, batch)
    forms = stored_forms(task.payload)
    groups = [_numbered(group, task.payload["facts"]) for group in tokenized_groups(context, facts, settings, forms)]
    done_before = sum(len(shard.payload["facts"]) for shard in shards if shard.state == "done")
    of_all = sum(len(shard.payload["facts"]) for shard in shards)
    report = TaskProgress(context.database, batch.id, before=done_before, total=of_all)

    def on_progress(stage: str, done: int, total: int) -> None:
        report("optimising", done / total * len(facts), len(facts))

    contexts = contexts_of(context.model.backend_tokenizer, task.payload["contexts"], forms, settings.chat_weight)
    with timed(batch, "values", task.shard):
        values = optimise_values(
            context.model.decoder,
            context.matrices.get(batch.base_version),
            groups,
            contexts,
            settings,
            should_stop=lease.should_stop,
            on_progress=on_progress,
            prefix=context.context_prefixes.of(batch.base_version, contexts),
        )
    steps = int(values.steps.sum())
    VALUE_STEPS.labels(batch.model).inc(steps)
    log.info("optimised", subjects=len(groups), steps=steps, reached=int(values.reached.sum()))
    blob = context.blobs.put(_pack(values, task))
    with context.database.writing() as session:
        # The lock orders shards that end at the same time, so that exactly the last one goes on to the solve.
        row = batches.lock(session, batch.id)
        tasks.complete(session, task.id, task.token, {"blob": blob, "steps": steps})
        session.flush()
        if all(shard.state == "done" for shard in tasks.of_batch(session, batch.id, "values")):
            batches.set_state(session, row, "solving")
            lifecycle.set_progress(row, "solving", 0, row.facts, None)
            tasks.create(session, of=row, kind=SOLVE_TASKS[row.kind])


def _numbered(group: SubjectGroup, numbers: Sequence[int]) -> SubjectGroup:
    """`group` of a shard with its facts' places in the batch, `numbers` by their place in the shard."""
    return replace(group, facts=tuple(replace(fact, index=numbers[fact.index]) for fact in group.facts))


def gather(blobs: BlobStore, shards: Sequence[TaskRow]) -> BatchValues:
    """All shards' values, sorted by group. Raises BlobError where a shard's blob is gone or damaged."""
    parts: dict[str, list[Tensor]] = {}
    order: list[int] = []
    for shard in shards:
        assert shard.result is not None
        arrays, header = unpack(blobs.get(shard.result["blob"]))
        order += header["groups"]
        for name, array in arrays.items():
            parts.setdefault(name, []).append(torch.from_numpy(array))
    positions = torch.tensor(order).argsort()
    return BatchValues(**{name: torch.cat(tensors)[positions] for name, tensors in parts.items()})


def _pack(values: Values, task: TaskRow) -> bytes:
    arrays = {
        "deltas": values.deltas.float(),
        "keys": values.keys.float(),
        "states": values.states.float(),
        "steps": values.steps,
        "reached": values.reached,
    }
    header = {"kind": "values", "batch": task.batch_id, "groups": task.payload["groups"]}
    return pack({name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()}, header)
