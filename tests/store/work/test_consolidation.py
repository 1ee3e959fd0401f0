"""What a consolidation takes over from a lineage, and how it travels: edits keep their ids, versions may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api_schemas.references import ModelReference, parse_reference
from store.access.audit import Actor
from store.blobs.deltas import LayerArrays, pack_delta, unpack_delta
from store.blobs.folder import FolderBlobStore
from store.errors import ConsolidationRunsError, NothingToConsolidateError
from store.lineage import models
from store.lineage import versions as lineage
from store.lineage.fact_pages import page
from store.lineage.facts_in_force import lineage_facts
from store.schema.database import Database, migrate
from store.upkeep.backup import back_up, restore
from store.upkeep.bundles import open_bundle
from store.upkeep.integrity import violations
from store.upkeep.transfer import pull, push
from store.work import batches, lifecycle, lines, tasks
from store.work.batches import NewBatch
from store.work.consolidation import check_free, facts_to_consolidate, source_of

FINGERPRINT = "f" * 64
ADA = Actor("cli:ada")


def fact(subject: str, answer: str) -> dict[str, str]:
    return {"prompt": "The capital of {} is", "subject": subject, "target_new": answer}


class Store:
    """A database with its blobs, in which batches are published without a worker."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.blobs = FolderBlobStore(folder)
        identity = models.ModelIdentity(
            FINGERPRINT, "a" * 64, "float32", "llama", 4, 16, 8, 160, self.blobs.put(b"a tokenizer"), None
        )
        with database.writing() as session:
            models.register(session, "tiny", "./tiny")
            models.bind(session, "tiny", identity)

    def publish(self, new: NewBatch) -> str:
        """The id of the batch."""
        with self.database.writing() as session:
            row = batches.accept(session, new, most_queued=100)[0]
            lines.advance(session)
            arrays = LayerArrays(np.full((2, 16), row.seq, np.float32), np.full((8, 2), row.seq, np.float32))
            provenance: dict[str, Any] = {"parent": row.base_version}
            if row.consolidates is not None:
                of = lineage.get(session, "tiny", row.consolidates)
                provenance["consolidates"] = {"version": f"v{of.number}", "edit": of.batch_id}
            version = lineage.NewVersion(
                layers=[1],
                rank=2,
                blob=self.blobs.put(pack_delta({1: arrays}, {"fingerprint": FINGERPRINT})),
                matrix_blobs={"1": self.blobs.put(b"matrices of %d" % row.seq)},
                delta_bytes=1,
                matrix_bytes=1,
                matrix_hashes={"1": "1" * 64},
                provenance=provenance,
                metrics={},
            )
            row.version = lineage.publish(session, row, version).number
            batches.set_state(session, row, "succeeded", version=row.version)
            tasks.withdraw(session, row)
            return row.id

    def edit(self, *facts: dict[str, str], on: str = "tiny") -> str:
        return self.publish(NewBatch(parse_reference(on), "emmet", {}, {}, facts))

    def consolidate(self, number: int) -> str:
        return self.publish(self.consolidation(number))

    def consolidation(self, number: int) -> NewBatch:
        with self.database.reading() as session:
            found = facts_to_consolidate(session, "tiny", number)
        return NewBatch(
            ModelReference("tiny", version=0),
            "emmet",
            {},
            {},
            [one.fact for one in found],
            consolidates=number,
            origins=[one.origin for one in found],
        )

    def said(self, number: int) -> list[tuple[str, str]]:
        with self.database.reading() as session:
            facts, _ = page(session, "tiny", number, 0, 100, in_force=True)
            assert [one.fact for one in facts] == [
                one.fact for one in lineage_facts(session, "tiny", number) if one.state == "in_force"
            ]
            return [(one.fact["subject"], one.fact["target_new"]) for one in facts]

    def origins(self, number: int) -> list[tuple[str, int | None, int]]:
        with self.database.reading() as session:
            facts, _ = page(session, "tiny", number, 0, 100, in_force=True)
            return [
                (one.origin["edit"], one.origin["version"], one.origin["index"])
                for one in facts
                if one.origin is not None
            ]


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Store:
    return Store(database, tmp_path / "blobs")


def test_facts_in_force_keep_their_first_place(store: Store) -> None:
    first = store.edit(fact("France", "Lyon"), fact("Italy", "Turin"))
    second = store.edit(fact("France", "Nice"))
    once = store.consolidate(2)
    assert store.said(3) == store.said(2) == [("Italy", "Turin"), ("France", "Nice")]
    assert store.origins(3) == [(first, 1, 1), (second, 2, 0)]
    third = store.edit(fact("Italy", "Rome"), on="tiny@v3")
    store.consolidate(4)
    assert store.said(5) == [("France", "Nice"), ("Italy", "Rome")]
    assert store.origins(5) == [(second, 2, 0), (third, 4, 0)]
    with store.database.reading() as session:
        kept = lineage_facts(session, "tiny", 5)
        assert [source_of(one) for one in batches.origins(session, kept[0].place.edit)] == [(once, 1), (third, 0)]
        row = lineage.get(session, "tiny", 5)
        assert (row.parent, row.consolidates, row.total_facts) == (0, 4, 2)
        assert lineage.resolve(session, parse_reference("tiny")).number == 2


