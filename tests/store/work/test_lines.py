"""Batches of a line run one at a time in the order of acceptance; parents are pinned at the head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from api_schemas.edits import EditState
from api_schemas.references import parse_reference
from store.errors import (
    AliasMovedError,
    AliasReservedError,
    ModelNotFoundError,
    ParentMovedError,
    QueueFullError,
    VersionNotFoundError,
)
from store.lineage import aliases
from store.lineage import versions as lineage
from store.schema.database import Database
from store.work import batches, lines, tasks
from tests.store.conftest import FACT, Accept, publish


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


LAYERS = {"layers": [1, 2]}


def test_an_urgent_batch_passes_one_that_is_not_being_solved_yet(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        large, waiting = accept(session, settings=LAYERS), accept(session, settings=LAYERS)
        lines.advance(session)
        batches.set_state(session, large, "optimising")
        first, second = (accept(session, urgent=True, settings={"layers": [layer]}) for layer in (1, 2))
        assert [row.id for row in lines.advance(session)] == [first.id]
        assert (first.base_version, large.base_version, lines.advance(session)) == (0, 0, [])

        assert publish(session, first).number == 1
        assert [row.id for row in lines.advance(session)] == [second.id]
        assert (second.base_version, publish(session, second).number) == (1, 2)
        assert lines.advance(session) == []
        with pytest.raises(ParentMovedError, match=r"points at v2.*made on v0"):
            publish(session, large)
        large.base_version = 2
        publish(session, large)
        assert [row.id for row in lines.advance(session)] == [waiting.id]


@pytest.mark.parametrize("state", ["solving", "checking"])
def test_nothing_passes_what_is_being_solved(database: Database, accept: Accept, state: EditState) -> None:
    with database.writing() as session:
        large = accept(session, settings=LAYERS)
        lines.advance(session)
        batches.set_state(session, large, state)
        urgent = accept(session, urgent=True, settings=LAYERS)
        assert lines.advance(session) == []
        publish(session, large)
        assert [row.id for row in lines.advance(session)] == [urgent.id]


@pytest.mark.parametrize(
    ("large", "urgent"),
    [
        ({"urgent": True, "settings": LAYERS}, {"settings": LAYERS}),
        ({"settings": LAYERS, "if_match": 0}, {"settings": LAYERS}),
        ({"settings": LAYERS}, {"settings": {"layers": [1, 3]}}),
        ({"settings": LAYERS}, {"settings": {"overrides": {}}}),
        ({"settings": {"overrides": {}}}, {"settings": LAYERS}),
    ],
    ids=["urgent itself", "wants its parent alone", "another layer", "layers not known", "own layers not known"],
)
def test_what_could_not_be_carried_over_is_not_passed(
    database: Database, accept: Accept, large: dict[str, Any], urgent: dict[str, Any]
) -> None:
    with database.writing() as session:
        running = accept(session, **large)
        lines.advance(session)
        waiting = accept(session, urgent=True, **urgent)
        assert lines.advance(session) == []
        publish(session, running)
        assert [row.id for row in lines.advance(session)] == [waiting.id]


def test_an_urgent_revert_passes_where_only_layers_of_the_running_edit_were_edited(
    database: Database, accept: Accept
) -> None:
    with database.writing() as session:
        edit = accept(session)
        lines.advance(session)
        version = publish(session, edit)
        running = accept(session, settings=LAYERS)
        lines.advance(session)
        revert = accept(session, urgent=True, reverts=[{"edit": edit.id, "facts": [0]}])
        version.matrix_hashes = {"1": "1" * 64, "3": "3" * 64}
        assert lines.advance(session) == []
        version.matrix_hashes = {"1": "1" * 64}
        assert [row.id for row in lines.advance(session)] == [revert.id]
        assert running.state == "planning"


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


def test_a_batch_that_expects_a_parent_fails_at_the_head_where_it_is_another(
    database: Database, accept: Accept
) -> None:
    with database.writing() as session:
        expecting = accept(session, if_match=0)
        passing = accept(session, urgent=True)
        assert [row.id for row in lines.advance(session)] == [passing.id]
        publish(session, passing)
        assert lines.advance(session) == []
        assert (expecting.state, expecting.base_version) == ("failed", None)
        assert expecting.error is not None
        assert expecting.error["code"] == "parent_moved"
        assert "If-Match v0: tiny@latest was moved to v1" in expecting.error["detail"]
        fresh = accept(session, if_match=1)
        assert [row.id for row in lines.advance(session)] == [fresh.id]
        assert publish(session, fresh).parent == 1


def test_a_parent_that_was_deleted_since_the_alias_left_it_has_moved(database: Database, accept: Accept) -> None:
    with database.writing() as session:
        batch = accept(session)
        lines.advance(session)
        publish(session, batch)
        running = accept(session)
        lines.advance(session)
        aliases.put(session, "tiny", "latest", 0, expected=1)
        lineage.get(session, "tiny", 1).state = "deleted"
        with pytest.raises(ParentMovedError, match="points at v0"):
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


@pytest.mark.parametrize("ask", [lineage.resolve, lineage.resolve_number])
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
            assert lineage.resolve_number(session, parse_reference(reference)) == lineage.ResolvedReference(
                version, protected
            )
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
