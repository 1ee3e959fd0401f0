"""Rebases a batch whose line's alias was moved while it ran onto the version that the alias points at now.

What it wants is kept, without a new optimisation, and is solved and checked again there. Where layers above the ones
that it edits differ between the two parents, its values would not hold: the batch fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from api_schemas.edits import FINAL_STATES
from api_schemas.references import ModelReference, version_name
from editing.covariance.key_metric import KeyMetric
from editing.methods import EditSettings
from editing.solve.batch import BatchEdit
from editing.solve.rebasing import hold_where, rebased, values_at_keys, values_in_stream
from editing.values.contexts import Context
from editing.values.facts import SubjectGroup
from editing.values.value_set import Values
from store.errors import LeaseLostError, NotFoundError, ParentMovedError, VersionNotFoundError
from store.lineage import versions as lineage
from store.schema.tables import BatchRow
from store.work import batches, events
from workers.context import WorkerContext
from workers.weights.layer_weights import weight_of

MOST_REBASES = 5
"""An alias that moves more often than this while one batch is checked is somebody's loop."""

log = structlog.get_logger(__name__)


def parent_now(context: WorkerContext, batch: BatchRow) -> int:
    """The version to solve the batch on: its parent, or where its alias points since, if it was moved already.

    Raises ParentMovedError as `moved_to` does.
    """
    assert batch.base_version is not None
    if batch.dry_run:  # which moves no alias
        return batch.base_version
    try:
        with context.database.reading() as session:
            lineage.alias_of_line(session, batch, batch.base_version)
    except ParentMovedError as moved:
        return moved_to(context, batch, batch.base_version, moved, may_rebase_again=True)
    return batch.base_version


def moved_to(
    context: WorkerContext, batch: BatchRow, base: int, moved: ParentMovedError, *, may_rebase_again: bool
) -> int:
    """The version that the batch's alias points at now; the change of parent is an event, and keeps it from deletion.

    Raises `moved` where the alias is gone, where it moved too often (not `may_rebase_again`), or where the caller wants
    no other parent than the one that it had; LeaseLostError where the batch has ended.
    """
    if not may_rebase_again or batch.if_match is not None:
        raise moved
    with context.database.writing() as session:
        try:
            parent = lineage.resolve(session, ModelReference(batch.model, alias=batch.line)).number
        except NotFoundError:
            raise moved from None
        names = {"from": version_name(base), "to": version_name(parent)}
        row = batches.get(session, batch.id)
        if row.state in FINAL_STATES:  # by another worker, whose version may be what the alias was moved to
            raise LeaseLostError(f"edit {batch.id} has ended while this worker was silent")
        row.carried_to = parent
        batches.set_state(session, row, "solving", rebased=names)
        events.append(session, batch.id, "rebased", names)
    log.info("the alias was moved meanwhile; the batch is carried over", **names)
    return parent


def rebased_values(
    context: WorkerContext,
    values: Values,
    groups: Sequence[SubjectGroup],
    contexts: Sequence[Context],
    layers: Sequence[int],
    old: int,
    new: int,
) -> Values:
    """`values` for `layers`, made on version `old`, for a solve on version `new`. Raises ParentMovedError."""
    if old == new:
        return values
    decoder = context.model.decoder
    differing = _differing(context, old, new)
    if not hold_where(decoder, layers, differing):
        elsewhere = sorted(differing - set(layers))
        raise ParentMovedError(
            f"the alias was moved while the batch ran, and {version_name(old)} and {version_name(new)} differ "
            f"in layers {elsewhere} too, so that values for {_named(layers)} do not hold there; submit it again"
        )
    if len(layers) > 1:
        return values
    after = context.matrices.get(new)
    if differing <= set(layers):
        before = weight_of(context.model.decoder, context.matrices.get(old), values.layer)
        return values_at_keys(values, before, weight_of(context.model.decoder, after, values.layer))
    return values_in_stream(decoder, values, after, groups, contexts)


def rebased_edit(
    context: WorkerContext,
    edit: BatchEdit,
    old: int,
    new: int,
    metrics: Mapping[int, KeyMetric],
    settings: EditSettings,
) -> BatchEdit | None:
    """`edit`, made on version `old`, on version `new`, from its keys and residuals as they are, repairs with them.

    None where they change, of several layers, whose keys depend on one another, or where other layers differ too; where
    it writes again facts of a line that may not be the new one; and where `old` is not the batch's first parent and was
    deleted since the alias left it.
    """
    if len(edit.layers) > 1 or edit.restated:
        return None
    ((layer, one),) = edit.layers.items()
    try:
        if not _differing(context, old, new) <= {layer}:
            return None
        before = weight_of(context.model.decoder, context.matrices.get(old), layer)
    except VersionNotFoundError:
        return None
    after = weight_of(context.model.decoder, context.matrices.get(new), layer)
    return BatchEdit({layer: rebased(one, before, after, metrics[layer], settings)}, edit.repaired, edit.wanted)


def _differing(context: WorkerContext, old: int, new: int) -> set[int]:
    """The layers whose matrices are not the same bits in the two versions."""
    with context.database.reading() as session:
        first = lineage.get(session, context.name, old).matrix_hashes
        second = lineage.get(session, context.name, new).matrix_hashes
    return {int(layer) for layer in first.keys() | second.keys() if first.get(layer) != second.get(layer)}


def _named(layers: Sequence[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {sorted(layers)}"
