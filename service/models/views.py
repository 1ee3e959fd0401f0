"""Rows of models, versions and aliases as clients see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from api_schemas.aliases import AliasRequest
from api_schemas.downstream import Guard
from api_schemas.facts import FactOrigin, FactPlace
from api_schemas.metrics import LINE_WORN, BatchMetrics
from api_schemas.models import (
    AliasInfo,
    FactMeasured,
    LineageEntry,
    ModelCard,
    VersionBytes,
    VersionDetail,
    VersionFact,
    VersionInfo,
    Wear,
)
from api_schemas.references import version_name
from editing.sources.inspection import is_folder
from store.clock import now
from store.lineage import alias_requests
from store.lineage.facts_in_force import LineageFact, Place
from store.schema.alias_tables import AliasRequestRow
from store.schema.tables import AliasRow, ModelRow, VersionRow

_BYTES_OF: Final = {"float32": 4, "bfloat16": 2, "float16": 2}


def wear_of(row: VersionRow) -> Wear:
    """As the check of the version found its line."""
    warnings = (row.metrics or {}).get("warnings") or []
    return "worn" if any(one.get("code") == LINE_WORN for one in warnings) else "ok"


@dataclass(frozen=True)
class ModelWorkers:
    """How far a model's workers are, where they run, and what is awaited of them."""

    state: str
    devices: tuple[str, ...]
    awaits: str | None


def base_card(
    row: ModelRow, aliases: Sequence[AliasRow], workers: ModelWorkers, latest: VersionRow | None
) -> ModelCard:
    """The model under its NAME, which means its `latest`."""
    return ModelCard(
        id=row.name,
        created=_epoch(row.created_at),
        root=row.name,
        parent=None,
        aliases=[alias.alias for alias in aliases],
        max_model_len=row.context_length,
        state=workers.state,
        family=row.model_type,
        dtype=row.dtype,
        devices=list(workers.devices),
        awaits=workers.awaits,
        source=None if is_folder(row.source) else row.source,
        revision=row.revision,
        wear=None if latest is None else wear_of(latest),
        description=row.description,
        tags=row.tags or [],
    )


def version_card(model: ModelRow, row: VersionRow, aliases: Sequence[AliasRow]) -> ModelCard:
    """`NAME@vN`; its parent is the version that it was made from."""
    return ModelCard(
        id=f"{model.name}@{version_name(row.number)}",
        created=_epoch(row.created_at),
        root=model.name,
        parent=None if row.parent is None else f"{model.name}@{version_name(row.parent)}",
        aliases=_names(aliases, row.number),
        max_model_len=model.context_length,
        state=row.state,
        wear=wear_of(row),
        description=row.description,
        tags=row.tags or [],
    )


def alias_card(model: ModelRow, alias: AliasRow, version: VersionRow) -> ModelCard:
    """`NAME@alias`; its parent is the version that it points at now."""
    return ModelCard(
        id=f"{model.name}@{alias.alias}",
        created=_epoch(alias.updated_at),
        root=model.name,
        parent=f"{model.name}@{version_name(alias.version)}",
        max_model_len=model.context_length,
        wear=wear_of(version),
        description=version.description,
        tags=version.tags or [],
    )


def version_info(row: VersionRow, aliases: Sequence[AliasRow]) -> VersionInfo:
    return VersionInfo.model_validate({**_version(row, aliases), "bytes": row.bytes})


def version_detail(model: ModelRow, row: VersionRow, aliases: Sequence[AliasRow]) -> VersionDetail:
    return VersionDetail.model_validate({**_version(row, aliases), "bytes": _bytes(model, row)})


def _bytes(model: ModelRow, row: VersionRow) -> VersionBytes:
    """Of a version made before the two were told apart the matrices have the size of the model's."""
    if row.delta_bytes is not None:
        return VersionBytes(delta=row.delta_bytes, matrices=row.matrix_bytes or 0)
    width = _BYTES_OF.get(model.dtype or "", 0)
    matrices = min(row.bytes, len(row.layers) * (model.d_in or 0) * (model.d_out or 0) * width)
    return VersionBytes(delta=row.bytes - matrices, matrices=matrices)


