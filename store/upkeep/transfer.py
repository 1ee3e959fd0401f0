"""Pushes and pulls versions between stores by way of a bundle: rows and blobs of a whole lineage, each blob checked.

A version is the same one everywhere by the id of the edit that made it. Its number is dense in each store: where the
next free number there is another one, it is refused, or renumbered on request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from api_schemas.references import ModelReference, version_name
from store.access import audit
from store.access.audit import Actor
from store.blobs.blob_store import BlobStore
from store.blobs.deltas import unpack_delta
from store.errors import (
    BlobCorruptError,
    BlobMissingError,
    BundleCorruptError,
    FingerprintConflictError,
    ModelNotFoundError,
    NameClashError,
    VersionNotFoundError,
)
from store.lineage import models
from store.lineage import versions as lineage
from store.lineage.questions import question_of
from store.schema.database import Database
from store.schema.tables import BatchRow, EventRow, FactRow, VersionRow
from store.upkeep.bundles import Bundle
from store.upkeep.deletion import DELETED
from store.upkeep.manifest import (
    BatchRecord,
    BundleManifest,
    EventRecord,
    Member,
    ModelRecord,
    VersionRecord,
    read_manifest,
)
from store.upkeep.origins import consolidated_here, origins_here
from store.work import batches

BOUND = ("fingerprint", "tokenizer_fingerprint", "dtype")
_NUMBERS = ("version", "base_version")
"""What names versions in an event's data."""


@dataclass(frozen=True)
class Transferred:
    """What came of it: the version as it is called in the source and in the target, and what had to be copied."""

    source: str
    target: str
    versions: tuple[int, ...]
    """Numbers, in the target, of the versions that were not there before."""
    blobs: int
    bytes: int


def push(database: Database, blobs: BlobStore, bundle: Bundle, reference: ModelReference) -> Transferred:
    """Put the version with its lineage into `bundle`, if it is not there already.

    Raises NotFoundError, BlobError naming what is damaged, NameClashError where the bundle has another version of that
    name, which stays as it is.
    """
    with database.reading() as session:
        manifest = _manifest(session, reference)
    name = f"{manifest.model.name}@{version_name(manifest.number)}"
    if name in bundle.versions():  # refused before anything is copied
        _check_same(bundle, name, manifest)
    count, size = _copy(manifest, blobs, bundle.blobs)
    if not bundle.add(name, manifest.write()):
        _check_same(bundle, name, manifest)
    return Transferred(name, name, tuple(member.version.number for member in manifest.lineage), count, size)


def pull(
    database: Database,
    blobs: BlobStore,
    bundle: Bundle,
    reference: str,
    actor: Actor,
    *,
    model_name: str | None = None,
    renumber: bool = False,
) -> Transferred:
    """Take NAME@vN of `bundle` with its lineage in; under another NAME where `model_name` is given.

    Nothing is written where it raises: FingerprintConflictError where NAME is bound to another model here,
    NameClashError where a version would have another number here (unless `renumber`) or its edit is another's,
    BundleCorruptError and BlobError where the bundle is damaged.
    """
    manifest = read_manifest(bundle.read(reference), f"{bundle.url}: {reference}")
    if reference != f"{manifest.model.name}@{version_name(manifest.number)}":
        raise BundleCorruptError(f"{bundle.url}: {reference} holds {manifest.model.name} v{manifest.number}")
    name = model_name or manifest.model.name
    with database.reading() as session:  # refused before anything is copied
        _numbers(session, name, manifest, renumber=renumber)
    count, size = _copy(manifest, bundle.blobs, blobs)
    with database.writing() as session:
        numbers = _numbers(session, name, manifest, renumber=renumber)
        new = _insert_missing(session, name, manifest, numbers)
        target = f"{name}@{version_name(numbers[manifest.number])}"
        if new:
            audit.record(
                session,
                actor,
                "version.pulled",
                model=name,
                target=target,
                source=reference,
                bundle=bundle.url,
                versions=[version_name(number) for number in new],
            )
    return Transferred(reference, target, tuple(new), count, size)


