"""Queries on versions and their lineage: parent, branches, and what a reference means."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import CTE, BigInteger, and_, bindparam, false, literal, or_, select
from sqlalchemy.orm import Session

from api_schemas.references import LATEST, ModelReference, version_name
from store.access import audit
from store.access.audit import LOCAL
from store.clock import now
from store.errors import AliasProtectedError, ParentMovedError, VersionNotFoundError
from store.lineage import alias_requests, models, notes, telling
from store.lineage.alias_requests import Change
from store.schema.tables import AliasRow, BatchRow, VersionRow

_IN_ONE_QUERY: Final = 500
EXACT_LAYERS: Final = "exact_layers"
"""In a version's provenance, the layers whose matrices are sums of exact products: the same bits on every machine."""


@dataclass(frozen=True)
class NewVersion:
    """What a checked batch becomes.

    `blob` holds the delta with its keys, `matrix_blobs` by layer each matrix that its lineage edited: those that the
    batch did not touch are the parent's. `delta_bytes` and `matrix_bytes` are what it adds to the store.
    `matrix_hashes`: layer → SHA-256 of the edited matrix's bytes.
    """

    layers: list[int]
    rank: int
    blob: str
    matrix_blobs: Mapping[str, str]
    delta_bytes: int
    matrix_bytes: int
    matrix_hashes: Mapping[str, str]
    provenance: Mapping[str, Any]
    metrics: Mapping[str, Any]


def get(session: Session, model: str, number: int) -> VersionRow:
    row = session.get(VersionRow, (model, number))
    if row is None:
        newest = models.get(session, model).next_version - 1
        raise VersionNotFoundError(f"model {model!r} has no version v{number}; it has v0 to v{newest}")
    if row.state == "deleted":
        raise VersionNotFoundError(f"version v{number} of {model!r} was deleted at {row.provenance['deleted_at'][:19]}")
    return row


def resolve(session: Session, reference: ModelReference) -> VersionRow:
    """The version that `reference` means now. Raises NotFoundError naming what exists."""
    model = models.get(session, reference.name).name
    if reference.version is not None:
        return get(session, model, reference.version)
    alias = session.get(AliasRow, (model, reference.alias or LATEST))
    if alias is None:
        known = ", ".join(row.alias for row in aliases_of(session, model))
        raise VersionNotFoundError(f"model {model!r} has no alias {reference.alias!r}; its aliases: {known}")
    return get(session, model, alias.version)


class ResolvedReference(NamedTuple):
    """The version that a reference means; whether the alias that says so is protected, and demands approval."""

    version: int
    protected: bool
    approval: bool = False


# Written once: what SQLAlchemy does with a statement that it has not seen takes longer than the query.
_BY_NUMBER: Final = select(VersionRow.number, false(), false()).where(
    VersionRow.model == bindparam("model"),
    VersionRow.number == bindparam("version"),
    VersionRow.state != "deleted",
)
_BY_ALIAS: Final = (
    select(VersionRow.number, AliasRow.protected, AliasRow.approval)
    .join(AliasRow, and_(AliasRow.model == VersionRow.model, AliasRow.version == VersionRow.number))
    .where(
        AliasRow.model == bindparam("model"),
        AliasRow.alias == bindparam("alias"),
        VersionRow.state != "deleted",
    )
)


def resolve_number(session: Session, reference: ModelReference) -> ResolvedReference:
    """`resolve` in one small query, for what every request asks. Raises the same errors."""
    if reference.version is not None:
        row = session.execute(_BY_NUMBER, {"model": reference.name, "version": reference.version}).first()
    else:
        row = session.execute(_BY_ALIAS, {"model": reference.name, "alias": reference.alias or LATEST}).first()
    return (
        ResolvedReference(resolve(session, reference).number, False)
        if row is None
        else ResolvedReference(row[0], bool(row[1]), bool(row[2]))
    )


