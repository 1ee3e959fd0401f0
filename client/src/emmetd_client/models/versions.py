"""Models, versions, aliases, lineages, and what lies between two versions."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from emmetd_client._tables import Table, diff_table, version_table
from emmetd_client.models.answers import Answer
from emmetd_client.models.facts import VersionFact
from emmetd_client.models.metrics import BatchMetrics


class ModelCard(Answer):
    """OpenAI's model object with fields of emmetd: a base model, one of its versions, or an alias.

    `source` and `revision` are those that a base model is registered with: a hub id, and the hub's commit.
    `etag` is that of description and tags, where it was asked for alone.
    """

    id: str
    created: int | None = None
    owned_by: str | None = None
    root: str | None = None
    parent: str | None = None
    aliases: list[str] = []
    max_model_len: int | None = None
    state: str | None = None
    family: str | None = None
    source: str | None = None
    revision: str | None = None
    description: str | None = None
    tags: list[str] = []
    etag: str | None = None


class VersionBytes(Answer):
    """What a version added: its delta, which is kept for ever, and matrices that no other version has."""

    delta: int | None = None
    matrices: int | None = None


class Version(Answer):
    """One immutable version. `n_facts` are those of its own batch, `total_facts` those in force in its lineage.

    `consolidates` names the version that a consolidation stands for. `etag` is that of description and tags, where the
    version was asked for alone.
    """

    version: str
    model: str
    parent: str | None = None
    edit: str | None = None
    algorithm: str | None = None
    label: str | None = None
    description: str | None = None
    tags: list[str] = []
    etag: str | None = None
    n_facts: int = Field(0, alias="facts")
    total_facts: int | None = None
    layers: list[int] = []
    rank: int | None = None
    sha256: str | None = None
    size: VersionBytes | int | None = Field(None, alias="bytes")
    state: str | None = None
    aliases: list[str] = []
    metrics: BatchMetrics | None = None
    consolidates: str | None = None
    created_at: datetime | None = None

    @property
    def reference(self) -> str:
        """NAME@vN."""
        return f"{self.model}@{self.version}"

    @property
    def added_bytes(self) -> int | None:
        return bytes_of(self.size)

    def table(self) -> Table:
        return version_table(self)

    def _repr_html_(self) -> str:
        return self.table().html


class LineageEntry(Answer):
    """One version of a lineage: what a plot of a line's wear is made of. Drift is against the base and the parent."""

    version: str
    parent: str | None = None
    n_facts: int = Field(0, alias="facts")
    facts_in_force: int | None = None
    drift: Any = None
    drift_parent: Any = None
    retained: Any = None
    relative_norms: Any = None
    size: VersionBytes | int | None = Field(None, alias="bytes")
    created_at: datetime | None = None
    aliases: list[str] = []

    @property
    def added_bytes(self) -> int | None:
        return bytes_of(self.size)


def bytes_of(size: VersionBytes | int | None) -> int | None:
    """One number, whichever way a server says it."""
    if isinstance(size, VersionBytes):
        return (size.delta or 0) + (size.matrices or 0)
    return size


class AliasRequest(Answer):
    """A change of an alias that another key must approve. `expected` is where the alias pointed when it was asked for.

    `state` is open, approved, refused, withdrawn, expired or stale.
    """

    id: str
    model: str
    alias: str
    expected: str
    version: str | None = None
    protected: bool | None = None
    approval: bool | None = None
    edit: str | None = None
    reason: str | None = None
    state: str
    requested_by: str
    requested_label: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    decided_by: str | None = None
    decided_label: str | None = None
    decided_at: datetime | None = None
    decision: str | None = None


class Alias(Answer):
    """`request` is a change that waits for another key; until it is approved the alias stands as it is told here."""

    model: str
    alias: str
    version: str
    protected: bool = False
    approval: bool = False
    request: AliasRequest | None = None
    guard: dict[str, Any] | None = None
    updated_at: datetime | None = None


class DeltaNorm(Answer):
    """A Frobenius norm, and the same as a share of that of the base's matrix."""

    norm: float
    relative: float | None = None


class LayerDiff(Answer):
    """One layer's change from the base in either version, what lies between them, and the cosine of the changes."""

    layer: int
    before: DeltaNorm
    after: DeltaNorm
    difference: DeltaNorm
    cosine: float | None = None


class FactDiff(Answer):
    """The first of `total` facts."""

    total: int
    data: list[VersionFact] = []


class VersionDiff(Answer):
    """Facts that only the second version says, those that only the first says, and the weights between them."""

    model: str
    before: str
    after: str
    common_ancestor: str | None = None
    facts_added: FactDiff
    facts_taken_out: FactDiff
    layers: list[LayerDiff] = []

    def table(self) -> Table:
        return diff_table(self)

    def _repr_html_(self) -> str:
        return self.table().html
