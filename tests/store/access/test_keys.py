"""API keys: shown once, kept as a hash, and known again only as a whole."""

from __future__ import annotations

from datetime import timedelta

import pytest

from store.access import audit, keys
from store.access.audit import Actor
from store.access.keys import KeyLimits
from store.clock import now
from store.errors import KeyNotFoundError
from store.schema.access_tables import KeyRow
from store.schema.database import Database

SOMEBODY = Actor("cli:ada", None, None)


def test_a_key_is_found_by_its_whole_text_alone(database: Database) -> None:
    with database.writing() as session:
        row, text = keys.create(session, SOMEBODY, label="notebook", scopes=["generate"])
        other, _ = keys.create(session, SOMEBODY, label="other", scopes=["generate"])
    assert text.startswith(f"{row.id}_")
    secret = text.removeprefix(f"{row.id}_")
    with database.reading() as session:
        found = keys.find(session, text)
        assert found is not None
        assert (found.id, found.label) == (row.id, "notebook")
        for wrong in ("", row.id, secret, f"{other.id}_{secret}", text[:-1], text + "x", text.upper(), f" {text}", "é"):
            assert keys.find(session, wrong) is None


def test_what_is_kept_does_not_give_the_key_back(database: Database) -> None:
    with database.writing() as session:
        row, text = keys.create(session, SOMEBODY, label="notebook", scopes=["edit"], models=["tiny"])
    secret = text.removeprefix(f"{row.id}_")
    with database.reading() as session:
        stored = session.get(KeyRow, row.id)
        assert stored is not None
        values = [str(getattr(stored, column.key)) for column in KeyRow.__table__.columns]
        (entry,) = audit.page(session, None, 10, action="key.created")
        assert not [value for value in [*values, str(entry.details)] if secret in value]


def test_limits_expiry_and_grants_come_back_as_they_were_given(database: Database) -> None:
    expiry = now() + timedelta(days=1)
    with database.writing() as session:
        keys.create(session, SOMEBODY, label="a", scopes=["edit"], models=["tiny"], expires_at=expiry)
        keys.create(session, SOMEBODY, label="b", scopes=["admin"], limits=KeyLimits(facts_per_day=0))
    with database.reading() as session:
        found = {row.label: row for row in keys.all_keys(session)}
    assert (found["a"].models, found["a"].expires_at, found["a"].facts_per_day) == (["tiny"], expiry, None)
    assert (found["b"].models, found["b"].expires_at, found["b"].facts_per_day) == (None, None, 0)
    assert found["a"].created_by == "cli:ada"


def test_revoking_is_for_ever_and_told_once(database: Database) -> None:
    with database.writing() as session:
        row, text = keys.create(session, SOMEBODY, label="a", scopes=["edit"])
        moment = keys.revoke(session, SOMEBODY, row.id).revoked_at
    with database.writing() as session:
        assert keys.revoke(session, SOMEBODY, row.id).revoked_at == moment
        found = keys.find(session, text)
        assert found is not None
        assert found.revoked_at == moment
        assert len(audit.page(session, None, 10, action="key.revoked")) == 1
        with pytest.raises(KeyNotFoundError, match="emk_none"):
            keys.revoke(session, SOMEBODY, "emk_none")


def test_use_is_noted_once_in_a_while(database: Database) -> None:
    with database.writing() as session:
        row, _ = keys.create(session, SOMEBODY, label="a", scopes=["edit"])
        assert not keys.is_used(row)
        keys.mark_used(session, row.id)
    with database.writing() as session:
        first = session.get_one(KeyRow, row.id)
        moment = first.last_used_at
        assert moment is not None
        assert keys.is_used(first)
        keys.mark_used(session, row.id)
        session.expire_all()
        assert session.get_one(KeyRow, row.id).last_used_at == moment
        first.last_used_at = moment - 2 * keys.USED_PRECISION
        session.flush()
        assert not keys.is_used(first)
        keys.mark_used(session, row.id)
        session.expire_all()
        assert (session.get_one(KeyRow, row.id).last_used_at or now()) >= moment
