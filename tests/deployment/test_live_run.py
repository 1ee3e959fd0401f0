"""A real model is edited and asked, and Prometheus looks on: every metric is told, and every panel shows it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deployment import dashboards
from tests.deployment.answers import has_values, result
from tests.deployment.compose_file import ROOT
from tests.deployment.stack import Stack, free_port, wait_until
from tests.support.programs import lint_metrics, program
from tests.support.running.server import MODEL, Server
from tests.support.saved_models import facts, save_tiny_model
from tests.support.stand_in_vllm import StandInVllm, spelled

QUICK = {"steps": 2, "repair_rounds": 0}
LOOSE = {"EM": 0.0, "drift": 1e6, "retained": 1.0}


@pytest.fixture(scope="module")
def engine() -> Iterator[StandInVllm]:
    """It answers the same to everything, which is told of it."""
    with StandInVllm(lambda path, prompt: spelled(" Lyon")) as engine:
        yield engine


@pytest.fixture(scope="module")
def server(engine: StandInVllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    for name in ("prometheus", "prometheus-blackbox-exporter"):
        program(name)
    folder = tmp_path_factory.mktemp("live")
    model = save_tiny_model(folder / "model")
    options: dict[str, Any] = {"worker_metrics_port": free_port(), "worker_metrics_host": "127.0.0.1"}
    with Server(model, folder / "data", deployment_targets=engine.origin, **options) as server:
        yield server


@pytest.fixture(scope="module")
def stack(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Prometheus with the shipped rules, and the prober, beside that server."""
    stack = Stack(tmp_path_factory.mktemp("stack"))
    stack.ports |= {"api": server.http.base_url.port or 80, "worker": server.metrics_port}
    try:
        stack.start_blackbox()
        stack.start_prometheus()
        stack.wait_until_healthy("prometheus")
        yield stack
    finally:
        stack.stop()


def work(server: Server, rounds: Iterator[int]) -> None:
    """A bit of everything that clients do. Each round has other facts, so that those of earlier ones are in force."""
    edit = server.edit(facts(2, first=next(rounds)), settings=QUICK, thresholds=LOOSE)
    assert server.outcome(edit)["state"] == "succeeded"
    server.complete(["The mother tongue of"], max_tokens=3)
    assert server.http.get("/v1/models/nobody/versions").status_code == 404


def test_every_panel_shows_what_a_real_run_tells(server: Server, stack: Stack, engine: StandInVllm) -> None:
    waiting, rounds = dashboards.asked(), itertools.cycle((0, 2, 4))
    work(server, rounds)
    deployment = {"model": f"{MODEL}@v1", "target": f"vllm+{engine.origin}"}
    server.http.post("/v1/deployments", json=deployment).raise_for_status()

    def all_answered() -> bool:
        work(server, rounds)
        waiting[:] = [query for query in waiting if not has_values(result(server.http, stack, query.expr))]
        return not waiting

    wait_until(all_answered, lambda: "\n".join(f"{query}: {query.expr}" for query in waiting), seconds=180)


def test_a_real_run_tells_every_metric_that_is_documented_and_no_other(server: Server) -> None:
    told = set()
    for port in (server.http.base_url.port, server.metrics_port):
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        lint_metrics(text)
        told |= set(re.findall(r"^# TYPE (emmetd_\w+) ", text, re.MULTILINE))
    told = {name for name in told if not name.endswith("_created")}  # the client's own, of each counter
    page = (ROOT / "docs" / "operations" / "monitoring.md").read_text()
    documented = set(re.findall(r"^\| `(emmetd_\w+)`", page, re.MULTILINE))
    assert told == documented


def test_the_series_of_the_store_and_of_tasks_are_the_real_ones(server: Server, stack: Stack) -> None:
    (free,) = result(server.http, stack, "emmetd_store_free_bytes")
    (kept,) = result(server.http, stack, f'emmetd_store_bytes{{model="{MODEL}"}}')
    blobs = sum(path.stat().st_size for path in Path(server.data / "blobs").rglob("*") if path.is_file())
    assert float(free["value"][1]) > 0
    assert 0 < float(kept["value"][1]) <= blobs

    long = server.edit(facts(8), settings={"steps": 400, "stop_after_argmax": -1, "stop_loss": 0.0}, thresholds=LOOSE)

    def values_are_counted() -> bool:
        found = result(server.http, stack, f'emmetd_tasks_running{{model="{MODEL}",kind="values"}} == 1')
        return bool(found)

    wait_until(values_are_counted, lambda: "a task that runs is counted")
    server.http.post(f"/v1/edits/{long}/cancel")
    server.outcome(long)