def _manifest(session: Session, reference: ModelReference) -> BundleManifest:
    row = lineage.resolve(session, reference)
    model = models.get(session, row.model)
    if row.parent is None:
        raise VersionNotFoundError(f"{model.name}@{version_name(0)} is the base: there is nothing of it to move")
    members = []
    for version in lineage.ancestry(session, row.model, row.number):
        assert version.batch_id is not None, "every version but the base was made by a batch"
        if version.state != "available":
            raise BlobMissingError(f"version {version_name(version.number)} of {model.name} is {version.state}")
        batch = batches.get(session, version.batch_id)
        batch_events = session.scalars(select(EventRow).where(EventRow.batch_id == batch.id).order_by(EventRow.id))
        members.append(
            Member(
                version=VersionRecord.model_validate(version),
                batch=BatchRecord.model_validate(batch),
                facts=batches.facts(session, batch.id),
                origins=batches.origins(session, batch.id),
                events=[EventRecord.model_validate(event) for event in batch_events],
            )
        )
    return BundleManifest(model=ModelRecord.model_validate(model), lineage=members)


def _check_same(bundle: Bundle, name: str, manifest: BundleManifest) -> None:
    there = read_manifest(bundle.read(name), f"{bundle.url}: {name}")
    if _identity(there) != _identity(manifest):
        raise NameClashError(
            f"{bundle.url} has another {name}, made by {there.lineage[-1].batch.id} on other weights or another "
            f"lineage; here it was made by {manifest.lineage[-1].batch.id}. Nothing was overwritten: push to a bundle "
            "of its own"
        )


def _identity(manifest: BundleManifest) -> tuple[object, ...]:
    """What makes a version this one: the base's weights, and each edit of the lineage with its number and delta."""
    return manifest.model.fingerprint, [
        (
            member.version.number,
            member.version.parent,
            member.batch.id,
            member.version.blob,
            member.version.matrix_hashes,
        )
        for member in manifest.lineage
    ]


def _copy(manifest: BundleManifest, source: BlobStore, target: BlobStore) -> tuple[int, int]:
    """Every blob, read and checked; number and bytes of those that were not there. Deltas must be of the base."""
    deltas = {member.version.blob: member.version.number for member in manifest.lineage}
    copied, size = 0, 0
    for sha256 in manifest.blobs:
        content = source.get(sha256)
        if sha256 in deltas:
            try:
                unpack_delta(content, manifest.model.fingerprint)
            except BlobCorruptError as error:
                raise BlobCorruptError(f"version {version_name(deltas[sha256])}: blob {sha256}: {error}") from None
        if not target.exists(sha256):
            copied, size = copied + 1, size + len(content)
        target.put(content)  # also what is there: its time of grace begins anew, and what is damaged is mended
    return copied, size


def _numbers(session: Session, name: str, manifest: BundleManifest, *, renumber: bool) -> dict[int, int]:
    """Number in the bundle → number here, 0 → 0. Those that are not here yet follow each other."""
    following = _next_number(session, name, manifest)
    numbers = {0: 0}
    for member in manifest.lineage:
        here = session.scalar(select(VersionRow).where(VersionRow.batch_id == member.batch.id))
        if here is not None:
            _require_same(here, name, member, numbers)
            numbers[member.version.number] = here.number
            continue
        if session.get(BatchRow, member.batch.id) is not None:
            raise NameClashError(
                f"{member.batch.id} is an edit here too, but no version of {name}: nothing was taken in"
            )
        if following != member.version.number and not renumber:
            raise NameClashError(
                f"{manifest.model.name}@{version_name(member.version.number)} would be {name}@{version_name(following)}"
                " here, since a model's versions are numbered without gaps; take it in under its new number with "
                "--renumber, or under a NAME of its own with --model-name"
            )
        numbers[member.version.number] = following
        following += 1
    return numbers


