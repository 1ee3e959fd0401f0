"""A protected alias is moved by an administrator alone, whichever way it would move."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from store.errors import AliasProtectedError, VersionNotFoundError
from store.lineage import aliases
from store.schema.database import Database
from store.schema.tables import AliasRow
from store.work import lines
from tests.store.conftest import Accept, publish


def version(session: Session, accept: Accept) -> None:
    batch = accept(session)
    lines.advance(session)
    publish(session, batch)


def test_only_an_administrator_protects_moves_and_deletes(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        version(session, accept)
        aliases.put(session, "tiny", "production", 1, None)
        with pytest.raises(AliasProtectedError, match="only an administrator protects"):
            aliases.put(session, "tiny", "production", None, None, protected=True)
        aliases.put(session, "tiny", "production", None, None, protected=True, admin=True)
        with pytest.raises(AliasProtectedError, match="stays at v1"):
            aliases.put(session, "tiny", "production", 0, expected=1)
        with pytest.raises(AliasProtectedError, match="takes protection away"):
            aliases.put(session, "tiny", "production", 0, None, protected=False)
        with pytest.raises(AliasProtectedError, match="deletes it"):
            aliases.delete(session, "tiny", "production")
        row = aliases.put(session, "tiny", "production", 0, expected=1, admin=True)
        assert (row.version, row.protected) == (0, True)
        aliases.put(session, "tiny", "production", None, None, protected=False, admin=True)
        aliases.put(session, "tiny", "production", 1, None)
        aliases.delete(session, "tiny", "production")


def test_setting_a_protected_alias_to_where_it_stands_moves_nothing(database: Database) -> None:
    with database.writing() as session:
        aliases.put(session, "tiny", "production", 0, None, protected=True, admin=True)
        assert aliases.put(session, "tiny", "production", 0, None, protected=True).protected


def test_protecting_what_does_not_exist_says_so(database: Database) -> None:
    with database.writing() as session, pytest.raises(VersionNotFoundError, match="no alias 'production' yet"):
        aliases.put(session, "tiny", "production", None, None, protected=True, admin=True)


def test_a_batch_on_a_protected_alias_needs_the_right_to_move_it(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        aliases.put(session, "tiny", "latest", None, None, protected=True, admin=True)
        with pytest.raises(AliasProtectedError, match=r"tiny@v0 as a branch"):
            accept(session)
        accept(session, "tiny@v0")
        accept(session, dry_run=True)
        allowed = accept(session, moves_protected=True)
        allowed.urgent = True
        lines.advance(session)
        publish(session, allowed)
        row = session.get(AliasRow, ("tiny", "latest"))
        assert row is not None
        assert row.version == 1


def test_an_alias_protected_while_a_batch_runs_stays(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
        lines.advance(session)
        aliases.put(session, "tiny", "latest", None, None, protected=True, admin=True)
        with pytest.raises(AliasProtectedError, match="was protected while the batch ran"):
            publish(session, batch)
