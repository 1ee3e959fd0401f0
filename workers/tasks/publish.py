"""Publishes a checked batch: its blobs made durable, then its version in one transaction; or rejects it."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from torch import Tensor

from api_schemas.metrics import DEFAULT_BUDGET, BatchMetrics, BatchWarning, LayerReport
from api_schemas.references import version_name
from configuration import tracing
from editing.covariance.statistic import Statistic
from store.clock import now
from store.lineage import fact_readings, series, telling
from store.lineage import versions as lineage
from store.lineage.force_count import facts_in_force_after
from store.lineage.versions import EXACT_LAYERS
from store.schema.tables import BatchRow, TaskRow, VersionRow
from store.work import batches, events, lifecycle, tasks
from workers.checking.limits import limits_of
from workers.checking.rejection import rejection
from workers.checking.wear import WITHIN, wear_warning
from workers.context import WorkerContext
from workers.held_out import STORED, version_key
from workers.metrics import EDIT_EFFICACY, FACTS_EDITED, PRESERVATION_COST
from workers.tasks.batch_settings import settings_of
from workers.tasks.check import Checked
from workers.tasks.next_edit import prepare_next_edit
from workers.tasks.outcome import CancelledError, end_batch
from workers.tasks.stage_times import seconds_by_stage, timed
from workers.weights.deltas import InsertedKeysByLayer, LayerDelta, pack_deltas, pack_matrices
from workers.weights.matrix_bits import matrix_hash

LIBRARIES = ("emmetd", "torch", "transformers", "tokenizers")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Candidate:
    """Everything that a solved and checked batch would become a version with.

    `base` is the version that it was made on, `reports` say what was done to each layer, `made_with` is what else is
    needed to make it again. A revert says in `reverts` and `inserted_keys` what it did to earlier edits
    (`store.blobs.deltas`); an edit that keeps wanted states says in `groups` which facts each of them is for.
    """

    base: int
    deltas: Mapping[int, LayerDelta]
    matrices: dict[int, Tensor]
    checked: Checked
    reports: Sequence[LayerReport]
    statistics: Mapping[int, Statistic]
    made_with: Mapping[str, Any]
    reverts: list[dict[str, Any]] | None = None
    inserted_keys: InsertedKeysByLayer | None = None
    groups: list[list[int]] | None = None
    warnings: Sequence[BatchWarning] = ()


def conclude(context: WorkerContext, task: TaskRow, batch: BatchRow, candidate: Candidate) -> None:
    """Publish, reject, or only report (`dry_run`).

    Raises ParentMovedError where the batch's alias no longer points at the candidate's base, CancelledError where
    somebody cancelled it; nothing is kept then.
    """
    with timed(batch, "publish"):
        candidate = _with_wear(context, batch, candidate)
        error = rejection(batch, candidate.checked.breaches, candidate.checked.over_budget, candidate.warnings)
        is_rejected = error is not None
        new = None if is_rejected or batch.dry_run else _put_blobs(context, batch, candidate)
        version = _commit(context, task, batch, candidate, new, error)
        tracing.note(
            {"emmetd.version": None if version is None else version_name(version), "emmetd.rejected": is_rejected}
        )
    if version is None:
        return
    context.matrices.put(version, candidate.matrices)
    if new is not None and candidate.checked.held_out is not None:
        context.measuring.held_out().keep(version_key(new.matrix_hashes), candidate.checked.held_out)
    log.info("published", version=version_name(version), kind=batch.kind, facts=batch.facts)
    if batch.kind != "edit":
        return
    prepare_next_edit(context, version, functools.partial(settings_of, context, batch))
    FACTS_EDITED.labels(batch.model).inc(batch.facts)
    PRESERVATION_COST.labels(batch.model).set(max(one.preservation_cost for one in candidate.reports))
    efficacy = candidate.checked.after["ES"].value
    if efficacy is not None:
        EDIT_EFFICACY.labels(batch.model).set(efficacy)


def _with_wear(context: WorkerContext, batch: BatchRow, candidate: Candidate) -> Candidate:
    """With a warning where the line wears."""
    checked = candidate.checked
    with context.database.reading() as session:
        earlier = series.newest_metrics(session, batch.model, candidate.base, WITHIN - 1)
    budget = limits_of(batch).budget or DEFAULT_BUDGET
    worn = wear_warning(batch.model, checked.retained, checked.drift.value, budget, earlier)
    return candidate if worn is None else replace(candidate, warnings=[*candidate.warnings, worn])


def _commit(
    context: WorkerContext,
    task: TaskRow,
    batch: BatchRow,
    candidate: Candidate,
    new: lineage.NewVersion | None,
    error: dict[str, Any] | None,
) -> int | None:
    """The batch's end in one transaction; the number of its version, if it has one."""
    in_force = None
    if new is not None:
        with context.database.reading() as session:  # what it is counted from does not change any more
            in_force = facts_in_force_after(session, batch, candidate.base)
    with context.database.writing() as session:
        row = batches.lock(session, batch.id)
        if row.cancel_requested:
            raise CancelledError
        row.base_version = candidate.base
        ended = now()
        metrics = _metrics(candidate)
        metrics["seconds"] = seconds_by_stage(events.after(session, batch.id, 0), ended)
        row.metrics = metrics
        tasks.complete(session, task.id, task.token)
        lifecycle.set_progress(row, "done", row.facts, row.facts, 0)
        if error is not None:
            end_batch(session, row, "rejected", error)
            return None
        if new is None:
            end_batch(session, row, "succeeded")
            return None
        version = lineage.publish(session, row, new)
        version.metrics, version.facts_in_force = metrics, in_force
        telling.line_worn(session, version, row.line)
        fact_readings.keep(session, row.model, version.number, candidate.checked.readings)
        row.version = version.number
        end_batch(session, row, "succeeded")
        return version.number


