"""The end of a batch: its blobs made durable, then its version in one transaction; or its rejection."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from torch import Tensor

from api_schemas.algorithms import EditSettings
from api_schemas.metrics import BatchMetrics, LayerReport
from api_schemas.references import version_name
from editing import layer_report
from editing.batch import BatchEdit
from editing.statistic import Statistic
from versions import batches, events, lineage, tasks
from versions.clock import now
from versions.errors import ParentMovedError
from versions.tables import BatchRow, TaskRow
from workers.check import Checked
from workers.context import WorkerContext
from workers.deltas import LayerDelta, pack_deltas, pack_matrices
from workers.materialise import matrix_hash
from workers.metrics import EDIT_EFFICACY, FACTS_EDITED, PRESERVATION_COST
from workers.outcome import end_batch
from workers.stages import seconds_by_stage, timed

LIBRARIES = ("emmetd", "torch", "transformers", "tokenizers")

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Candidate:
    """Everything that a solved and checked batch would become a version with."""

    settings: EditSettings
    contexts: list[str]
    subjects: int
    edit: BatchEdit
    reports: Mapping[int, layer_report.LayerReport]
    statistics: Mapping[int, Statistic]
    deltas: Mapping[int, LayerDelta]
    matrices: dict[int, Tensor]
    checked: Checked


def conclude(context: WorkerContext, task: TaskRow, batch: BatchRow, candidate: Candidate) -> None:
    """Publish, reject, or only report (`dry_run`)."""
    with timed(batch, "publish"):
        refused = bool(candidate.checked.breaches)
        new = None if refused or batch.dry_run else _durable(context, batch, candidate)
        version = _commit(context, task, batch, candidate, new)
    if version is None:
        return
    context.matrices.put(version, candidate.matrices)
    FACTS_EDITED.labels(batch.model).inc(batch.facts)
    PRESERVATION_COST.labels(batch.model).set(max(one.preservation_cost for one in candidate.reports.values()))
    efficacy = candidate.checked.after["ES"].value
    if efficacy is not None:
        EDIT_EFFICACY.labels(batch.model).set(efficacy)
    log.info("published", version=version_name(version), facts=batch.facts)


def _commit(
    context: WorkerContext, task: TaskRow, batch: BatchRow, candidate: Candidate, new: lineage.NewVersion | None
) -> int | None:
    """The batch's end in one transaction; the number of its version, if it has one."""
    checked = candidate.checked
    with context.database.writing() as session:
        row = batches.lock(session, batch.id)
        ended = now()
        metrics = _metrics(candidate)
        metrics["seconds"] = seconds_by_stage(events.after(session, batch.id, 0), ended)
        row.metrics = metrics
        tasks.complete(session, task.id, task.token)
        batches.set_progress(session, row, "done", row.facts, row.facts, 0)
        if checked.breaches:
            error = {
                "code": "below_thresholds",
                "title": "The edit was checked and not published",
                "detail": "; ".join(checked.breaches) + ". Send fewer facts at once, other settings or thresholds",
                "facts": [],
            }
            end_batch(session, row, "rejected", error)
            return None
        if new is None:
            end_batch(session, row, "succeeded")
            return None
        try:
            version = lineage.publish(session, row, new)
        except ParentMovedError as error:
            reason = {"code": error.code, "title": "The parent moved", "detail": str(error), "facts": []}
            end_batch(session, row, "failed", reason)
            return None
        version.metrics = metrics
        row.version = version.number
        end_batch(session, row, "succeeded")
        return version.number


def _durable(context: WorkerContext, batch: BatchRow, candidate: Candidate) -> lineage.NewVersion:
    """Blobs first: a version's row never names one that is not on the disk."""
    provenance = _provenance(context, batch, candidate)
    header = {"fingerprint": context.model.fingerprint, "model": batch.model, "provenance": provenance}
    delta = pack_deltas(candidate.deltas, header)
    own = {layer: candidate.matrices[layer] for layer in candidate.deltas}
    return lineage.NewVersion(
        layers=sorted(candidate.deltas),
        rank=max(one.rank for one in candidate.deltas.values()),
        blob=context.blobs.put(delta),
        matrices_blob=context.blobs.put(pack_matrices(candidate.matrices, {"dtype": str(context.model.dtype)})),
        bytes=len(delta) + sum(matrix.nbytes for matrix in own.values()),
        matrix_hashes={str(layer): matrix_hash(matrix) for layer, matrix in candidate.matrices.items()},
        provenance=provenance,
        metrics={},
    )


def _metrics(candidate: Candidate) -> dict[str, Any]:
    checked = candidate.checked
    layers = [
        LayerReport(
            layer=layer,
            mu_used=edit.solutions[-1].mu_used,
            mu_asked=edit.solutions[-1].mu_asked,
            condition_number=edit.solutions[-1].condition_number,
            memorization_error=candidate.reports[layer].memorization_error,
            preservation_cost=candidate.reports[layer].preservation_cost,
            relative_norm=candidate.reports[layer].relative_norm,
            rank=candidate.deltas[layer].rank,
            repaired=list(candidate.edit.repaired),
        )
        for layer, edit in candidate.edit.layers.items()
    ]
    metrics = BatchMetrics(before=checked.before, after=checked.after, drift=checked.drift, layers=layers)
    return metrics.model_dump(mode="json")


def _provenance(context: WorkerContext, batch: BatchRow, candidate: Candidate) -> dict[str, Any]:
    """What is needed to make the version again."""
    return {
        "algorithm": batch.algorithm,
        "settings": candidate.settings.model_dump(mode="json"),
        "contexts": candidate.contexts,
        "parent": batch.base_version,
        "subjects": candidate.subjects,
        "statistics": {
            str(layer): {"corpus": one.corpus, "tokens": one.tokens, "shrinkage": one.shrinkage}
            for layer, one in candidate.statistics.items()
        },
        "source": context.model.source,
        "dtype": str(context.model.dtype),
        "device": context.model.decoder.device.type,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
