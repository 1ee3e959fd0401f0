"""`emmetd backup`, `restore` and `retention` from the command line: what they say and how they exit."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result

from cli.main import app
from store.access import audit
from store.access.audit import Actor
from store.blobs.folder import FolderBlobStore
from store.clock import now
from store.lineage import models
from store.schema.access_tables import AuditRow
from store.schema.database import Database

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Run:
    """With a database and blobs of one model in `EMMETD_DATA`."""
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EMMETD_DATA", str(tmp_path))
    database = Database(database_url)
    with database.writing() as session:
        models.register(session, "tiny", "a folder").tokenizer_blob = FolderBlobStore(tmp_path / "blobs").put(b"t")
    database.close()
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_a_backup_is_restored_into_a_new_data_folder_and_nowhere_else(run: Run, tmp_path: Path) -> None:
    made = run("backup", tmp_path / "copy")
    assert made.exit_code == 0, made.output
    assert "1 versions, 0 batches" in made.output
    assert "1 blobs of 0.0 MB" in made.output

    checked = run("restore", tmp_path / "copy", "--check")
    assert (checked.exit_code, "is whole" in checked.output) == (0, True)
    restored = run("restore", tmp_path / "copy", "--data", tmp_path / "new")
    assert restored.exit_code == 0, restored.output
    database = Database(f"sqlite:///{tmp_path}/new/emmetd.sqlite3")
    with database.reading() as session:
        told = audit.page(session, None, 1)[0]
    database.close()
    assert (told.action, told.target) == ("store.restored", str(tmp_path / "copy"))
    assert told.actor.startswith("cli:")

    again = run("restore", tmp_path / "copy", "--data", tmp_path / "new")
    assert (again.exit_code, "is not empty" in again.output) == (1, True)
    twice = run("backup", tmp_path / "copy")
    assert (twice.exit_code, "exists already" in twice.output) == (1, True)


def test_a_damaged_backup_is_named(run: Run, tmp_path: Path) -> None:
    run("backup", tmp_path / "copy")
    (blob,) = (tmp_path / "copy" / "blobs").rglob("*/*")
    blob.write_bytes(b"x")
    checked = run("restore", tmp_path / "copy", "--check")
    assert (checked.exit_code, "does not match its hash" in checked.output) == (1, True)


def test_retention_says_what_it_would_do_and_that_nothing_is_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    unset = run("retention", "apply")
    assert (unset.exit_code, "everything is kept for ever" in unset.output) == (1, True)
    monkeypatch.setenv("EMMETD_RETENTION_VERSION_DAYS", "30")
    done = run("retention", "apply", "--dry-run")
    assert (done.exit_code, done.stdout) == (
        0,
        "0 versions, the matrices of 0 versions, the texts of 0 edits, 0 evaluations, 0 entries of the audit log\n",
    )


def test_the_audit_log_is_pruned_where_that_is_set_and_says_so_itself(
    run: Run, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    database = Database(database_url)
    with database.writing() as session:  # beside the entry of the model that was registered
        audit.record(session, Actor("emk_1"), "alias.moved", model="tiny", target="latest")
        session.execute(update(AuditRow).values(at=now() - timedelta(days=400)))
    monkeypatch.setenv("EMMETD_RETENTION_AUDIT_DAYS", "365")
    assert "2 entries of the audit log" in run("retention", "apply", "--dry-run").stdout
    assert "alias.moved" in run("audit").stdout, "that was only a question"
    assert "2 entries of the audit log" in run("retention", "apply").stdout
    (entry,) = run("audit").stdout.splitlines()
    assert "audit.pruned" in entry
    assert "entries=2" in entry
    assert "cli:" in entry
    database.close()