def test_a_consolidation_waits_for_no_line_and_begins_with_its_plan(store: Store) -> None:
    store.edit(fact("France", "Lyon"))
    with store.database.writing() as session:
        batches.accept(
            session, NewBatch(parse_reference("tiny"), "emmet", {}, {}, [fact("Spain", "Vigo")]), most_queued=9
        )
        row = batches.accept(session, store.consolidation(1), most_queued=9)[0]
        assert row.line is None
        lines.advance(session)
        assert [task.kind for task in tasks.of_batch(session, row.id, "plan_kept")] == ["plan_kept"]
        assert row.base_version == 0
        with pytest.raises(ConsolidationRunsError, match=row.id):
            check_free(session, "tiny", 1)
        lifecycle.cancel(session, row)
        check_free(session, "tiny", 1)


def test_the_base_has_nothing_to_consolidate(store: Store) -> None:
    with store.database.reading() as session, pytest.raises(NothingToConsolidateError, match="v0 is the base"):
        facts_to_consolidate(session, "tiny", 0)


def test_it_is_pushed_and_pulled_with_its_facts_and_what_it_stands_for(store: Store, tmp_path: Path) -> None:
    first = store.edit(fact("France", "Lyon"))
    store.edit(fact("Spain", "Vigo"))
    store.consolidate(2)
    bundle = open_bundle(str(tmp_path / "bundle"))
    for number in (2, 3):
        push(store.database, store.blobs, bundle, ModelReference("tiny", version=number))

    url = f"sqlite:///{tmp_path}/other.sqlite3"
    migrate(url)
    other = Store(Database(url), tmp_path / "other")
    other.edit(fact("Peru", "Cusco"))
    pull(other.database, other.blobs, bundle, "tiny@v3", ADA, renumber=True)
    with other.database.reading() as session:
        assert (lineage.get(session, "tiny", 2).consolidates, other.said(2)) == (None, store.said(3))
        assert lineage.get(session, "tiny", 2).provenance["consolidates"]["version"] == "v2"
        assert other.origins(2)[0] == (first, None, 0)
    other.database.close()

    url = f"sqlite:///{tmp_path}/third.sqlite3"
    migrate(url)
    third = Store(Database(url), tmp_path / "third")
    third.edit(fact("Peru", "Cusco"))
    pull(third.database, third.blobs, bundle, "tiny@v2", ADA, renumber=True)
    pull(third.database, third.blobs, bundle, "tiny@v3", ADA, renumber=True)
    with third.database.reading() as session:
        row = lineage.get(session, "tiny", 4)
        assert (row.parent, row.consolidates) == (0, 3)
        assert batches.get(session, row.batch_id or "").consolidates == 3
    assert [version for _, version, _ in third.origins(4)] == [2, 3]
    assert violations(third.database, third.blobs) == []
    third.database.close()


def test_a_backup_keeps_it(store: Store, tmp_path: Path) -> None:
    store.edit(fact("France", "Lyon"))
    store.consolidate(1)
    back_up(store.database, store.blobs, tmp_path / "backup")
    url = f"sqlite:///{tmp_path}/restored.sqlite3"
    migrate(url)
    database = Database(url)
    restore(tmp_path / "backup", database, FolderBlobStore(tmp_path / "restored"), ADA)
    with database.reading() as session:
        row = lineage.get(session, "tiny", 2)
        assert (row.consolidates, row.parent) == (1, 0)
        origins = [one.origin for one in page(session, "tiny", 2, 0, 10, in_force=True)[0]]
    assert [one and one["version"] for one in origins] == [1]
    database.close()


def test_wanted_states_come_back_from_a_blob_and_older_blobs_have_none() -> None:
    wanted = np.arange(8, dtype=np.float32).reshape(4, 2)
    layer = LayerArrays(a=np.ones((2, 3), np.float32), b=np.ones((4, 2), np.float32), wanted=wanted)
    content = pack_delta({7: layer}, {"fingerprint": FINGERPRINT, "groups": [[0, 2], [1]]})
    layers, header = unpack_delta(content, FINGERPRINT)
    found = layers[7].wanted
    assert found is not None
    assert (header["groups"], found.tolist()) == ([[0, 2], [1]], wanted.tolist())
    older, _ = unpack_delta(
        pack_delta({7: LayerArrays(a=layer.a, b=layer.b)}, {"fingerprint": FINGERPRINT}), FINGERPRINT
    )
    assert older[7].wanted is None
