"""`emmetd keys` and `emmetd audit`: what a person at the command line makes, sees and takes back."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from store.access import audit, keys
from store.access.audit import Actor
from store.schema.database import Database

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str) -> Run:
    for name in os.environ:
        if name.startswith("EMMETD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EMMETD_DATA", str(tmp_path))
    monkeypatch.setenv("EMMETD_DATABASE_URL", database_url)
    monkeypatch.setenv("LOGNAME", "ada")
    return lambda *words: CliRunner().invoke(app, words)


def made(run: Run, *words: str) -> str:
    """The text of a new key."""
    result = run("keys", "create", "--label", "notebook", *words)
    assert result.exit_code == 0, result.output
    (text,) = result.stdout.splitlines()
    return text


def test_a_key_is_shown_once_and_opens_what_it_was_made_for(run: Run, database_url: str) -> None:
    text = made(run, "--scope", "edit", "--scope", "generate", "--model", "tiny", "--expires", "30d")

    database = Database(database_url)
    with database.reading() as session:
        row = keys.find(session, text)
        assert row is not None
        assert (row.scopes, row.models, row.created_by) == (["generate", "edit"], ["tiny"], "cli:ada")
        assert row.expires_at is not None
        assert (row.expires_at - row.created_at).total_seconds() == pytest.approx(30 * 86400, abs=60)
    database.close()
    for command in (("keys", "list"), ("audit",), ("audit", "--json")):
        shown = run(*command).output
        assert row.id in shown
        assert text not in shown
        assert text.rpartition("_")[2] not in shown


def test_the_list_says_what_each_key_is(run: Run) -> None:
    made(run, "--scope", "generate", "--facts-per-day", "0", "--requests-per-minute", "5")

    line = run("keys", "list").output
    for words in ("good", "generate", "all models", "requests/min 5", "facts/day without limit", "never used", "ada"):
        assert words in line


def test_what_callers_wrote_does_nothing_to_the_terminal(run: Run, database_url: str) -> None:
    database = Database(database_url)
    with database.writing() as session:
        audit.record(session, Actor("emk_1"), "edit.accepted", model="tiny", target="e", edit_label="\x1b[2J\x9b2J\nü")
    database.close()
    for shown in (run("audit").output, run("audit", "--json").output):
        assert shown.count("\n") == 1
        assert shown.strip().isprintable()
    assert "edit_label=\\x1b[2J\\x9b2J\\nü" in run("audit").output


def test_a_revoked_key_stays_on_the_list_as_revoked(run: Run) -> None:
    key_id = "_".join(made(run, "--scope", "admin").split("_")[:2])

    assert "  revoked " in run("keys", "revoke", key_id).output
    assert re.search(rf"^{key_id}  revoked ", run("keys", "list").output, re.MULTILINE)
    actions = [json.loads(line)["action"] for line in run("audit", "--json").output.splitlines()]
    assert actions == ["key.revoked", "key.created"]
    assert run("audit", "--action", "key.revoked", "--limit", "5").output.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scope", "everything"], "generate, evaluate, edit, admin"),
        ([], "--scope"),
        (["--scope", "edit", "--model", "Tiny Model"], "smollm2-135m"),
        (["--scope", "edit", "--expires", "soon"], "30d"),
        (["--scope", "edit", "--facts-per-day", "-1"], "facts-per-day"),
    ],
)
def test_a_wrong_wish_is_refused_with_what_would_do(run: Run, words: list[str], says: str) -> None:
    result = run("keys", "create", "--label", "x", *words)
    assert result.exit_code == 2
    assert says in result.output
    assert "emk_" not in run("keys", "list").output


def test_a_key_that_was_found_somewhere_can_be_revoked_as_it_is(run: Run) -> None:
    text = made(run, "--scope", "edit")
    shown = run("keys", "revoke", text).output
    assert "  revoked " in shown
    assert text not in shown


def test_revoking_what_does_not_exist_says_so(run: Run) -> None:
    result = run("keys", "revoke", "emk_none")
    assert (result.exit_code, "Traceback" in result.output) == (1, False)
    assert "no API key 'emk_none'" in result.output


def test_a_database_without_tables_is_told_how_to_get_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMMETD_DATABASE_URL", f"sqlite:///{tmp_path}/empty.sqlite3")
    result = run("keys", "list")
    assert result.exit_code == 1
    assert "emmetd migrate" in result.output


def test_a_database_that_is_away_is_told_without_its_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMMETD_DATABASE_URL", "postgresql://ada:hunter2@127.0.0.1:1/emmetd")
    result = run("keys", "list")
    assert result.exit_code == 1
    assert "ada:********@127.0.0.1:1/emmetd does not answer" in result.output
    assert "hunter2" not in result.output
    assert "Traceback" not in result.output
