"""`emmetd deploy` and `emmetd deployments`, by what they print and how they end."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.service.conftest import MODEL, Api
from tests.service.deployments.conftest import Exporter
from tests.support.stand_in_vllm import StandInVllm, spelled

Run = Callable[..., Result]
KEY = "sk-engine"


@pytest.fixture
def run(api: Api, vllm: StandInVllm, exporter: Exporter, monkeypatch: pytest.MonkeyPatch) -> Run:
    vllm.key = KEY
    monkeypatch.setenv("EMMETD_URL", api.url)
    monkeypatch.delenv("EMMETD_API_KEY", raising=False)
    monkeypatch.setenv("EMMETD_TARGET_KEY", KEY)
    monkeypatch.setenv("COLUMNS", "250")
    return lambda *words: CliRunner().invoke(app, list(words))


def test_a_version_is_deployed_looked_at_and_removed(run: Run, vllm: StandInVllm) -> None:
    deployed = run("deploy", f"{MODEL}@latest", "--to", f"vllm+{vllm.origin}", "--wait", "--json")
    assert deployed.exit_code == 0, deployed.output
    assert "deployed v2" in deployed.stderr
    found = json.loads(deployed.stdout)
    assert (found["state"], found["actual"], found["has_key"]) == ("deployed", "v2", True)
    assert KEY not in deployed.output
    listed = run("deployments", "list")
    assert found["id"] in listed.output
    assert f"{MODEL}@latest" in listed.output
    shown = run("deployments", "show", found["id"])
    assert "2 of 2" in shown.output
    assert "20 of 20 alike, 0 part at near ties" in shown.output
    assert "exporting" in shown.output
    removed = run("deployments", "remove", found["id"])
    assert removed.output == f"{found['id']} is removed\n"
    assert vllm.adapters == {}


def test_one_that_answers_otherwise_ends_as_rejected(run: Run, vllm: StandInVllm) -> None:
    vllm.says = lambda path, prompt: spelled(" Paris")
    result = run("deploy", MODEL, "--to", f"vllm+{vllm.origin}", "--wait")
    assert result.exit_code == 5
    assert "does not answer there as here" in result.output


def test_a_target_that_is_not_allowed_is_refused_in_words(run: Run) -> None:
    result = run("deploy", MODEL, "--to", "vllm+http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "EMMETD_DEPLOYMENT_TARGETS=http://127.0.0.1:1" in result.output
