"""What happens to a batch whose line's alias was moved while it ran: it is carried over to where the alias points now.

An edit of one layer is solved again from its kept keys and wanted values, without a new optimisation, and checked
again. Where other layers differ between the two parents too, keys and values would not hold: the batch fails.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from api_schemas.algorithms import EditSettings
from api_schemas.references import ModelReference, version_name
from editing.batch import BatchEdit
from editing.rebasing import rebased
from editing.statistic import Statistic
from versions import batches, events, lineage
from versions.errors import NotFoundError, ParentMovedError
from versions.tables import BatchRow
from workers.context import WorkerContext
from workers.layer_weights import weight_of

MOST_REBASES = 5
"""An alias that moves more often than this while one batch is checked is somebody's loop."""

log = structlog.get_logger(__name__)


def moved_to(context: WorkerContext, batch: BatchRow, base: int, moved: ParentMovedError, *, again: bool) -> int:
    """The version that the batch's alias points at now; the change of parent is an event, and keeps it from deletion.

    Raises `moved` where the alias is gone, where it moved too often (not `again`), or where the caller wants no other
    parent than the one that it had.
    """
    if not again or batch.if_match is not None:
        raise moved
    with context.database.writing() as session:
        try:
            parent = lineage.resolve(session, ModelReference(batch.model, alias=batch.line)).number
        except NotFoundError:
            raise moved from None
        names = {"from": version_name(base), "to": version_name(parent)}
        row = batches.get(session, batch.id)
        row.carried_to = parent
        batches.set_state(session, row, "solving", rebased=names)
        events.append(session, batch.id, "rebased", names)
    log.info("the alias was moved meanwhile; the batch is carried over", **names)
    return parent


def rebased_edit(
    context: WorkerContext,
    edit: BatchEdit,
    old: int,
    new: int,
    moved: ParentMovedError,
    statistics: Mapping[int, Statistic],
    settings: EditSettings,
) -> BatchEdit:
    """`edit`, made on version `old`, on version `new`. Raises ParentMovedError where that cannot be done."""
    if len(edit.layers) > 1:
        raise ParentMovedError(
            f"{moved}. It changes layers {sorted(edit.layers)} together, whose keys depend on one another, so that it "
            "cannot be carried over without a new optimisation"
        ) from moved
    ((layer, one),) = edit.layers.items()
    elsewhere = sorted(_differing(context, old, new) - {layer})
    if elsewhere:
        raise ParentMovedError(
            f"{moved}. {version_name(old)} and {version_name(new)} differ in layers {elsewhere} too, so that the keys "
            f"of layer {layer} do not hold there"
        ) from moved
    before = weight_of(context, context.matrices.get(old), layer)
    after = weight_of(context, context.matrices.get(new), layer)
    return BatchEdit({layer: rebased(one, before, after, statistics[layer], settings)}, edit.repaired)


def _differing(context: WorkerContext, old: int, new: int) -> set[int]:
    """The layers whose matrices are not the same bits in the two versions."""
    with context.database.reading() as session:
        first = lineage.get(session, context.name, old).matrix_hashes
        second = lineage.get(session, context.name, new).matrix_hashes
    return {int(layer) for layer in first.keys() | second.keys() if first.get(layer) != second.get(layer)}
