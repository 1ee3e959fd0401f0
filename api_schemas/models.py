"""Models, versions and aliases."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api_schemas.aliases import AliasRequest, Reason
from api_schemas.downstream import Guard
from api_schemas.facts import FactOrigin, FactPlace, NumberedFact
from api_schemas.metrics import BatchMetrics
from api_schemas.references import REVISION_PATTERN, ModelName, VersionName

VersionState = Literal["available", "unavailable"]
Wear = Literal["ok", "worn"]
"""Whether a line holds: `worn` where facts corrected earlier are being lost, or most of its budget is used."""


class ModelCard(BaseModel):
    """OpenAI's model object, and our own fields: a base model, one of its versions, or an alias.

    `wear` is that of the version that it means. Of a base model, `family` is its architecture as transformers calls it,
    `dtype` that of its weights, `devices` where its workers run, and `awaits` what it waits for, null where it answers.
    `source` is the hub id or short name that it is loaded from, null for a folder of the server's, and `revision` the
    commit there that every worker loads.
    `description` and `tags` of a NAME alone are the model's, else the version's.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "emmetd"
    root: str
    parent: str | None
    aliases: list[str] = []
    max_model_len: int | None = None
    state: str | None = None
    family: str | None = None
    dtype: str | None = None
    devices: list[str] = []
    awaits: str | None = None
    source: str | None = None
    revision: str | None = None
    wear: Wear | None = None
    description: str | None = None
    tags: list[str] = []


class ModelRequest(BaseModel):
    """A model to be registered: it is looked at, and its weights are fetched by the first worker of its NAME.

    `source` is a hub id, a short name such as smollm2-135m, or the absolute path of a folder that the operator allows
    (`EMMETD_MODEL_FOLDERS`). A hub id is kept at one commit: that of `revision`, or of the main branch as it is now.
    """

    model_config = ConfigDict(extra="forbid")

    source: Annotated[
        str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f]+$", examples=["openai-community/gpt2-xl"])
    ]
    revision: Annotated[
        str | None, Field(pattern=REVISION_PATTERN, description="A branch, tag or commit.", examples=["main"])
    ] = None
    name: Annotated[
        ModelName | None,
        Field(description="What requests call it; by default the last part of `source`.", examples=["gpt2-xl"]),
    ] = None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]


class _Version(BaseModel):
    version: str
    model: str
    parent: str | None
    consolidates: str | None = None
    edit: str | None
    algorithm: str | None
    label: str | None
    description: str | None
    tags: list[str]
    facts: int
    total_facts: int
    facts_in_force: int | None
    wear: Wear
    layers: list[int]
    rank: int
    sha256: str | None
    state: VersionState
    aliases: list[str]
    metrics: BatchMetrics | None
    created_at: datetime


class VersionInfo(_Version):
    """One immutable version in a list. `unavailable` where a worker found a blob of its lineage missing or damaged.

    `facts` counts those of its own batch, which a revert takes out; `total_facts` those of its lineage that were not
    taken out, `facts_in_force` those of them that were not corrected either (null where an older release made it). One
    that `consolidates` another says that one's facts, solved anew from the base; null also where that one is not known
    here, since the version came from another installation. `bytes` is what it added to the store.
    """

    bytes: int


class VersionBytes(BaseModel):
    """What a version added to the store: its delta, and the matrices in which it differs from its parent.

    Matrices count as 0 once retention has dropped them.
    """

    delta: int
    matrices: int


class VersionDetail(_Version):
    """One immutable version. `unavailable` where a worker found a blob of its lineage missing or damaged.

    `facts` counts those of its own batch, which a revert takes out; `total_facts` those of its lineage that were not
    taken out, `facts_in_force` those of them that were not corrected either. One that `consolidates` another says that
    one's facts, solved anew from the base.
    """

    bytes: VersionBytes


class VersionPage(BaseModel):
    data: list[VersionInfo]
    next_cursor: str | None


class LineageEntry(BaseModel):
    """One version of a lineage, as a point of a series.

    `drift` is against the base, `drift_parent` against the parent; `retained` is EM of the sample of earlier facts
    after the edit, `retained_before` at the parent. `relative_norms`: layer → what the version added, relative to its
    parent's matrix. What was not measured is null.
    """

    version: str
    parent: str
    kind: str
    facts: int
    facts_in_force: int | None
    drift: float | None
    drift_parent: float | None
    retained: float | None
    retained_before: float | None
    retained_facts: int
    relative_norms: dict[str, float]
    bytes: int
    wear: Wear
    created_at: datetime
    aliases: list[str]


class LineagePage(BaseModel):
    """Versions from the base's first child to `of`, oldest first; `wear` is that of `of`."""

    of: str
    wear: Wear
    data: list[LineageEntry]
    next_cursor: str | None


class FactMeasured(BaseModel):
    """The last check that read a fact: what was read of it in `version`, 1 or 0; null for what was not read there."""

    version: str
    EM: float | None = None
    GA: float | None = None


class VersionFact(NumberedFact):
    """A fact of a version's lineage: where it came in, and what became of it there.

    `supersedes` and `superseded_by` are the facts before and after it with the same prompt and subject. `origin` of a
    fact of a consolidation is the fact that it stands for. `measured` is null where no check of the lineage read it.
    """

    edit: str
    version: str
    state: Literal["in_force", "superseded", "reverted"]
    reverted_by: str | None
    supersedes: FactPlace | None
    superseded_by: FactPlace | None
    origin: FactOrigin | None = None
    measured: FactMeasured | None = None


class VersionFactPage(BaseModel):
    data: list[VersionFact]
    next_cursor: str | None


class AliasUpdate(BaseModel):
    """Compare and set: the alias moves to `version` only while it points at `expected` (where that is given).

    `protected`, `approval` and `guard` alone leave it where it is. An alias that demands approval is protected, and
    each change of it waits for another key; `reason` is told to whoever approves and kept in the audit log.
    """

    model_config = ConfigDict(extra="forbid")

    version: Annotated[VersionName | None, Field(examples=["v0"])] = None
    expected: Annotated[VersionName | None, Field(examples=["v1"])] = None
    protected: bool | None = None
    approval: bool | None = None
    guard: Annotated[
        Guard | None, Field(description="What a version must have measured; an empty one takes the guard away.")
    ] = None
    reason: Annotated[Reason | None, Field(examples=["checked by the editors"])] = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.version is None and self.protected is None and self.approval is None and self.guard is None:
            raise ValueError("says nothing to change; give version, protected, approval, guard, or several of them")
        if self.approval and self.protected is False:
            raise ValueError("approval is demanded of protected aliases; leave protected out, or make it true")
        return self


class AliasInfo(BaseModel):
    """`approval`: each change needs another key's. `request` is the change that was just asked for, or the newest open
    one; until it is approved the alias stands as it is told here."""

    model: str
    alias: str
    version: str
    protected: bool = False
    approval: bool = False
    request: AliasRequest | None = None
    guard: Guard | None = None
    updated_at: datetime


class AliasList(BaseModel):
    data: list[AliasInfo]