def _version(row: VersionRow, aliases: Sequence[AliasRow]) -> dict[str, object]:
    return {
        "version": version_name(row.number),
        "model": row.model,
        "parent": None if row.parent is None else version_name(row.parent),
        "consolidates": None if row.consolidates is None else version_name(row.consolidates),
        "edit": row.batch_id,
        "algorithm": row.algorithm,
        "label": row.label,
        "description": row.description,
        "tags": row.tags or [],
        "facts": row.facts,
        "total_facts": row.total_facts,
        "facts_in_force": facts_in_force(row),
        "wear": wear_of(row),
        "layers": row.layers,
        "rank": row.rank,
        "sha256": row.blob,
        "state": row.state,
        "aliases": _names(aliases, row.number),
        "metrics": batch_metrics(row.metrics),
        "created_at": row.created_at,
    }


def facts_in_force(row: VersionRow) -> int | None:
    return 0 if row.parent is None else row.facts_in_force


def lineage_entry(row: VersionRow, kind: str, aliases: Sequence[AliasRow]) -> LineageEntry:
    metrics = batch_metrics(row.metrics) or BatchMetrics()
    assert row.parent is not None, "the base is in no series"
    before = metrics.retained.before.get("EM") if metrics.retained else None
    after = metrics.retained.after.get("EM") if metrics.retained else None
    return LineageEntry(
        version=version_name(row.number),
        parent=version_name(row.parent),
        kind=kind,
        facts=row.facts,
        facts_in_force=row.facts_in_force,
        drift=metrics.drift.value if metrics.drift else None,
        drift_parent=metrics.drift.parent if metrics.drift else None,
        retained=after.value if after else None,
        retained_before=before.value if before else None,
        retained_facts=after.n if after else 0,
        relative_norms={str(one.layer): one.relative_norm for one in metrics.layers},
        bytes=row.bytes,
        wear=wear_of(row),
        created_at=row.created_at,
        aliases=_names(aliases, row.number),
    )


def fact_measured(reading: tuple[int, Mapping[str, float]] | None) -> FactMeasured | None:
    """`reading` is the version whose check read the fact, and what was read."""
    if reading is None:
        return None
    version, values = reading
    return FactMeasured(version=version_name(version), EM=values.get("EM"), GA=values.get("GA"))


def version_fact(one: LineageFact, reading: tuple[int, Mapping[str, float]] | None = None) -> VersionFact:
    return VersionFact.model_validate(
        {
            **one.fact,
            "index": one.place.index,
            "edit": one.place.edit,
            "version": version_name(one.place.version),
            "state": one.state,
            "reverted_by": None if one.reverted_by is None else version_name(one.reverted_by),
            "supersedes": fact_place(one.supersedes),
            "superseded_by": fact_place(one.superseded_by),
            "origin": None if one.origin is None else _fact_origin(one.origin),
            "measured": fact_measured(reading),
        }
    )


def fact_place(place: Place | None) -> FactPlace | None:
    if place is None:
        return None
    return FactPlace(edit=place.edit, version=version_name(place.version), index=place.index)


def _fact_origin(origin: Mapping[str, Any]) -> FactOrigin:
    number = origin["version"]
    version = None if number is None else version_name(number)
    return FactOrigin(edit=origin["edit"], version=version, index=origin["index"])


def alias_info(row: AliasRow, waiting: AliasRequestRow | None = None) -> AliasInfo:
    """`waiting` is a change that another key is to approve."""
    return AliasInfo(
        model=row.model,
        alias=row.alias,
        version=version_name(row.version),
        protected=row.protected,
        approval=row.approval,
        request=None if waiting is None else alias_request(waiting),
        guard=None if row.guard is None else Guard.model_validate(row.guard),
        updated_at=row.updated_at,
    )


def alias_request(row: AliasRequestRow) -> AliasRequest:
    return AliasRequest.model_validate(
        {
            "id": row.id,
            "model": row.model,
            "alias": row.alias,
            "expected": version_name(row.expected),
            "version": None if row.version is None else version_name(row.version),
            "protected": row.protected,
            "approval": row.approval,
            "edit": row.edit,
            "reason": row.reason,
            "state": alias_requests.state_of(row, now()),
            "requested_by": row.requested_by,
            "requested_label": row.requested_label,
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "decided_by": row.decided_by,
            "decided_label": row.decided_label,
            "decided_at": row.decided_at,
            "decision": row.decision,
        }
    )


def batch_metrics(metrics: Mapping[str, object] | None) -> BatchMetrics | None:
    return None if metrics is None else BatchMetrics.model_validate(metrics)


def _names(aliases: Sequence[AliasRow], number: int) -> list[str]:
    return [alias.alias for alias in aliases if alias.version == number]


def _epoch(moment: datetime) -> int:
    return int(moment.timestamp())
