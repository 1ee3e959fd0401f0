"""schemathesis as PyPI has it, on every operation of the OpenAPI document. The long run, with a worker that edits, is
`python -m tests.acceptance.openapi_document`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from configuration.settings import Settings
from tests.acceptance.openapi_document import schemathesis
from tests.clients.conftest import Serving
from tests.service.conftest import Api, served
from tests.support.stand_in_hub import Hub, point_at, served_hub

KEY = "open-sesame"
SEED = 1
EXAMPLES = 3


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """One that answers, and does not have what is asked for."""
    with served_hub(tmp_path) as hub:
        point_at(hub.url, monkeypatch)
        yield hub


@pytest.fixture
def api(serving: Serving, hub: Hub, tmp_path: Path) -> Iterator[Api]:
    """On a copy of the data, in which versions may be deleted and aliases moved."""
    data = shutil.copytree(serving.settings.data, tmp_path / "data")
    changed = {
        "auth": "on",
        "api_key": KEY,
        "key_requests_per_minute": 0,
        "key_open_batches": 0,
        "wait_limit_seconds": 0.1,
        "max_completion_tokens": 16,
    }
    chosen = {"data": data, "redis_url": serving.settings.redis_url, "model": serving.settings.model, **changed}
    with served(Settings(**chosen)) as api:
        yield api


def test_every_operation_answers_as_the_document_says(api: Api, tmp_path: Path) -> None:
    # Coverage has thousands of requests and is for the long run.
    phases = ("--phases", "examples,fuzzing,stateful", "--max-examples", str(EXAMPLES))

    told = schemathesis(api.url, KEY, tmp_path, *phases, "--seed", str(SEED))

    assert (told["failures"], told["errors"]) == ([], []), told["printed"]
    assert told["operations"]["tested"] == told["operations"]["total"] > 30
    assert told["test_cases"]["generated"] > told["operations"]["total"]


def test_a_document_that_says_something_else_is_noticed(api: Api, tmp_path: Path) -> None:
    """The checks can fail: here a status that the document does not have."""
    api.app.openapi()["paths"]["/v1/corpora"]["get"]["responses"].pop("200")

    told = schemathesis(api.url, KEY, tmp_path, "--include-path", "/v1/corpora", "--phases", "fuzzing", "-n", "1")

    assert [one["title"] for one in told["failures"]] == ["Undocumented status code"], told["printed"]
