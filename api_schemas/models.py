"""Models, versions and aliases."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from api_schemas.metrics import BatchMetrics
from api_schemas.references import VersionName


class ModelCard(BaseModel):
    """OpenAI's model object, and our own fields: a base model, one of its versions, or an alias."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "emmetd"
    root: str
    parent: str | None
    aliases: list[str] = []
    max_model_len: int | None = None
    state: str | None = None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class VersionInfo(BaseModel):
    """One immutable version. `facts` counts those of its own batch, `total_facts` those of its whole lineage."""

    version: str
    model: str
    parent: str | None
    edit: str | None
    algorithm: str | None
    label: str | None
    facts: int
    total_facts: int
    layers: list[int]
    rank: int
    sha256: str | None
    bytes: int
    state: Literal["available", "unavailable"]
    aliases: list[str]
    metrics: BatchMetrics | None
    created_at: datetime


class VersionPage(BaseModel):
    data: list[VersionInfo]
    next_cursor: str | None


class AliasUpdate(BaseModel):
    """Compare and set: the alias moves to `version` only while it points at `expected` (where that is given)."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[VersionName, Field(examples=["v0"])]
    expected: Annotated[VersionName | None, Field(examples=["v1"])] = None


class AliasInfo(BaseModel):
    model: str
    alias: str
    version: str
    updated_at: datetime


class AliasList(BaseModel):
    data: list[AliasInfo]