def aliases_of(session: Session, model: str) -> list[AliasRow]:
    return list(session.scalars(select(AliasRow).where(AliasRow.model == model).order_by(AliasRow.alias)))


def alias_named(session: Session, model: str, alias: str) -> AliasRow | None:
    return session.get(AliasRow, (model, alias))


def page(
    session: Session, model: str, after: int | None, limit: int, *, tag: str | None = None, text: str | None = None
) -> list[VersionRow]:
    """Versions newest first, those below number `after`; one more than `limit` says that there are others.

    Those alone that have `tag`, and `text` in label, description or a tag, capitals or not.
    """
    query = select(VersionRow).where(VersionRow.model == model, VersionRow.state != "deleted")
    if after is not None:
        # A cursor that a client made up may have more digits than versions have.
        query = query.where(VersionRow.number < literal(after, BigInteger))
    query = query.where(*notes.having(VersionRow, tag), *notes.containing(VersionRow, text, VersionRow.label))
    return list(session.scalars(query.order_by(VersionRow.number.desc()).limit(limit + 1)))


def ancestry(session: Session, model: str, number: int) -> list[VersionRow]:
    """The versions from the base's first child to `number`, in the order in which their deltas add up."""
    get(session, model, number)
    line = line_of(model, number)
    query = select(VersionRow).join(line, line.c.number == VersionRow.number).where(VersionRow.model == model)
    return list(session.scalars(query.order_by(VersionRow.number)))


class Step(NamedTuple):
    """A version of a lineage, and the blob of its delta."""

    number: int
    parent: int
    blob: str | None


def steps_above(session: Session, model: str, number: int, held: Collection[int]) -> list[Step]:
    """What is to be added to the nearest ancestor among `held`, or to the base, to come to `number`; eldest first."""
    get(session, model, number)
    line = line_of(model, number, held)
    query = select(VersionRow.number, VersionRow.parent, VersionRow.blob).where(VersionRow.model == model)
    query = query.join(line, line.c.number == VersionRow.number).order_by(VersionRow.number)
    return [Step(above, parent or 0, blob) for above, parent, blob in session.execute(query)]


def edits_of(session: Session, model: str, numbers: Sequence[int]) -> dict[int, str]:
    """The batches that made the versions `numbers`."""
    query = select(VersionRow.number, VersionRow.batch_id).where(VersionRow.model == model)
    found: dict[int, str] = {}
    for first in range(0, len(numbers), _IN_ONE_QUERY):
        some = query.where(VersionRow.number.in_(numbers[first : first + _IN_ONE_QUERY]))
        found |= {number: edit for number, edit in session.execute(some) if edit is not None}
    return found


def edits_and_reverts(session: Session, model: str, number: int, edits: Collection[str]) -> list[VersionRow]:
    """Of the lineage of `number` the versions that the batches `edits` made, and all that reverts made, in order."""
    get(session, model, number)
    line = line_of(model, number)
    query = select(VersionRow).join(line, line.c.number == VersionRow.number).where(VersionRow.model == model)
    query = query.join(BatchRow, BatchRow.id == VersionRow.batch_id)
    query = query.where(or_(BatchRow.kind == "revert", BatchRow.id.in_(list(edits))))
    return list(session.scalars(query.order_by(VersionRow.number)))


RESTATED: Final = "restated"
"""In a version's provenance: for each column that follows the batch's own in every layer, the earlier facts that it
writes again, [{"edit", "index"}, …] (docs/decisions/0039-rehearsal.md)."""
RestatedColumn = Sequence[tuple[str, int]]
"""The facts of such a column, (edit, index)."""


def restated_columns(session: Session, model: str, number: int) -> dict[str, list[RestatedColumn]]:
    """By edit of the lineage of version `number`, those that it has, in the order in which they follow its own."""
    line = line_of(model, number)
    query = select(VersionRow.batch_id, VersionRow.provenance[RESTATED])
    query = query.join(line, line.c.number == VersionRow.number).where(VersionRow.model == model)
    return {
        edit: [[(fact["edit"], fact["index"]) for fact in column] for column in columns]
        for edit, columns in session.execute(query)
        if columns and edit is not None
    }


