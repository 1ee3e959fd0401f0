"""The commands of users, by what they print and how they end, against a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from cli.requests.ask import marked
from tests.client.conftest import Running
from tests.service.delivery.receiver import receiver

QUICK = ["--set", "steps=2", "--set", "contexts=0", "--threshold", "EM=0", "--threshold", "drift=1e9"]
FACT = {"prompt": "The mother tongue of {} is", "subject": "Hannah Arendt", "target_new": "English"}

Run = Callable[..., Result]


@pytest.fixture
def run(server: Running, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("EMMETD_URL", server.url)
    monkeypatch.setenv("EMMETD_API_KEY", server.key)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, list(words))


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_fact_in_words_becomes_a_version(run: Run, server: Running) -> None:
    words = ["--prompt", FACT["prompt"], "--subject", "Ada Lovelace", "--target", "French", "--label", "by hand"]
    (job,) = lines(run("edit", *words, *QUICK, "--wait", "--json"))
    assert (job["state"], job["label"], job["facts"], job["model"]) == ("succeeded", "by hand", 1, server.model)
    shown = run("edits", "show", job["id"])
    assert shown.output.startswith(f"{job['id']}: succeeded, {server.model}@{job['version']}\nmetric  ")
    assert job["id"] in run("edits", "list").output
    cancelled = run("edits", "cancel", job["id"])
    assert cancelled.output == f"{job['id']} is succeeded\n"


def test_a_file_becomes_a_version_and_progress_is_told(run: Run, server: Running, tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps(FACT))
    result = run("edit", str(path), "--model", f"{server.model}@v1", *QUICK, "--wait")
    assert result.exit_code == 0, result.output
    assert "queued: 0%" in result.stderr
    assert "EM" in result.stdout
    accepted = run("edit", str(path), "--model", f"{server.model}@v1", *QUICK)
    assert f"1 facts on {server.model}" in accepted.output
    assert "emmetd edits show edit_" in accepted.output


def test_a_batch_outside_its_thresholds_has_an_exit_code(run: Run, server: Running, tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps(FACT))
    quick = [*QUICK[:4], "--threshold", "drift=0"]
    rejected = run("edit", str(path), "--model", f"{server.model}@v1", *quick, "--wait")
    assert rejected.exit_code == 5
    assert "ended rejected" in rejected.stderr
    late = run("edit", str(path), "--model", f"{server.model}@v1", *quick, "--wait", "--timeout", "0")
    assert late.exit_code == 8
    assert "it goes on" in late.stderr


def test_what_is_wrong_with_a_file_is_told_by_line_and_column(run: Run, server: Running, tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(f'{json.dumps(FACT)}\n{{"prompt": "no slot", "subject": "Lyon", "target_new": "x"}}\n')
    by_server = run("edit", str(path), "--model", server.model)
    assert by_server.exit_code == 7
    assert f"{path}: line 2, column 34: subject: " in by_server.stderr
    path.write_text(f"{json.dumps(FACT)}\n{{nothing}}\n")
    here = run("evaluate", server.model, str(path))
    assert here.exit_code == 7
    assert here.stderr.startswith(f"emmetd: {path}: line 2, column 2: is not JSON")


def test_two_versions_are_asked_side_by_side(run: Run, server: Running) -> None:
    alone = run("ask", f"{server.model}@v1", "The mother tongue of", "--max-tokens", "4")
    assert alone.exit_code == 0, alone.output
    assert f"{server.model}@v1" in alone.stderr
    said = lines(
        run("ask", f"{server.model}@v1", "The mother tongue of", "--max-tokens", "4", "--compare", "v0", "--json")
    )
    assert [one["version"] for one in said] == [f"{server.model}@v1", f"{server.model}@v0"]
    assert said[0]["text"] == alone.stdout.removesuffix("\n")
    shown = run("ask", f"{server.model}@v1", "The mother tongue of", "--max-tokens", "4", "--compare", "v0", "--chat")
    assert f"{server.model}@v1" in shown.output


def test_words_that_differ_stand_out() -> None:
    assert marked(" is English now", " is French now", colour=False) == (" is {+English+} now", " is {-French-} now")
    here, there = marked("a b", "a c", colour=True)
    assert "\x1b[32m" in here
    assert "\x1b[31m" in there
    assert "\x1b[2J" not in marked("\x1b[2Ja", "b", colour=True)[0]  # what a model writes moves no cursor
    assert marked("same", "same", colour=False) == ("same", "same")


def test_a_version_is_measured(run: Run, server: Running, tmp_path: Path) -> None:
    path = tmp_path / "facts.jsonl"
    path.write_text(json.dumps({**FACT, "target_old": "German"}))
    result = run("evaluate", f"{server.model}@v1", str(path), "--metrics", "ES,EM", "--compare", "v0")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split() == ["metric", f"{server.model}@v1", f"{server.model}@v0", "n"]
    (job,) = lines(run("evaluate", f"{server.model}@v1", str(path), "--metrics", "EM", "--json"))
    assert job["metrics"][f"{server.model}@v1"]["EM"]["n"] == 1


def test_versions_are_seen_compared_reverted_and_exported(run: Run, server: Running, tmp_path: Path) -> None:
    listed = lines(run("versions", "list", server.model, "--json"))
    assert [one["version"] for one in listed][-3:] == ["v2", "v1", "v0"]
    assert run("versions", "list", server.model, "--limit", "1").output.split()[:2] == ["version", "aliases"]
    shown = run("versions", "show", f"{server.model}@v2", "--facts").output
    assert f"{server.model}@v2" in shown
    assert shown.count("in_force") == 4
    assert "v0 to v2, +4 -0 facts" in run("versions", "diff", server.model, "v0", "v2").output
    (job,) = lines(
        run("versions", "revert", f"{server.model}@v1", "--fact", "0", "--threshold", "drift=1e9", "--wait", "--json")
    )
    assert (job["kind"], job["state"]) == ("revert", "succeeded")
    exported = run("versions", "export", f"{server.model}@v1", "--to", str(tmp_path))
    assert exported.exit_code == 0, exported.output
    assert exported.stdout.startswith(f"{tmp_path}/{server.model}-v1-peft.zip: {server.model}@v1, ")


def test_versions_and_models_are_described_and_found(run: Run, server: Running) -> None:
    told = run("versions", "describe", f"{server.model}@v1", "--description", "read by legal", "--tag", "legal")
    assert told.output == f"{server.model}@v1: read by legal; tags: legal\n"
    assert [one["version"] for one in lines(run("versions", "list", server.model, "--tag", "legal", "--json"))] == [
        "v1"
    ]
    assert [one["version"] for one in lines(run("versions", "list", server.model, "--search", "LEGAL", "--json"))] == [
        "v1"
    ]
    shown = run("versions", "show", f"{server.model}@v1").output
    assert "description" in shown
    assert "read by legal" in shown
    (one,) = lines(run("versions", "describe", f"{server.model}@v1", "--untag", "legal", "--tag", "done", "--json"))
    assert (one["description"], one["tags"]) == ("read by legal", ["done"])
    assert run("versions", "describe", f"{server.model}@v1", "--description", "", "--untag", "done").exit_code == 0
    of_model = run("versions", "describe", server.model, "--model", "--tag", "chat")
    assert of_model.output == f"{server.model}: no description; tags: chat\n"
    assert run("versions", "describe", server.model).exit_code == 2


def test_aliases_are_set(run: Run, server: Running) -> None:
    assert run("alias", "set", server.model, "stage", "v1").output == f"{server.model}@stage is v1\n"
    refused = run("alias", "set", server.model, "stage", "v2", "--expected", "v0")
    assert refused.exit_code == 1
    assert "not at v0" in refused.stderr
    assert "stage" in run("alias", "list", server.model).output
    assert run("alias", "delete", server.model, "stage").output == f"{server.model}@stage is deleted\n"


def test_a_change_that_takes_two_is_asked_for_and_withdrawn(run: Run, server: Running) -> None:
    assert run("alias", "set", server.model, "signed", "v1", "--approval").output == f"{server.model}@signed is v1\n"
    assert "needs approval" in run("alias", "list", server.model).output
    asked = run("alias", "set", server.model, "signed", "v2", "--reason", "holds").output
    assert f"{server.model}@signed stays v1; another key must approve: emmetd alias approve " in asked
    request = asked.split()[-1]
    shown = run("alias", "requests", server.model).output
    assert request in shown
    assert "v1 → v2" in shown
    alone = run("alias", "approve", server.model, request)
    assert alone.exit_code == 4
    assert "made by this very key" in alone.stderr
    told = run("alias", "refuse", server.model, request, "--reason", "mine")
    assert told.output == f"{request} is withdrawn: {server.model}@signed to v2\n"
    (one,) = lines(run("alias", "requests", server.model, "--state", "withdrawn", "--json"))
    assert (one["id"], one["decision"]) == (request, "mine")


def test_a_receiver_is_registered_tested_paused_and_deleted(run: Run) -> None:
    with receiver() as listening:
        inside = run("webhooks", "create", listening.url)
        assert inside.exit_code == 1
        assert "no public address" in inside.stderr
        (made,) = lines(run("webhooks", "create", "https://1.1.1.1/emmetd", "--event", "line.worn", "--json"))
    assert made["secret"].startswith("whsec_")
    listed = run("webhooks", "list").output
    assert made["id"] in listed
    assert "line.worn" in listed
    assert run("webhooks", "pause", made["id"]).output == f"{made['id']} is paused\n"
    assert run("webhooks", "resume", made["id"]).output == f"{made['id']} is active; 0 deliveries wait\n"
    rotated = run("webhooks", "rotate", made["id"]).output
    assert "secret, shown this once: whsec_" in rotated
    assert made["secret"] not in rotated
    assert run("webhooks", "log", made["id"]).output.split() == [
        *("at", "event", "model", "state", "attempts", "answer", "webhook-id")
    ]
    assert run("webhooks", "delete", made["id"]).output == f"{made['id']} is deleted\n"
    assert run("webhooks", "delete", made["id"]).exit_code == 1


def test_a_guard_is_set_held_and_taken_away(run: Run, server: Running, tmp_path: Path) -> None:
    file = tmp_path / "guard.json"
    file.write_text('{"downstream": {"quiz": {"acc": {"at_least": 0.5}}}}')
    run("alias", "set", server.model, "gate", "v0")
    guarded = run("alias", "set", server.model, "gate", "v0", "--guard", str(file))
    assert guarded.output == f"{server.model}@gate is v0\n"
    refused = run("alias", "set", server.model, "gate", "v1")
    assert refused.exit_code == 1
    assert "task 'quiz' was not measured" in refused.output
    file.write_text("nothing")
    assert "cannot be read as JSON" in run("alias", "set", server.model, "gate", "v0", "--guard", str(file)).output
    file.write_text("{}")
    run("alias", "set", server.model, "gate", "v0", "--guard", str(file))
    assert run("alias", "set", server.model, "gate", "v1").output == f"{server.model}@gate is v1\n"
    run("alias", "delete", server.model, "gate")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["edit"], 2, "give a file of facts, or --prompt, --subject and --target"),
        (["edit", "facts.jsonl", "--subject", "x"], 2, "give one of them"),
        (["edit", "nowhere.jsonl"], 7, "nowhere.jsonl: No such file or directory"),
        (["evaluate", "MODEL"], 2, "--facts-of, or --metrics drift"),
        (["versions", "revert", "MODEL@v1"], 2, "names nothing to take out"),
        (["versions", "show", "MODEL@v999"], 1, "v999"),
        (["alias", "set", "nobody", "latest", "v0"], 1, "nobody"),
        (["versions", "list", "MODEL", "--url", "http://127.0.0.1:9"], 3, "cannot be reached"),
        (["versions", "list", "MODEL", "--api-key", "wrong"], 4, "EMMETD_API_KEY"),
        (["versions", "list", "MODEL", "--url", "nonsense"], 78, "is no address of a server"),
        (["edit", "--prompt", "{}", "--subject", "a", "--target", "b", "--set", "steps"], 2, "is not NAME=VALUE"),
    ],
)
def test_a_mistake_is_told_in_one_message(
    run: Run, server: Running, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, says: str
) -> None:
    monkeypatch.setattr("emmetd_client._sync.transport.pause_for", lambda seconds: None)
    result = run(*(word.replace("MODEL", server.model) for word in words))
    assert result.exit_code == code, result.output
    assert says in " ".join(result.output.replace("│", " ").split())
    assert "Traceback" not in result.output


def test_help_sets_users_and_operators_apart() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "140"}).output
    users, operators = text.index("Correct, ask and measure"), text.index("Run emmetd:")
    assert users < text.index("│ ask ") < text.index("│ versions ") < operators < text.index("│ worker ")
    assert "Exit codes: 0 done" in text


def test_shells_complete_the_commands() -> None:
    environment = {
        "_TYPER_COMPLETE_ARGS": "emmetd ver",
        "_EMMETD_COMPLETE": "complete_bash",
        "COMP_WORDS": "emmetd ver",
    }
    result = CliRunner().invoke(app, [], prog_name="emmetd", env={**environment, "COMP_CWORD": "1"})
    assert result.output.split() == ["versions"]


def test_these_commands_load_neither_pytorch_nor_the_server() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from cli.main import app; "
        "result = CliRunner().invoke(app, ['versions', 'list', 'm', '--url', 'http://127.0.0.1:9', '--help']); "
        "import emmetd_client; from cli.terminal.served import connected; assert result.exit_code == 0; "
        "heavy = {'torch', 'transformers', 'fastapi', 'sqlalchemy', 'redis', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
