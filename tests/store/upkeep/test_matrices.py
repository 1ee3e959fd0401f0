"""Retention of matrices: what may go, what must stay, and what is counted where."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from store.access.audit import Actor
from store.clock import now
from store.lineage import aliases
from store.lineage import versions as lineage
from store.lineage.versions import EXACT_LAYERS
from store.schema.database import Database
from store.upkeep.retention import RetentionPolicy, apply
from tests.store.conftest import Accept

ADA = Actor("cli:ada")
DAY = timedelta(days=1)


def publish(session: Session, accept: Accept, number: int, blobs: dict[str, str], exact: list[int], added: int) -> None:
    """Version `number`, two days old, that names `blobs` (by layer, one digit each) and added `added` bytes of them."""
    batch = accept(session, "tiny")
    batch.base_version = number - 1
    row = lineage.publish(
        session,
        batch,
        lineage.NewVersion(
            layers=[1],
            rank=1,
            blob=f"{number:064d}",
            matrix_blobs={layer: digit * 64 for layer, digit in blobs.items()},
            delta_bytes=10,
            matrix_bytes=added,
            matrix_hashes=dict.fromkeys(blobs, "f" * 64),
            provenance={EXACT_LAYERS: exact},
            metrics={},
        ),
    )
    assert row.number == number
    row.created_at = now() - 2 * DAY
    batch.state = "succeeded"


@pytest.fixture
def line(database: Database, accept: Accept) -> Database:
    """v1 edits layer 1, v2 layer 2, v3 layer 1 again, v4 and v5 layer 2; `named` points at v4."""
    with database.writing() as session:
        publish(session, accept, 1, {"1": "a"}, [1], 100)
        publish(session, accept, 2, {"1": "a", "2": "b"}, [1, 2], 100)
        publish(session, accept, 3, {"1": "c", "2": "b"}, [1, 2], 100)
        publish(session, accept, 4, {"1": "c", "2": "d"}, [1, 2], 100)
        publish(session, accept, 5, {"1": "c", "2": "e"}, [1, 2], 100)
        aliases.put(session, "tiny", "named", 4, expected=None)
    return database


def applied(database: Database, keep: int = 1, age: timedelta = DAY, *, execute: bool = True) -> list[int]:
    policy = RetentionPolicy(matrices=age, keep_versions=keep)
    return [number for _, number in apply(database, policy, ADA, execute=execute).matrices]


def matrices(database: Database) -> dict[int, tuple[str, int | None, int]]:
    """Number → the digits of the blobs that it names, and the bytes that it counts."""
    with database.reading() as session:
        rows = [lineage.get(session, "tiny", number) for number in range(1, 6)]
    return {
        row.number: ("".join(name[0] for name in (row.matrix_blobs or {}).values()), row.matrix_bytes, row.bytes)
        for row in rows
    }


def test_those_that_no_alias_points_at_go_but_for_the_newest(line: Database) -> None:
    before = matrices(line)
    assert applied(line, execute=False) == [1, 2, 3]
    assert matrices(line) == before
    assert applied(line) == [1, 2, 3]
    assert matrices(line) == {
        1: ("", 0, 10),
        2: ("", 0, 10),
        3: ("", 0, 10),
        4: ("cd", 200, 210),  # which shares "c" with v3 and is the first to name it now
        5: ("ce", 100, 110),
    }
    assert applied(line) == []


def test_those_of_the_newest_and_of_young_versions_stay(line: Database) -> None:
    assert applied(line, keep=4) == [1]
    assert applied(line, age=3 * DAY) == []


def test_layers_whose_bits_may_be_another_machines_stay(line: Database) -> None:
    with line.writing() as session:
        for number in (2, 3):
            row = lineage.get(session, "tiny", number)
            row.provenance = {EXACT_LAYERS: [2] if number == 2 else []}
    assert applied(line) == [1, 2]
    assert {number: found for number, (found, _, _) in matrices(line).items()} == {
        1: "", 2: "a", 3: "cb", 4: "cd", 5: "ce"
    }  # fmt: skip


def test_steps_end_at_the_nearest_that_is_held(line: Database) -> None:
    with line.reading() as session:
        whole = lineage.steps_above(session, "tiny", 4, ())
        assert [(step.number, step.parent) for step in whole] == [(1, 0), (2, 1), (3, 2), (4, 3)]
        assert whole[1].blob == f"{2:064d}"
        assert [step.number for step in lineage.steps_above(session, "tiny", 4, (1, 2, 5))] == [3, 4]
        assert lineage.steps_above(session, "tiny", 4, (4,)) == []
        assert [row.number for row in lineage.ancestry(session, "tiny", 4)] == [1, 2, 3, 4]
        edit = lineage.get(session, "tiny", 2).batch_id
        assert edit is not None
        assert [row.number for row in lineage.edits_and_reverts(session, "tiny", 4, [edit])] == [2]
        assert lineage.edits_and_reverts(session, "tiny", 1, [edit]) == []