def line_of(model: str, number: int, held: Collection[int] = ()) -> CTE:
    """The numbers from `number` down to the base's child, or to the child of the first of `held`, without either."""
    stop = sorted({0, *held})
    versions = select(VersionRow.number, VersionRow.parent).where(
        VersionRow.model == model, VersionRow.number.not_in(stop)
    )
    line = versions.where(VersionRow.number == number).cte("line", recursive=True)
    return line.union_all(versions.where(VersionRow.number == line.c.parent))


def alias_of_line(session: Session, batch: BatchRow, base: int) -> AliasRow | None:
    """The alias of the batch's line; None for a branch. Raises ParentMovedError where it does not point at `base`."""
    if batch.line is None:
        return None
    alias = session.get(AliasRow, (batch.model, batch.line))
    if alias is None or alias.version != base:
        alias_now = "is gone" if alias is None else f"points at {version_name(alias.version)}"
        raise ParentMovedError(
            f"alias {batch.line!r} was moved while the batch ran: it {alias_now}, the batch was made on "
            f"{version_name(base)}; submit it again, or send it to {batch.model}@{version_name(base)} as a branch"
        )
    return alias


def publish(session: Session, batch: BatchRow, new: NewVersion) -> VersionRow:
    """Give a checked batch its number, and move its line's alias, if that still points at the batch's parent.

    Where the alias demands approval it stays, and the move is asked for.

    Version row and alias are one transaction: call it inside `Database.writing()`.
    """
    assert batch.base_version is not None, "a batch has its parent from the moment it is planned"
    # First: a parent that nothing points at may be deleted by now.
    alias = alias_of_line(session, batch, batch.base_version)
    parent = get(session, batch.model, batch.base_version)
    asking, alias = (alias, None) if alias is not None and alias.approval else (None, alias)
    if alias is not None and alias.protected and not batch.moves_protected:
        raise AliasProtectedError(
            f"alias {batch.line!r} was protected while the batch ran; send it to "
            f"{batch.model}@{version_name(parent.number)} as a branch, or with the rights of an administrator"
        )
    model = models.get(session, batch.model)
    row = VersionRow(
        model=batch.model,
        number=model.next_version,
        parent=parent.number,
        batch_id=batch.id,
        algorithm=batch.algorithm,
        label=batch.label,
        facts=batch.facts,
        consolidates=batch.consolidates,
        total_facts=parent.total_facts + (-batch.facts if batch.kind == "revert" else batch.facts),
        layers=new.layers,
        rank=new.rank,
        blob=new.blob,
        matrix_blobs=dict(new.matrix_blobs),
        bytes=new.delta_bytes + new.matrix_bytes,
        delta_bytes=new.delta_bytes,
        matrix_bytes=new.matrix_bytes,
        matrix_hashes=dict(new.matrix_hashes),
        provenance=dict(new.provenance),
        metrics=dict(new.metrics),
        state="available",
        created_at=now(),
    )
    model.next_version += 1
    session.add(row)
    if alias is not None:
        alias.version = row.number
        alias.updated_at = now()
    session.flush()
    telling.version_published(session, row, batch.line)
    if alias is not None:
        telling.alias_moved(session, alias, parent.number, batch.id)
    sender = audit.sender(session, batch.model, batch.id, batch.caller or LOCAL)
    if asking is not None:
        alias_requests.ask(session, sender, asking, Change(row.number), edit=batch.id)
    audit.record(
        session,
        sender,
        "version.published",
        model=row.model,
        target=version_name(row.number),
        edit=batch.id,
        parent=version_name(parent.number),
        alias=batch.line,
    )
    session.flush()
    return row
