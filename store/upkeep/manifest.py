"""The manifest of a bundle: the rows of a version's lineage as JSON, with a hash over all of it."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from api_schemas.references import ModelName
from store.errors import BundleCorruptError

KIND: Final = "emmetd version"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", from_attributes=True, protected_namespaces=())


class ModelRecord(_Record):
    """The base: what a NAME is bound to."""

    name: ModelName
    source: str
    revision: str | None = None
    fingerprint: str
    tokenizer_fingerprint: str
    dtype: str
    model_type: str
    n_layers: int
    d_in: int
    d_out: int
    context_length: int
    tokenizer_blob: str
    chat_template: str | None
    special_tokens: dict[str, Any] | None
    description: str | None = None
    tags: list[str] | None = None


class EventRecord(_Record):
    kind: str
    data: dict[str, Any]
    created_at: datetime


class BatchRecord(_Record):
    """The batch that made a version, without who sent it."""

    id: str
    kind: Literal["edit", "revert", "consolidation"]
    requested: str
    algorithm: str
    settings: dict[str, Any]
    thresholds: dict[str, Any]
    label: str | None
    urgent: bool
    reverts: list[Any] | None
    consolidates: int | None = None
    progress: dict[str, Any]
    metrics: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class VersionRecord(_Record):
    number: int
    parent: int
    algorithm: str | None
    label: str | None
    description: str | None = None
    tags: list[str] | None = None
    facts: int
    total_facts: int
    consolidates: int | None = None
    layers: list[int]
    rank: int
    blob: str
    matrices_blob: str | None
    matrix_blobs: dict[str, str] | None = None
    bytes: int
    delta_bytes: int | None = None
    matrix_bytes: int | None = None
    matrix_hashes: dict[str, str]
    provenance: dict[str, Any]
    metrics: dict[str, Any] | None
    created_at: datetime


class Member(_Record):
    """One version of the lineage with everything that belongs to it. `origins` are those of a consolidation's facts."""

    version: VersionRecord
    batch: BatchRecord
    facts: list[dict[str, Any]]
    origins: list[dict[str, Any]] = []
    events: list[EventRecord]


class BundleManifest(_Record):
    """`lineage` goes from the base's first child to the version that the manifest is of."""

    format: Literal[1] = 1
    kind: Literal["emmetd version"] = KIND
    model: ModelRecord
    lineage: list[Member]

    @property
    def number(self) -> int:
        return self.lineage[-1].version.number

    @property
    def blobs(self) -> list[str]:
        """Every blob that the rows name, each once, in order."""
        named = [self.model.tokenizer_blob]
        for member in self.lineage:
            named += [member.version.blob, member.version.matrices_blob or ""]
            named += (member.version.matrix_blobs or {}).values()
        return [blob for blob in dict.fromkeys(named) if blob]

    def write(self) -> bytes:
        content = self.model_dump(mode="json")
        return json.dumps({**content, "sha256": _hash(content)}, indent=1, sort_keys=True).encode()


def read_manifest(content: bytes, where: str) -> BundleManifest:
    """Raises BundleCorruptError where `content` is damaged or something else; `where` is its name in the message."""
    try:
        found = json.loads(content)
    except ValueError as error:
        raise BundleCorruptError(f"{where} is not JSON, or was cut short: {error}") from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise BundleCorruptError(f"{where} is no version of emmetd")
    if found.get("format") != 1:
        raise BundleCorruptError(f"{where} is of format {found.get('format')!r}; this release reads format 1")
    if found.pop("sha256", None) != _hash(found):
        raise BundleCorruptError(f"{where} does not match its hash: it was changed since it was written")
    try:
        manifest = BundleManifest.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleCorruptError(f"{where} cannot be read: {place}: {first['msg']}") from None
    _check_lineage(manifest, where)
    return manifest


def _check_lineage(manifest: BundleManifest, where: str) -> None:
    """Each version stands on the one before, the first on the base."""
    parent = 0
    for member in manifest.lineage:
        if member.version.parent != parent or member.version.number <= parent:
            raise BundleCorruptError(f"{where}: v{member.version.number} does not stand on v{parent}")
        parent = member.version.number
    if not manifest.lineage:
        raise BundleCorruptError(f"{where} has no version in it")


def _hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
