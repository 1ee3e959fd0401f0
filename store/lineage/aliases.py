"""Queries that move aliases. Rollback is moving one."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.edits import FINAL_STATES
from api_schemas.references import ALIAS_PATTERN, LATEST, version_name
from store.clock import now
from store.errors import (
    AliasApprovalError,
    AliasGuardedError,
    AliasLimitError,
    AliasMovedError,
    AliasProtectedError,
    AliasReservedError,
    VersionNotFoundError,
)
from store.lineage import models, telling
from store.lineage import versions as lineage
from store.lineage.alias_requests import Change
from store.schema.tables import AliasRow, BatchRow

MOST_ALIASES: Final = 100
"""Of a model: each is a series of metrics and an entry of every list of models."""


def put(
    session: Session,
    model: str,
    alias: str,
    version: int | None,
    expected: int | None,
    *,
    protected: bool | None = None,
    approval: bool | None = None,
    guard: dict[str, Any] | None = None,
    admin: bool = False,
    approved: bool = False,
) -> AliasRow:
    """Point `alias` at `version`; where `expected` is given, only if it points there now.

    None leaves the version, or the protection, as it is. Protecting, and moving what is protected, is an
    administrator's; what demands `approval`, which is protected too, is changed only where that was `approved`. Raises
    AliasReservedError, AliasMovedError, AliasProtectedError, AliasApprovalError, AliasLimitError, NotFoundError.
    None leaves the version, the protection or the guard as it is; {} takes the guard away. Whoever calls it holds the
    version against the guard. Protecting, and moving or guarding what is protected, is an administrator's. Raises
    AliasReservedError, AliasMovedError, AliasProtectedError, AliasGuardedError, AliasLimitError, NotFoundError.
    """
    protected, approval = _together(protected, approval)
    if not re.fullmatch(ALIAS_PATTERN, alias):
        raise AliasReservedError(
            f"{alias!r} cannot be an alias: use lower-case letters, digits, '.', '_' and '-', starting with a letter, "
            "and not the form of a version (v7)"
        )
    models.get(session, model)
    if version is not None:
        lineage.get(session, model, version)
    row = session.get(AliasRow, (model, alias))
    before = None if row is None else row.version
    if expected is not None and (row is None or row.version != expected):
        found = "does not exist" if row is None else f"points at {version_name(row.version)}"
        raise AliasMovedError(
            f"alias {alias!r} {found}, not at {version_name(expected)}; read it again and decide anew"
        )
    if row is not None and row.approval and not approved and Change(version, protected, approval).differs(row):
        raise AliasApprovalError(f"alias {alias!r} demands approval: ask for the change, and have another key approve")
    if row is not None and row.approval and guard is not None and guard != (row.guard or {}):
        raise AliasProtectedError(
            f"alias {alias!r} demands approval: its guard is changed once another key has approved that it demands none"
        )
    if not admin:
        _refuse_without_rights(row, alias, version, protected, approval)
        if guard is not None and row is not None and row.protected and guard != (row.guard or {}):
            raise AliasProtectedError(f"alias {alias!r} is protected: only an administrator changes its guard")
    if row is None:
        if version is None:
            raise VersionNotFoundError(f"model {model!r} has no alias {alias!r} yet; say which version it names")
        if len(lineage.aliases_of(session, model)) >= MOST_ALIASES:
            raise AliasLimitError(
                f"model {model!r} has {MOST_ALIASES} aliases, as many as it may have; delete one that nobody uses"
            )
        row = AliasRow(model=model, alias=alias, version=version, updated_at=now())
        session.add(row)
    elif version is not None:
        row.version, row.updated_at = version, now()
    if protected is not None:
        row.protected = protected
    if approval is not None:
        row.approval = approval
    if guard is not None:
        _check_may_be_guarded(session, row, guard)
        row.guard = guard or None
    session.flush()
    if row.version != before:
        telling.alias_moved(session, row, before)
    return row


def _together(protected: bool | None, approval: bool | None) -> tuple[bool | None, bool | None]:
    """Approval is for what is protected: demanded it protects, and without protection nothing demands it."""
    if approval:
        return True, True
    return (False, False) if protected is False else (protected, approval)


def _check_may_be_guarded(session: Session, row: AliasRow, guard: dict[str, Any]) -> None:
    """What edits move cannot wait for measurements that nobody has made yet."""
    if not guard:
        return
    if row.alias == LATEST:
        raise AliasReservedError("'latest' is moved by every edit of the model; guard another alias")
    waiting = select(BatchRow.id).where(
        BatchRow.model == row.model, BatchRow.line == row.alias, BatchRow.state.not_in(FINAL_STATES)
    )
    found = session.scalar(waiting.limit(1))
    if found is not None:
        raise AliasGuardedError(f"alias {row.alias!r}: edit {found} is under way and will move it; wait for its end")


def _refuse_without_rights(
    row: AliasRow | None, alias: str, version: int | None, protected: bool | None, approval: bool | None
) -> None:
    guarded = row is not None and row.protected
    if approval and not (row is not None and row.approval):
        raise AliasProtectedError(f"alias {alias!r}: only an administrator makes an alias demand approval")
    if protected is not None and protected != guarded:
        raise AliasProtectedError(f"alias {alias!r}: only an administrator protects an alias, or takes protection away")
    if row is not None and guarded and version not in (None, row.version):
        raise AliasProtectedError(
            f"alias {alias!r} is protected and stays at {version_name(row.version)}: only an administrator moves it"
        )


def delete(session: Session, model: str, alias: str, *, admin: bool = False) -> None:
    if alias == LATEST:
        raise AliasReservedError("'latest' is what a model's bare name means; it can be moved but not deleted")
    models.get(session, model)
    row = session.get(AliasRow, (model, alias))
    if row is None:
        known = ", ".join(other.alias for other in lineage.aliases_of(session, model))
        raise VersionNotFoundError(f"model {model!r} has no alias {alias!r}; its aliases: {known}")
    if row.approval:
        raise AliasApprovalError(
            f"alias {alias!r} demands approval and is not deleted; ask for `approval: false` first, which another key "
            "approves"
        )
    if row.protected and not admin:
        raise AliasProtectedError(f"alias {alias!r} is protected: only an administrator deletes it")
    session.delete(row)
