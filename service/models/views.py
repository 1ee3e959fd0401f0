"""Rows of models, versions and aliases as clients see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from api_schemas.facts import FactPlace
from api_schemas.metrics import BatchMetrics
from api_schemas.models import AliasInfo, ModelCard, VersionBytes, VersionDetail, VersionFact, VersionInfo
from api_schemas.references import version_name
from store.lineage.facts_in_force import LineageFact, Place
from store.schema.tables import AliasRow, ModelRow, VersionRow

_BYTES_OF: Final = {"float32": 4, "bfloat16": 2, "float16": 2}


def base_card(row: ModelRow, aliases: Sequence[AliasRow], state: str | None) -> ModelCard:
    """The model under its NAME, which means its `latest`."""
    return ModelCard(
        id=row.name,
        created=_epoch(row.created_at),
        root=row.name,
        parent=None,
        aliases=[alias.alias for alias in aliases],
        max_model_len=row.context_length,
        state=state,
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
    )


def alias_card(model: ModelRow, alias: AliasRow) -> ModelCard:
    """`NAME@alias`; its parent is the version that it points at now."""
    return ModelCard(
        id=f"{model.name}@{alias.alias}",
        created=_epoch(alias.updated_at),
        root=model.name,
        parent=f"{model.name}@{version_name(alias.version)}",
        max_model_len=model.context_length,
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
        "edit": row.batch_id,
        "algorithm": row.algorithm,
        "label": row.label,
        "facts": row.facts,
        "total_facts": row.total_facts,
        "layers": row.layers,
        "rank": row.rank,
        "sha256": row.blob,
        "state": row.state,
        "aliases": _names(aliases, row.number),
        "metrics": batch_metrics(row.metrics),
        "created_at": row.created_at,
    }


def version_fact(one: LineageFact) -> VersionFact:
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
        }
    )


def fact_place(place: Place | None) -> FactPlace | None:
    if place is None:
        return None
    return FactPlace(edit=place.edit, version=version_name(place.version), index=place.index)


def alias_info(row: AliasRow) -> AliasInfo:
    return AliasInfo(
        model=row.model,
        alias=row.alias,
        version=version_name(row.version),
        protected=row.protected,
        updated_at=row.updated_at,
    )


def batch_metrics(metrics: Mapping[str, object] | None) -> BatchMetrics | None:
    return None if metrics is None else BatchMetrics.model_validate(metrics)


def _names(aliases: Sequence[AliasRow], number: int) -> list[str]:
    return [alias.alias for alias in aliases if alias.version == number]


def _epoch(moment: datetime) -> int:
    return int(moment.timestamp())
