"""The audit log commits with the change that it tells of, or not at all."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import update

from store.access import audit
from store.access.audit import Actor
from store.clock import now
from store.lineage import models
from store.schema.access_tables import AuditRow
from store.schema.database import Database
from store.upkeep.retention import RetentionPolicy, apply
from store.work import lines
from tests.store.conftest import Accept, publish

ADA = Actor("emk_1", "ada's", "192.0.2.1")


def test_an_entry_says_who_from_where_when_and_what(database: Database) -> None:
    with database.writing() as session:
        audit.record(session, ADA, "alias.moved", model="tiny", target="latest", before="v0", after="v1")
    with database.reading() as session:
        row = audit.page(session, None, 1)[0]
    assert (row.actor, row.label, row.address) == ("emk_1", "ada's", "192.0.2.1")
    assert (row.action, row.model, row.target) == ("alias.moved", "tiny", "latest")
    assert row.details == {"before": "v0", "after": "v1"}
    assert row.at.tzinfo is not None


def test_what_is_rolled_back_was_not_done(database: Database) -> None:
    def broken_off() -> None:
        with database.writing() as session:
            models.register(session, "other", "a folder")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken_off()
    with database.reading() as session:
        assert [row.model for row in audit.page(session, None, 10)] == ["tiny"]


def test_a_model_is_registered_once(database: Database) -> None:
    with database.writing() as session:
        models.register(session, "tiny", "./tiny", ADA)
        models.register(session, "other", "./other", ADA)
    with database.reading() as session:
        found = audit.page(session, None, 10, action="model.registered")
    assert [(row.model, row.actor) for row in found] == [("other", "emk_1"), ("tiny", "emmetd")]


def test_a_published_version_is_its_submitters_change(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session, caller="emk_1")
        lines.advance(session)
        publish(session, batch)
    with database.reading() as session:
        (row,) = audit.page(session, None, 10, action="version.published")
    assert (row.actor, row.model, row.target) == ("emk_1", "tiny", "v1")
    assert row.details == {"edit": batch.id, "parent": "v0", "alias": "latest"}


@pytest.mark.parametrize("kind", ["edit", "revert", "consolidation"])
def test_a_published_version_says_from_where_its_batch_came(database: Database, accept: Accept, kind: str) -> None:
    with database.writing() as session:
        batch = accept(session, caller=ADA.id)
        audit.record(session, ADA, f"{kind}.accepted", model="tiny", target=batch.id)
        audit.record(session, Actor("emk_2", "eve's"), "edit.cancelled", model="tiny", target=batch.id)
        lines.advance(session)
        publish(session, batch)
    with database.reading() as session:
        (row,) = audit.page(session, None, 10, action="version.published")
    assert Actor(row.actor, row.label, row.address) == ADA


def test_pages_are_newest_first_and_narrowed(database: Database) -> None:
    with database.writing() as session:
        for number in range(5):
            audit.record(session, ADA, "edit.accepted", model="ab"[number % 2], target=str(number))
        audit.record(session, ADA, "key.created", target="k")
    with database.reading() as session:
        first = audit.page(session, None, 2, models=["a"])
        assert [row.target for row in first] == ["4", "2", "0"]
        assert [row.target for row in audit.page(session, first[1].id, 2, models=["a"])] == ["0"]
        assert [row.target for row in audit.page(session, None, 9, actor="emk_1", action="key.created")] == ["k"]
        assert audit.page(session, None, 9, models=[]) == []


def test_old_entries_go_in_portions_and_only_where_a_policy_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PRUNED_AT_ONCE", 2)
    with database.writing() as session:
        for number in range(6):
            audit.record(session, ADA, "alias.moved", target=str(number))
        session.flush()
        session.execute(update(AuditRow).where(AuditRow.target < "5").values(at=now() - timedelta(days=40)))
    month = RetentionPolicy(audit=timedelta(days=30))

    assert apply(database, RetentionPolicy(versions=timedelta(days=1)), ADA, execute=True).audit_entries == 0
    assert apply(database, month, ADA, execute=False).audit_entries == 5
    assert apply(database, month, ADA, execute=True).audit_entries == 5

    with database.reading() as session:
        rows = [row for row in audit.page(session, None, 99) if row.action != "model.registered"]
    assert [(row.action, row.target, row.details.get("entries")) for row in rows] == [
        ("audit.pruned", None, 1),
        ("audit.pruned", None, 2),
        ("audit.pruned", None, 2),
        ("alias.moved", "5", None),
    ]
    assert apply(database, month, ADA, execute=True).audit_entries == 0, "once is enough, and nothing is written of it"
    with database.reading() as session:
        assert len(audit.page(session, None, 99, action="audit.pruned")) == 3