def _next_number(session: Session, name: str, manifest: BundleManifest) -> int:
    """The next free number of `name`. Raises FingerprintConflictError where it is bound to another model."""
    try:
        row = models.get(session, name)
    except ModelNotFoundError:
        return 1
    for field in BOUND:
        bound, theirs = getattr(row, field), getattr(manifest.model, field)
        if bound is not None and bound != theirs:
            raise FingerprintConflictError(
                f"model {name!r} is bound to {field} {bound[:12]} here, the version was made on {theirs[:12]}: its "
                "delta would be wrong on this model; take it in under another NAME with --model-name, and serve that"
            )
    return row.next_version


def _require_same(here: VersionRow, name: str, member: Member, numbers: Mapping[int, int]) -> None:
    """Raises NameClashError unless the version that an edit made here is the one that it made there."""
    if here.state == DELETED:
        raise NameClashError(
            f"{here.model}@{version_name(here.number)} is that version here, and it was deleted: no number is given "
            "twice. Nothing was taken in; use another database, or make the edit anew"
        )
    is_same = (here.blob, dict(here.matrix_hashes), here.parent) == (
        member.version.blob,
        member.version.matrix_hashes,
        numbers[member.version.parent],
    )
    if here.model != name or not is_same:
        raise NameClashError(
            f"edit {member.batch.id} made {here.model}@{version_name(here.number)} here, which is not "
            f"{name}@{version_name(member.version.number)} of the bundle: nothing was taken in"
        )


def _insert_missing(session: Session, name: str, manifest: BundleManifest, numbers: Mapping[int, int]) -> list[int]:
    """The rows of what is not here yet; their numbers, in order."""
    model = models.register(session, name, manifest.model.source)
    for field in ModelRecord.model_fields:
        # A revision is one of its source: that of theirs says nothing of another one here.
        if field == "revision" and model.source != manifest.model.source:
            continue
        if field not in ("name", "source") and getattr(model, field) is None:
            setattr(model, field, getattr(manifest.model, field))
    new = []
    for member in manifest.lineage:
        number = numbers[member.version.number]
        if session.get(VersionRow, (name, number)) is None:
            _add(session, name, member, numbers)
            model.next_version = number + 1
            new.append(number)
    return new


def _add(session: Session, name: str, member: Member, numbers: Mapping[int, int]) -> None:
    number, parent = numbers[member.version.number], numbers[member.version.parent]
    consolidates = consolidated_here(session, name, member.version.provenance)
    batch = BatchRow(
        **{**dict(member.batch), "consolidates": consolidates},
        seq=(session.scalar(select(func.max(BatchRow.seq))) or 0) + 1,
        model=name,
        line=None,
        branch_of=parent,
        base_version=parent,
        version=number,
        dry_run=False,
        facts=member.version.facts,
        state="succeeded",
    )
    session.add(batch)
    session.flush()
    if member.facts:
        rows: list[dict[str, Any]] = [
            {"batch_id": batch.id, "number": n, "fact": fact, "question": question_of(fact)}
            for n, fact in enumerate(member.facts)
        ]
        for row, origin in zip(rows, origins_here(session, name, member.origins), strict=False):
            row["origin"] = origin
        session.execute(insert(FactRow), rows)
    for event in member.events:
        renumbered = {key: numbers.get(value, value) if key in _NUMBERS else value for key, value in event.data.items()}
        session.add(EventRow(batch_id=batch.id, kind=event.kind, data=renumbered, created_at=event.created_at))
    record = {**dict(member.version), "number": number, "parent": parent, "consolidates": consolidates}
    record["provenance"] = {**member.version.provenance, "parent": parent}
    session.add(VersionRow(**record, model=name, batch_id=batch.id, state="available"))
    session.flush()