def _put_blobs(context: WorkerContext, batch: BatchRow, candidate: Candidate) -> lineage.NewVersion:
    """Blobs first: a version's row never names one that is not on the disk."""
    with context.database.reading() as session:
        parent = session.get_one(VersionRow, (batch.model, candidate.base))  # deleted by now, if its alias was moved
    provenance = _provenance(context, batch, candidate)
    provenance[EXACT_LAYERS] = sorted({*parent.provenance.get(EXACT_LAYERS, ()), *candidate.deltas})
    header: dict[str, Any] = {"fingerprint": context.model.fingerprint, "model": batch.model, "provenance": provenance}
    if candidate.reverts is not None:
        header["reverts"] = candidate.reverts
    if candidate.groups is not None:
        header["groups"] = candidate.groups
    if candidate.checked.held_out is not None:
        header[STORED] = context.measuring.held_out().as_stored(candidate.checked.held_out)
    delta = pack_deltas(candidate.deltas, header, candidate.inserted_keys)
    # Those that the parent has are put again too: they begin their time of grace anew, should it lose them meanwhile.
    packed = {
        layer: pack_matrices({layer: matrix}, {"dtype": str(context.model.dtype)})
        for layer, matrix in candidate.matrices.items()
    }
    blobs = {str(layer): context.blobs.put(content) for layer, content in packed.items()}
    known = set((parent.matrix_blobs or {}).values())
    return lineage.NewVersion(
        layers=sorted(candidate.deltas),
        rank=max(one.rank for one in candidate.deltas.values()),
        blob=context.blobs.put(delta),
        matrix_blobs=blobs,
        delta_bytes=len(delta),
        matrix_bytes=sum(len(content) for layer, content in packed.items() if blobs[str(layer)] not in known),
        matrix_hashes={str(layer): matrix_hash(matrix) for layer, matrix in candidate.matrices.items()},
        provenance=provenance,
        metrics={},
    )


def _metrics(candidate: Candidate) -> dict[str, Any]:
    checked = candidate.checked
    metrics = BatchMetrics(
        before=checked.before,
        after=checked.after,
        reverted=checked.reverted,
        retained=checked.retained,
        restated=len(candidate.made_with.get(lineage.RESTATED, ())),
        drift=checked.drift,
        layers=list(candidate.reports),
        warnings=list(candidate.warnings),
    )
    return metrics.model_dump(mode="json")


def _provenance(context: WorkerContext, batch: BatchRow, candidate: Candidate) -> dict[str, Any]:
    """What is needed to make the version again."""
    projections = context.model.decoder.projections
    return {
        **candidate.made_with,
        "algorithm": batch.algorithm,
        "parent": candidate.base,
        "base_norms": {str(layer): float(projections[layer].weight.double().norm()) for layer in candidate.deltas},
        "statistics": {
            str(layer): {"corpus": one.corpus, "tokens": one.tokens, "shrinkage": one.shrinkage}
            for layer, one in candidate.statistics.items()
        },
        "source": context.model.source,
        "dtype": str(context.model.dtype),
        "device": context.model.decoder.device.type,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
