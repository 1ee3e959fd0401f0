"""What people may rely on: the names, and that the client reaches everything that the API offers."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import emmetd_client
import pytest
from emmetd_client import AsyncEmmetd, Emmetd, EmmetdError

from tests.client.stub import FACT, Stub, answer

ROOT = Path(__file__).parents[2]
NAMES = """
APIError Alias AliasRequest AsyncEdit AsyncEmmetd AsyncEvaluation AsyncListing AsyncStatistic AuthenticationError
BadRequestError
BatchMetrics __version__ ConfigurationError ConflictError ConnectionFailedError Corpus Deployment
DeploymentCheck DeploymentEvent Edit EditData DownstreamResult EditEvent
EditProgress Emmetd EmmetdError Evaluation EvaluationData EvaluationRow ExportedFile Fact FactInput FactsError FactsFile
FieldError InvalidFieldsError Job JobCancelledError JobEndedError JobFailedError JobRejectedError KeptFact LineageEntry
Listing Measurement ModelCard Neighbor NotFoundError NotOfferedError PermissionDeniedError Progress RateLimitError
ScopeMissingError ServerError ServerInfo Statistic StatisticData Table TimedOutError TooLargeError UnavailableError
UnexpectedAnswerError Version VersionDiff VersionFact WaitTimedOutError from_dataframe lineage_table read_facts
downstream_table version_table versions_table Webhook WebhookDelivery
"""
METHODS = {
    "algorithms": {"list"},
    "aliases": {"approve", "delete", "list", "refuse", "request", "requests", "set"},
    "audit": {"list"},
    "chat": {"create", "stream"},
    "completions": {"create", "stream"},
    "corpora": {"list"},
    "deployments": {"create", "events", "get", "list", "remove"},
    "diffs": {"get"},
    "downstream": {"add", "list"},
    "edits": {"cancel", "create", "events", "facts", "get", "left_out", "list"},
    "evaluations": {"cancel", "create", "get", "list", "report", "rows", "run"},
    "exports": {"download"},
    "keys": {"create", "list", "own", "revoke"},
    "models": {"add", "get", "list", "update"},
    "operations": {"live", "metrics", "ready", "server", "wait_until_ready", "workers"},
    "statistics": {"cancel", "create", "get", "list"},
    "tokenization": {"detokenize", "info", "tokenize"},
    "versions": {"consolidate", "delete", "facts", "get", "lineage", "list", "metrics", "revert", "update"},
    "webhooks": {"create", "delete", "deliveries", "get", "list", "rotate", "test", "update"},
}
ADDED = {
    "GET /v1/models/{}/lineage",
    "POST /v1/models/{}/versions/{}/consolidate",
}
"""What the contract has besides docs/openapi.json."""


def test_the_package_exports_these_names_and_no_others() -> None:
    assert sorted(emmetd_client.__all__) == sorted(NAMES.split())
    assert all(hasattr(emmetd_client, name) for name in emmetd_client.__all__)


@pytest.mark.parametrize("kind", [Emmetd, AsyncEmmetd])
def test_resources_and_their_methods(kind: Any) -> None:
    found = {
        name: {method for method, _ in inspect.getmembers(resource, inspect.ismethod) if not method.startswith("_")}
        for name, resource in vars(kind()).items()
        if not name.startswith("_")
    }
    assert found == METHODS


def test_both_clients_take_the_same_arguments() -> None:
    blocking, asynchronous = Emmetd(), AsyncEmmetd()
    for resource, methods in METHODS.items():
        for method in methods:
            first, second = (
                inspect.signature(getattr(getattr(one, resource), method)) for one in (blocking, asynchronous)
            )
            assert list(first.parameters.values()) == list(second.parameters.values())


def test_the_blocking_half_is_made_of_the_other() -> None:
    command = [sys.executable, str(ROOT / "client" / "unasync.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_tree_of_errors_is_what_its_module_opens_with() -> None:
    from emmetd_client import errors

    drawn = re.findall(r"^(?:[│ ]*[├└]── )?(\w+Error)\b", errors.__doc__ or "", re.M)
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, EmmetdError)]
    assert sorted(drawn) == sorted(kind.__name__ for kind in kinds)
    assert {kind.__name__ for kind in kinds} <= set(emmetd_client.__all__)


def everything(client: Emmetd) -> list[Any]:
    """One call of each method that asks the server."""
    return [
        lambda: client.algorithms.list().page(),
        lambda: client.aliases.approve("m", "r"),
        lambda: client.aliases.delete("m", "a"),
        lambda: client.aliases.list("m").page(),
        lambda: client.aliases.refuse("m", "r"),
        lambda: client.aliases.request("m", "r"),
        lambda: client.aliases.requests("m").page(),
        lambda: client.aliases.set("m", "a", "v1"),
        lambda: client.audit.list().page(),
        lambda: client.chat.create(model="m", messages="x"),
        lambda: client.completions.create(model="m", prompt="x"),
        lambda: client.corpora.list().page(),
        lambda: client.deployments.create(model="m", target="vllm+http://x:1"),
        lambda: client.deployments.events("d").page(),
        lambda: client.deployments.get("d"),
        lambda: client.deployments.list().page(),
        lambda: client.deployments.remove("d"),
        lambda: client.diffs.get("m", "v0", "v1"),
        lambda: client.downstream.add("m", harness={}, results={}),
        lambda: client.downstream.list("m").page(),
        lambda: client.edits.cancel("e"),
        lambda: client.edits.create(model="m", facts=[FACT]),
        lambda: list(client.edits.events("e")),
        lambda: client.edits.facts("e").page(),
        lambda: client.edits.get("e"),
        lambda: client.edits.left_out("e").page(),
        lambda: client.edits.list().page(),
        lambda: client.evaluations.cancel("e"),
        lambda: client.evaluations.create(model="m", facts=[FACT]),
        lambda: client.evaluations.get("e"),
        lambda: client.evaluations.list().page(),
        lambda: client.evaluations.report("e"),
        lambda: client.exports.download("m", "v1"),
        lambda: client.keys.create(label="a", scopes=["edit"]),
        lambda: client.keys.list().page(),
        lambda: client.keys.own(),
        lambda: client.keys.revoke("k"),
        lambda: client.models.add("owner/name"),
        lambda: client.models.get("m"),
        lambda: client.models.list().page(),
        lambda: client.models.update("m", tags=["a"]),
        lambda: client.operations.live(),
        lambda: client.operations.metrics(),
        lambda: client.operations.ready(),
        lambda: client.operations.workers(),
        lambda: client.statistics.cancel("s"),
        lambda: client.statistics.create(model="m"),
        lambda: client.statistics.get("s"),
        lambda: client.statistics.list().page(),
        lambda: client.tokenization.detokenize([1]),
        lambda: client.tokenization.info(),
        lambda: client.tokenization.tokenize("x"),
        lambda: client.versions.consolidate("m", "v1"),
        lambda: client.versions.delete("m", "v1"),
        lambda: client.versions.facts("m", "v1").page(),
        lambda: client.versions.get("m", "v1"),
        lambda: client.versions.lineage("m").page(),
        lambda: client.versions.list("m").page(),
        lambda: client.versions.metrics("m", "v1"),
        lambda: client.versions.revert("m", "v1", facts=[0]),
        lambda: client.versions.update("m", "v1", tags=["a"]),
        lambda: client.webhooks.create("https://example.org"),
        lambda: client.webhooks.delete("w"),
        lambda: client.webhooks.deliveries("w").page(),
        lambda: client.webhooks.get("w"),
        lambda: client.webhooks.list().page(),
        lambda: client.webhooks.rotate("w"),
        lambda: client.webhooks.test("w"),
        lambda: client.webhooks.update("w", paused=True),
    ]


def test_every_operation_of_the_api_has_its_method() -> None:
    document = json.loads((ROOT / "docs" / "openapi.json").read_text())
    offered = {
        re.sub(r"\{[^}]*\}", "{}", f"{method.upper()} {path}")
        for path, methods in document["paths"].items()
        for method in methods
    }
    patterns = {one: re.compile(re.escape(one).replace(r"\{\}", "[^/]+")) for one in offered | ADDED}
    stub = Stub(answer(418, {"code": "teapot", "detail": "no"}))
    with Emmetd(transport=stub.transport) as client:
        for call in everything(client):
            with pytest.raises(EmmetdError):
                call()
    asked = [one.partition("?")[0] for one in stub.asked]
    reached = {one for one, pattern in patterns.items() if any(pattern.fullmatch(path) for path in asked)}
    assert reached == offered | ADDED
    assert all(any(pattern.fullmatch(path) for pattern in patterns.values()) for path in asked)
