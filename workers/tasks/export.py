"""The `export` task: make a version into a file that other programs load."""

from __future__ import annotations

import socket
from typing import Any

import structlog
from safetensors.torch import save

from api_schemas.references import version_name
from store.access.audit import Actor
from store.lineage import versions as lineage
from store.schema.tables import TaskRow
from store.upkeep.garbage_collection import discard_exports
from store.work import exports, lifecycle, tasks
from store.work.kinds import EXPORT
from workers.context import WorkerContext
from workers.tasks.lease import Lease
from workers.weights.adapter import adapter, adapter_file

log = structlog.get_logger(__name__)


def export(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    assert task.export_id is not None
    with context.database.writing() as session:
        row = lifecycle.get(session, EXPORT, task.export_id)
        removed_exports = exports.make_room(
            session, Actor(f"worker:{socket.gethostname()}"), row.model, context.settings.max_exports
        )
        row.state = "running"
        row.progress = {"stage": "exporting", "done": 0, "total": 1}
        ancestry = lineage.ancestry(session, row.model, row.version)
    discard_exports(context.database, context.blobs, removed_exports)
    metadata: dict[str, Any] = {
        "model": row.model,
        "version": version_name(row.version),
        "lineage": [version_name(version.number) for version in ancestry],
        "base_fingerprint": context.model.fingerprint,
        "dtype": str(context.model.dtype).removeprefix("torch."),
    }
    if row.format == "peft":
        factors, report = adapter(context.model, context.matrices.deltas(row.version), row.max_rank, lease.should_stop)
        content = adapter_file(context.model, factors, {**metadata, **report})
    else:
        content, report = _merged(context, row.version), {}
    blob = context.blobs.put(content)
    log.info("exported", version=row.version, format=row.format, bytes=len(content))
    with context.database.writing() as session:
        tasks.complete(session, task.id, task.token)
        row = lifecycle.get(session, EXPORT, task.export_id)
        exports.finish(row, blob=blob, size=len(content), report={**metadata, **report})


def _merged(context: WorkerContext, version: int) -> bytes:
    """The edited matrices as safetensors, under their names in the model's own state dict."""
    decoder = context.model.decoder
    matrices = context.matrices.get(version)
    tensors = {
        f"{decoder.projection_name(layer)}.weight": matrix.detach().contiguous().cpu()
        for layer, matrix in sorted(matrices.items())
    }
    return save(tensors, metadata={"format": "pt"})
