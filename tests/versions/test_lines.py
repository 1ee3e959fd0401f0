"""Batches of a line run one at a time in the order of acceptance; parents are pinned at the head."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from api_schemas.references import parse_reference
from tests.versions.conftest import FACT, Accept, publish
from versions import aliases, batches, lineage, lines, tasks
from versions.database import Database
from versions.errors import (
    AliasMovedError,
    AliasReservedError,
    ModelNotFoundError,
    ParentMovedError,
    QueueFullError,
    VersionNotFoundError,
)


def test_one_batch_of_a_line_runs_at_a_time_and_the_next_sees_its_version(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        first, second = accept(session), accept(session)
        assert [row.id for row in lines.advance(session)] == [first.id]
        assert lines.advance(session) == []
        assert (first.state, first.base_version, second.base_version) == ("planning", 0, None)
        assert [task.kind for task in tasks.of_batch(session, first.id, "plan")] == ["plan"]
        publish(session, first)
        assert [row.id for row in lines.advance(session)] == [second.id]
        assert second.base_version == 1
        assert publish(session, second).parent == 1


def test_urgent_batches_pass_those_that_wait(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        running = accept(session)
        lines.advance(session)
        waiting, urgent = accept(session), accept(session, urgent=True)
        publish(session, running)
        assert [row.id for row in lines.advance(session)] == [urgent.id]
        assert waiting.state == "queued"


def test_branches_run_beside_the_line_and_move_no_alias(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        line, branch = accept(session), accept(session, "tiny@v0")
        assert {row.id for row in lines.advance(session)} == {line.id, branch.id}
        assert publish(session, branch).number == 1
        assert lineage.resolve(session, parse_reference("tiny")).number == 0
        assert publish(session, line).number == 2
        assert lineage.resolve(session, parse_reference("tiny")).number == 2
        assert [row.number for row in lineage.ancestry(session, "tiny", 2)] == [2]


def test_a_rollback_while_a_batch_runs_keeps_it_from_publishing(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        for _ in range(2):
            batch = accept(session)
            lines.advance(session)
            publish(session, batch)
        running = accept(session)
        lines.advance(session)
        aliases.put(session, "tiny", "latest", 1, expected=2)
        with pytest.raises(ParentMovedError, match=r"points at v1.*made on v2"):
            publish(session, running)


def test_an_alias_moves_only_from_where_it_was_expected(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
        lines.advance(session)
        publish(session, batch)
        with pytest.raises(AliasMovedError, match="points at v1, not at v0"):
            aliases.put(session, "tiny", "latest", 0, expected=0)
        aliases.put(session, "tiny", "production", 1, expected=None)
        assert lineage.resolve(session, parse_reference("tiny@production")).number == 1
        with pytest.raises(AliasReservedError, match="version"):
            aliases.put(session, "tiny", "v7", 1, None)
        with pytest.raises(AliasReservedError, match="latest"):
            aliases.delete(session, "tiny", "latest")
        aliases.delete(session, "tiny", "production")
        with pytest.raises(VersionNotFoundError, match=r"no alias 'production'; its aliases: latest"):
            lineage.resolve(session, parse_reference("tiny@production"))


@pytest.mark.parametrize("ask", [lineage.resolve, lineage.meant])
def test_unknown_references_name_what_exists(database: Database, ask: Callable[..., object]) -> None:
    with database.reading() as session:
        with pytest.raises(ModelNotFoundError, match="known models: tiny"):
            ask(session, parse_reference("other"))
        with pytest.raises(VersionNotFoundError, match="v0 to v0"):
            ask(session, parse_reference("tiny@v3"))
        with pytest.raises(VersionNotFoundError, match=r"no alias 'production'; its aliases: latest"):
            ask(session, parse_reference("tiny@production"))


def test_a_reference_means_one_version(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
        lines.advance(session)
        publish(session, batch)
        aliases.put(session, "tiny", "production", 0, expected=None, protected=True, admin=True)
        for reference, version, protected in (
            ("tiny", 1, False),
            ("tiny@v0", 0, False),
            ("tiny@v1", 1, False),
            ("tiny@production", 0, True),
        ):
            assert lineage.meant(session, parse_reference(reference)) == (version, protected)
            assert lineage.resolve(session, parse_reference(reference)).number == version


def test_a_full_queue_refuses(database: Database, accept: Accept) -> None:
    new = batches.NewBatch(parse_reference("tiny"), "emmet", {}, {}, [FACT])
    with database.writing() as session:
        accept(session)
        with pytest.raises(QueueFullError, match="1 batches wait"):
            batches.accept(session, new, most_queued=1)


def test_a_batch_whose_branch_point_is_gone_fails_with_that_reason(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        aliases.put(session, "tiny", "staging", 0, None)
        batch = accept(session, "tiny@staging")
        aliases.delete(session, "tiny", "staging")
        assert lines.advance(session) == []
        assert batch.state == "failed"
        assert batch.error is not None
        assert "staging" in batch.error["detail"]
