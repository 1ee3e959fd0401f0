"""Descriptions and tags of models and versions: changing them, and finding what has them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from sqlalchemy import ColumnElement, Text, cast, or_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api_schemas.references import version_name
from store.access import audit
from store.access.audit import Actor
from store.errors import NotesChangedError
from store.schema.notes import Noted
from store.schema.tables import ModelRow, VersionRow

_PART_OF_TAG: Final = re.compile(r"[a-z0-9._:-]+")


class HasNotes(Protocol):
    """A row, or what is told of it."""

    @property
    def description(self) -> str | None: ...

    @property
    def tags(self) -> list[Any] | None: ...


def change(
    session: Session, actor: Actor, row: ModelRow | VersionRow, changes: Mapping[str, Any], expected: str | None
) -> None:
    """Set those of `description` and `tags` that `changes` names; `expected` is the etag that the caller has read.

    Raises NotesChangedError where somebody changed them since. The log says which tags there were and are, and of a
    description only its length: it may tell of people, and the log is kept for longer.
    """
    found = etag(row)
    if expected is not None and expected != found:
        raise NotesChangedError(
            f"If-Match {expected[:40]!r}: description or tags were changed since, they are {found!r} now; read them "
            "again and decide anew"
        )
    before, was = row.tags or [], row.description or ""
    if "description" in changes:
        row.description = changes["description"] or None
    if "tags" in changes:
        row.tags = sorted(set(changes["tags"] or ()))
    if etag(row) == found:
        return
    is_version = isinstance(row, VersionRow)
    audit.record(
        session,
        actor,
        "version.described" if is_version else "model.described",
        model=row.model if isinstance(row, VersionRow) else row.name,
        target=version_name(row.number) if isinstance(row, VersionRow) else row.name,
        tags=row.tags or [],
        tags_before=before,
        description_characters=len(row.description or ""),
        description_characters_before=len(was),
    )
    session.flush()


def etag(noted: HasNotes) -> str:
    """Another one whenever description or tags are."""
    text = json.dumps([noted.description, noted.tags or []])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def having(kind: type[Noted], tag: str | None) -> list[ColumnElement[bool]]:
    """Conditions on a row of `kind`: it has `tag`. A tag has no quotes in it, so it is itself in the list's JSON."""
    return [] if tag is None else [cast(kind.tags, Text).contains(f'"{tag}"', autoescape=True)]


def containing(
    kind: type[Noted], text: str | None, *others: InstrumentedAttribute[str | None]
) -> list[ColumnElement[bool]]:
    """Conditions on a row of `kind`: `text` is in its description, one of its tags, or one of the `others`."""
    if text is None:
        return []
    found = [column.icontains(text, autoescape=True) for column in (kind.description, *others)]
    if _PART_OF_TAG.fullmatch(text.lower()):  # what else the list's JSON holds is no text of anybody's
        found.append(cast(kind.tags, Text).contains(text.lower(), autoescape=True))
    return [or_(*found)]
