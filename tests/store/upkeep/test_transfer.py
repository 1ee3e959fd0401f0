"""Versions travel by bundle: rows, facts and blobs of a whole lineage, or nothing at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.references import parse_reference
from store.access.audit import Actor
from store.blobs.deltas import LayerArrays, pack_delta
from store.blobs.folder import FolderBlobStore
from store.errors import (
    BlobCorruptError,
    BlobMissingError,
    BundleCorruptError,
    BundleNotFoundError,
    FingerprintConflictError,
    NameClashError,
    StoreError,
    VersionNotFoundError,
)
from store.lineage import models, notes
from store.lineage import versions as lineage
from store.lineage.facts_in_force import lineage_facts
from store.lineage.versions import NewVersion
from store.schema.access_tables import AuditRow
from store.schema.database import Database
from store.upkeep import deletion, integrity
from store.upkeep.bundles import Bundle, open_bundle
from store.upkeep.transfer import Transferred, pull, push
from store.work import batches, events, lifecycle, lines
from store.work.kinds import EDIT
from tests.support.s3_server import Bucket

FINGERPRINT = "f" * 64
ACTOR = Actor("cli:ada")


@dataclass
class Store:
    database: Database
    blobs: FolderBlobStore

    def bind(self, name: str = "tiny", fingerprint: str = FINGERPRINT) -> None:
        identity = models.ModelIdentity(
            fingerprint=fingerprint,
            tokenizer_fingerprint="a" * 64,
            dtype="float32",
            model_type="llama",
            n_layers=4,
            d_in=16,
            d_out=8,
            context_length=160,
            tokenizer_blob=self.blobs.put(b"a tokenizer"),
            chat_template=None,
        )
        with self.database.writing() as session:
            models.register(session, name, "./tiny")
            models.bind(session, name, identity)

    def edit(self, seed: int, on: str = "tiny", reverts: list[dict[str, Any]] | None = None) -> str:
        """A version whose delta is made from `seed`; the id of its edit."""
        random = np.random.default_rng(seed)
        arrays = LayerArrays(*(random.normal(size=shape).astype(np.float32) for shape in ((2, 16), (8, 2))))
        facts = [{"prompt": "{} is", "subject": f"subject {seed}", "target_new": "new"}]
        new = batches.NewBatch(parse_reference(on), "emmet", {"overrides": {}}, {"EM": 0.5}, facts, reverts=reverts)
        with self.database.writing() as session:
            row = batches.accept(session, new, most_queued=100)[0]
            lines.advance(session)
            version = NewVersion(
                layers=[1],
                rank=2,
                blob=self.blobs.put(pack_delta({1: arrays}, {"fingerprint": FINGERPRINT, "seed": seed})),
                matrix_blobs={"1": self.blobs.put(b"matrices of %d" % seed)},
                delta_bytes=seed,
                matrix_bytes=0,
                matrix_hashes={"1": "1" * 64},
                provenance={"parent": row.base_version, "seed": seed},
                metrics={"drift": {"value": 1.0, "n": 3}},
            )
            row.version = lineage.publish(session, row, version).number
            batches.set_state(session, row, "succeeded", version=row.version)
            return row.id

    def said(self, number: int, name: str = "tiny") -> list[tuple[str, str]]:
        with self.database.reading() as session:
            return [(one.fact["subject"], one.state) for one in lineage_facts(session, name, number)]

    def push(self, bundle: Bundle, reference: str) -> Transferred:
        return push(self.database, self.blobs, bundle, parse_reference(reference))

    def pull(self, bundle: Bundle, reference: str, **options: Any) -> Transferred:
        return pull(self.database, self.blobs, bundle, reference, ACTOR, **options)

    def violations(self) -> list[str]:
        return integrity.violations(self.database, self.blobs)

    def rows(self) -> dict[str, Any]:
        """Everything that a pull writes, to see that it wrote nothing."""
        with self.database.reading() as session:
            return {
                "models": [row.name for row in models.all_models(session)],
                "batches": [row.id for row in lifecycle.page(session, EDIT, None, None, 100)],
                "audit": len(list(session.scalars(select(AuditRow)))),
            }


@pytest.fixture
def stores(_migrated_database: Path, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """One with v1, v2 and v4 (a revert of v1's fact) in line and v3, a branch of v1; and one without anything."""
    made = []
    for name in ("here", "there"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copyfile(_migrated_database, folder / "db.sqlite3")
        made.append(Store(Database(f"sqlite:///{folder}/db.sqlite3"), FolderBlobStore(folder / "blobs")))
    here = made[0]
    here.bind()
    first = here.edit(1)
    here.edit(2)
    here.edit(3, on="tiny@v1")
    here.edit(4, reverts=[{"edit": first, "facts": [0]}])
    yield made[0], made[1]
    for store in made:
        store.database.close()


@pytest.fixture(params=["folder", "s3"])
def bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Bundle:
    if request.param == "folder":
        return open_bundle(str(tmp_path / "bundle"))
    bucket: Bucket = request.getfixturevalue("bucket")
    return open_bundle(bucket.url, bucket.access)


def version(session: Session, number: int, name: str = "tiny") -> dict[str, Any]:
    row = lineage.get(session, name, number)
    return {column.key: getattr(row, column.key) for column in row.__table__.columns if column.key != "model"}


def test_a_version_arrives_with_its_lineage(stores: tuple[Store, Store], bundle: Bundle) -> None:
    here, there = stores
    assert here.push(bundle, "tiny@v2").versions == (1, 2)
    assert bundle.versions() == ["tiny@v2"]
    moved = there.pull(bundle, "tiny@v2")

    assert (moved.target, moved.versions, moved.blobs) == ("tiny@v2", (1, 2), 5)
    assert there.said(2) == here.said(2) == [("subject 1", "in_force"), ("subject 2", "in_force")]
    with here.database.reading() as one, there.database.reading() as other:
        for number in (1, 2):
            assert version(one, number) == version(other, number)
            batch = lineage.get(one, "tiny", number).batch_id or ""
            told = [[(event.kind, event.data) for event in events.after(each, batch, 0)] for each in (one, other)]
            assert told[0] == told[1] != []
        model = models.get(other, "tiny")
        assert (model.fingerprint, model.context_length, model.next_version) == (FINGERPRINT, 160, 3)
        assert lineage.resolve(other, parse_reference("tiny")).number == 0
        (entry,) = other.scalars(select(AuditRow).where(AuditRow.action == "version.pulled"))
        assert (entry.actor, entry.target, entry.details["versions"]) == ("cli:ada", "tiny@v2", ["v1", "v2"])
    assert there.violations() == []
    there.bind()  # a worker that loaded the same model is welcome
    there.edit(9)
    assert there.violations() == []


def test_descriptions_and_tags_travel_and_what_is_written_here_stays(
    stores: tuple[Store, Store], tmp_path: Path
) -> None:
    here, there = stores
    with here.database.writing() as session:
        notes.change(session, ACTOR, models.get(session, "tiny"), {"description": "a model", "tags": ["m"]}, None)
        notes.change(
            session, ACTOR, lineage.get(session, "tiny", 1), {"description": "first", "tags": ["b", "a"]}, None
        )
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@v2")
    there.pull(bundle, "tiny@v2")

    with there.database.reading() as session:
        model, first, second = models.get(session, "tiny"), *(lineage.get(session, "tiny", n) for n in (1, 2))
        assert (model.description, model.tags) == ("a model", ["m"])
        assert (first.description, first.tags, second.description, second.tags) == ("first", ["a", "b"], None, None)
        assert [row.number for row in lineage.page(session, "tiny", None, 9, tag="a")] == [1]
    with there.database.writing() as session:
        notes.change(session, ACTOR, models.get(session, "tiny"), {"description": "ours", "tags": ["m"]}, None)
    there.pull(bundle, "tiny@v2")
    with there.database.reading() as session:
        assert models.get(session, "tiny").description == "ours"


def test_what_is_here_already_stays_as_it_is(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = stores
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@v1")
    here.push(bundle, "tiny@v2")
    assert there.pull(bundle, "tiny@v1").versions == (1,)
    assert there.pull(bundle, "tiny@v2").versions == (2,)
    before = there.rows()
    again = there.pull(bundle, "tiny@v2")
    assert (again.target, again.versions, again.blobs) == ("tiny@v2", (), 0)
    assert here.pull(bundle, "tiny@v2").versions == ()
    assert there.rows() == before


def test_another_version_of_that_name_in_a_bundle_is_not_overwritten(
    stores: tuple[Store, Store], bundle: Bundle
) -> None:
    here, there = stores
    there.bind()
    other = there.edit(77)
    here.push(bundle, "tiny@v1")
    pushed = bundle.read("tiny@v1")

    with pytest.raises(NameClashError, match=rf"has another tiny@v1.*here it was made by {other}"):
        there.push(bundle, "tiny@v1")

    assert bundle.read("tiny@v1") == pushed
    assert here.push(bundle, "tiny@v1").blobs == 0
    assert bundle.read("tiny@v1") == pushed
    assert bundle.versions() == ["tiny@v1"]


def test_of_two_that_push_the_same_name_at_once_one_is_refused(
    stores: tuple[Store, Store], bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = stores
    there.bind()
    there.edit(77)
    add = bundle.add

    def overtaken(reference: str, content: bytes) -> bool:
        monkeypatch.setattr(bundle, "add", add)
        there.push(bundle, "tiny@v1")
        return add(reference, content)

    monkeypatch.setattr(bundle, "add", overtaken)
    with pytest.raises(NameClashError, match="has another tiny@v1"):
        here.push(bundle, "tiny@v1")
    assert there.push(bundle, "tiny@v1").blobs == 0


def test_a_file_system_without_hard_links_takes_a_bundle(
    stores: tuple[Store, Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    here, there = stores
    there.bind()
    there.edit(77)
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@v1")
    assert not bundle.add("tiny@v1", b"another")
    assert [path.name for path in (tmp_path / "bundle" / "versions").iterdir()] == ["tiny@v1.json"]
    with pytest.raises(NameClashError):
        there.push(bundle, "tiny@v1")


def test_a_number_that_would_change_is_refused_unless_asked_for(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = stores
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@latest")
    before = there.rows()
    with pytest.raises(NameClashError, match=r"tiny@v4 would be tiny@v3 here.*--renumber.*--model-name"):
        there.pull(bundle, "tiny@v4")
    assert there.rows() == before

    moved = there.pull(bundle, "tiny@v4", renumber=True)
    assert (moved.source, moved.target, moved.versions) == ("tiny@v4", "tiny@v3", (1, 2, 3))
    assert there.said(3) == [("subject 1", "reverted"), ("subject 2", "in_force")]
    with there.database.reading() as session:
        row = lineage.get(session, "tiny", 3)
        assert (row.parent, row.provenance["parent"], row.total_facts) == (2, 2, 1)
        last = events.after(session, row.batch_id or "", 0)[-1]
        assert (last.kind, last.data) == ("succeeded", {"version": 3})
    assert there.violations() == []


def test_another_version_of_that_number_is_a_clash(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = stores
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@v1")
    there.bind()
    there.edit(7)
    with pytest.raises(NameClashError, match="tiny@v1 would be tiny@v2 here"):
        there.pull(bundle, "tiny@v1")
    assert there.pull(bundle, "tiny@v1", renumber=True).target == "tiny@v2"
    assert (there.said(1), there.said(2)) == ([("subject 7", "in_force")], [("subject 1", "in_force")])
    assert there.violations() == []


def test_the_same_edit_cannot_be_two_versions(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = stores
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@v1")
    with pytest.raises(NameClashError, match=r"made tiny@v1 here, which is not other@v1"):
        here.pull(bundle, "tiny@v1", model_name="other")
    assert there.pull(bundle, "tiny@v1", model_name="other").target == "other@v1"
    assert there.said(1, "other") == [("subject 1", "in_force")]


def test_what_was_deleted_here_does_not_come_back(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = stores
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@v1")
    there.pull(bundle, "tiny@v1")
    with there.database.writing() as session:
        deletion.delete(session, ACTOR, "tiny", 1)
    with pytest.raises(NameClashError, match="tiny@v1 is that version here, and it was deleted"):
        there.pull(bundle, "tiny@v1")
    with pytest.raises(VersionNotFoundError, match="was deleted"):
        there.push(bundle, "tiny@v1")


def test_a_name_that_is_another_model_here_is_refused(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = stores
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@v1")
    there.bind(fingerprint="0" * 64)
    before = there.rows()
    with pytest.raises(
        FingerprintConflictError, match=r"'tiny' is bound to fingerprint 0+ here, .* ffff.*--model-name"
    ):
        there.pull(bundle, "tiny@v1")
    assert there.rows() == before
    assert [one.sha256 for one in there.blobs.entries()] == [there.blobs.put(b"a tokenizer")]
    assert there.pull(bundle, "tiny@v1", model_name="tiny-2").target == "tiny-2@v1"


@pytest.mark.parametrize(
    ("damage", "expected"),
    [("corrupt", BlobCorruptError), ("truncated", BlobCorruptError), ("missing", BlobMissingError)],
)
@pytest.mark.parametrize("side", ["push", "pull"])
def test_damaged_blobs_are_named_and_nothing_is_taken_in(
    stores: tuple[Store, Store], tmp_path: Path, damage: str, expected: type[StoreError], side: str
) -> None:
    here, there = stores
    bundle = open_bundle(str(tmp_path / "bundle"))
    if side == "pull":
        here.push(bundle, "tiny@v2")
    with here.database.reading() as session:
        blob = lineage.get(session, "tiny", 2).blob or ""
    path = (here.blobs if side == "push" else FolderBlobStore(tmp_path / "bundle" / "blobs")).path(blob)
    if damage == "missing":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-9] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    before = there.rows()
    with pytest.raises(expected, match=blob):
        here.push(bundle, "tiny@v2") if side == "push" else there.pull(bundle, "tiny@v2")
    assert there.rows() == before
    assert bundle.versions() == ([] if side == "push" else ["tiny@v2"])


def test_a_delta_of_another_base_is_foreign(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, _ = stores
    with here.database.writing() as session:
        lineage.get(session, "tiny", 1).blob = here.blobs.put(pack_delta({}, {"fingerprint": "0" * 64}))
    with pytest.raises(BlobCorruptError, match=r"version v1: blob [0-9a-f]{64}: .*another base"):
        here.push(open_bundle(str(tmp_path / "bundle")), "tiny@v2")


def test_a_manifest_that_was_changed_is_refused(stores: tuple[Store, Store], tmp_path: Path) -> None:
    here, there = stores
    bundle = open_bundle(str(tmp_path / "bundle"))
    here.push(bundle, "tiny@v2")
    path = tmp_path / "bundle" / "versions" / "tiny@v2.json"
    whole = path.read_bytes()
    changed = json.loads(whole)
    changed["lineage"][0]["facts"][0]["target_new"] = "something else"
    for content, says in (
        (whole[: len(whole) // 2], "cut short"),
        (json.dumps(changed).encode(), "does not match its hash"),
        (b"[]", "is no version of emmetd"),
        (whole.replace(b'"format": 1', b'"format": 9'), "this release reads format 1"),
    ):
        path.write_bytes(content)
        with pytest.raises(BundleCorruptError, match=says):
            there.pull(bundle, "tiny@v2")
    path.rename(path.with_name("tiny@v1.json")).write_bytes(whole)
    with pytest.raises(BundleCorruptError, match="holds tiny v2"):
        there.pull(bundle, "tiny@v1")


def test_what_is_not_there_is_named(stores: tuple[Store, Store], bundle: Bundle) -> None:
    here, there = stores
    with pytest.raises(BundleNotFoundError, match="has no tiny@v9; its versions: none"):
        there.pull(bundle, "tiny@v9")
    here.push(bundle, "tiny@v1")
    here.push(bundle, "tiny@v3")
    with pytest.raises(BundleNotFoundError, match="its versions: tiny@v1, tiny@v3"):
        there.pull(bundle, "tiny@v2")
    with pytest.raises(VersionNotFoundError, match="nothing of it to move"):
        here.push(bundle, "tiny@v0")
