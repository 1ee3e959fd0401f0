"""The `export` task: make a version into a file that other programs load, and keep the file as a blob."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import structlog
from sqlalchemy.orm import Session

from api_schemas.references import version_name
from editing.atomic_files import scratch_folder, sweep
from store.access.audit import Actor
from store.lineage import versions as lineage
from store.lineage.fact_pages import in_force, read_lineage
from store.schema.tables import ExportRow, TaskRow
from store.upkeep.garbage_collection import discard_exports
from store.work import exports, lifecycle, tasks
from store.work.kinds import EXPORT
from workers.context import WorkerContext
from workers.exporting.exported_version import ExportedVersion, base_name
from workers.exporting.formats import WRITERS
from workers.tasks.lease import Lease

_TOLD_METRICS = ("after", "retained", "drift")

log = structlog.get_logger(__name__)


def export(context: WorkerContext, task: TaskRow, lease: Lease) -> None:
    """On the disk first: a whole checkpoint is too large for memory. What a killed attempt left there goes first."""
    assert task.export_id is not None
    with context.database.writing() as session:
        row = lifecycle.get(session, EXPORT, task.export_id)
        removed_exports = exports.make_room(
            session, Actor(f"worker:{socket.gethostname()}"), row.model, context.settings.max_exports
        )
        row.state = "running"
        row.progress = {"stage": "exporting", "done": 0, "total": 1}
        about = _about(context, session, row)
    discard_exports(context.database, context.blobs, removed_exports)
    version = ExportedVersion(
        model=context.model,
        name=f"{row.model}@{version_name(row.version)}",
        about=about,
        matrices=partial(context.matrices.get, row.version),
        deltas=partial(context.matrices.deltas, row.version),
        max_rank=row.max_rank,
        should_stop=lease.should_stop,
    )
    place = context.settings.data / "exports" / task.id
    sweep(place)
    with scratch_folder(place) as scratch:
        path = scratch / "file"
        report = WRITERS[row.format](version, path)  # type: ignore[index]  # the API keeps no other formats
        size = path.stat().st_size
        blob = context.blobs.put_file(path)
    log.info("exported", version=row.version, format=row.format, bytes=size)
    with context.database.writing() as session:
        tasks.complete(session, task.id, task.token)
        row = lifecycle.get(session, EXPORT, task.export_id)
        exports.finish(row, blob=blob, size=size, report=report)


def _about(context: WorkerContext, session: Session, row: ExportRow) -> dict[str, Any]:
    """What every file tells of the version: where it comes from and how good it was found. No texts of facts."""
    version = lineage.get(session, row.model, row.version)
    facts = version.facts_in_force
    if facts is None:  # an older release made it
        facts = len(in_force(session, read_lineage(session, row.model, row.version)))
    metrics = version.metrics or {}
    return {
        "model": row.model,
        "version": version_name(row.version),
        "lineage": [version_name(one.number) for one in lineage.ancestry(session, row.model, row.version)],
        "format": row.format,
        "base": base_name(context.model),
        "base_revision": context.model.source.get("revision"),
        "base_fingerprint": context.model.fingerprint,
        "dtype": str(context.model.dtype).removeprefix("torch."),
        "facts_in_force": facts,
        "layers_edited": sorted(map(int, version.matrix_hashes)),
        "algorithm": version.algorithm or version.provenance.get("algorithm"),
        "settings": version.provenance.get("settings"),
        "metrics": {name: metrics[name] for name in _TOLD_METRICS if name in metrics},
    }
