"""`emmetd evaluate --tasks`: lm-eval over the API from one command, its results kept with the version."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.clients.conftest import EDITED, MODEL, Serving
from tests.clients.test_lm_eval import tasks  # noqa: F401 - a fixture
from tests.support.saved_models import CONTEXT_LENGTH

ALIAS = f"/models/{MODEL}/aliases/production"
pytestmark = pytest.mark.usefixtures("_offline")


@pytest.fixture
def _alias(serving: Serving) -> Iterator[None]:
    """`production`, gone again afterwards: other files look at the same server."""
    httpx.put(f"{serving.api}{ALIAS}", json={"version": "v0"}).raise_for_status()
    yield
    httpx.delete(f"{serving.api}{ALIAS}").raise_for_status()


@pytest.fixture
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def run(serving: Serving, folder: Path, *options: str) -> Any:
    named = ["--task-folder", str(folder), "--harness", sys.executable, "--url", serving.url]
    return CliRunner().invoke(app, ["evaluate", EDITED, *named, *options])


@pytest.mark.usefixtures("_alias")
def test_two_local_tasks_are_measured_for_the_base_and_a_version_and_kept(serving: Serving, tasks: Path) -> None:  # noqa: F811
    arguments = ["--harness-arg", "custom_prefix_token_id=0", "--harness-arg", f"max_length={CONTEXT_LENGTH}"]
    answer = run(
        serving, tasks, "--tasks", "languages,sayings", "--compare", "v0", "--limit", "6", "--json", *arguments
    )
    assert answer.exit_code == 0, answer.output + repr(answer.exception)
    kept = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
    assert [one["version"] for one in kept] == ["v1", "v0"]
    for one in kept:
        assert one["harness"]["name"] == "lm-eval"
        assert one["settings"] == {"limit": 6}
        assert set(one["results"]) == {"languages", "sayings"}
        assert one["results"]["languages"]["n"] == 6
        assert 0 <= one["results"]["languages"]["measures"]["acc"]["value"] <= 1
        assert one["results"]["languages"]["measures"]["acc"]["higher_is_better"] is True
    listed = httpx.get(f"{serving.api}/models/{MODEL}/versions/v1/downstream").json()["data"]
    assert listed[0]["id"] == kept[0]["id"]

    reached = kept[0]["results"]["languages"]["measures"]["acc"]["value"]
    for bound, status in ((reached + 0.01, 409), (reached, 200)):
        guard = {"downstream": {"languages": {"acc": {"at_least": bound}}}}
        assert httpx.put(f"{serving.api}{ALIAS}", json={"guard": guard}).status_code == 200
        assert httpx.put(f"{serving.api}{ALIAS}", json={"version": "v1"}).status_code == status


def test_a_task_that_the_harness_does_not_know_is_refused_plainly(serving: Serving, tasks: Path) -> None:  # noqa: F811
    before = httpx.get(f"{serving.api}/models/{MODEL}/versions/v1/downstream").json()["data"]
    answer = run(serving, tasks, "--tasks", "languagesx")
    assert answer.exit_code == 1
    assert "lm-eval knows no task 'languagesx'; near it: languages" in answer.output
    assert httpx.get(f"{serving.api}/models/{MODEL}/versions/v1/downstream").json()["data"] == before


def test_an_interpreter_without_the_harness_is_told(serving: Serving, tasks: Path) -> None:  # noqa: F811
    named = ["--task-folder", str(tasks), "--url", serving.url, "--tasks", "languages", "--harness"]
    missing = CliRunner().invoke(app, ["evaluate", EDITED, *named, "no-such-python"])
    assert missing.exit_code == 1
    assert "no such program; name a Python that has lm-eval[api]" in missing.output
    wrong = CliRunner().invoke(app, ["evaluate", EDITED, *named, "false"])
    assert wrong.exit_code == 1
    assert "lm-eval ended with 1" in wrong.output
