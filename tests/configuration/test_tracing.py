"""Traces go where they are wanted, and cost and disturb nothing where they are not."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from pydantic import ValidationError

from configuration import tracing
from configuration.logs import configure_logs
from configuration.settings import Settings
from tests.support.collector import Collector, tree

ROOT = Path(__file__).parents[2]
SDK = re.compile(r"\b(opentelemetry\.sdk|opentelemetry\.exporter|google\.protobuf)$", re.MULTILINE)
"""Packages without which no module of them is imported, at the ends of lines."""
CLIENTS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "TRACES_ENDPOINT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def settings(collector: Collector | None = None, **fields: object) -> Settings:
    return Settings(otlp_endpoint=None if collector is None else collector.url, **fields)  # type: ignore[arg-type]


def test_spans_stand_under_each_other_and_under_what_a_client_sent(collector: Collector) -> None:
    began = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    with tracing.running(settings(collector), "api"):
        with tracing.span("request", {"n": 1, "nothing": None}, kind="server", parent=CLIENTS):
            kept = tracing.traceparent()
            with tracing.span("stage"):
                tracing.note({"told": "later"})
        tracing.record("wait", None, parent=kept, start=began, end=began + timedelta(seconds=2))
        with tracing.span("attempt", kind="consumer", parent=kept, links=(None, CLIENTS, "no traceparent")):
            pass

    assert tree(collector.spans) == ["request", "  wait", "  stage", "  attempt"]
    (request,), (stage,), (wait,), (attempt,) = (
        collector.where(name=name) for name in ("request", "stage", "wait", "attempt")
    )
    assert {span.trace for span in collector.spans} == {CLIENTS.split("-")[1]}
    assert request.parent == CLIENTS.split("-")[2]
    assert (request.kind, attempt.kind, stage.kind) == ("server", "consumer", "internal")
    assert (request.attributes, stage.attributes) == ({"n": 1}, {"told": "later"})
    assert (wait.start, wait.end - wait.start) == (1767323045678901000, 2_000_000_000)
    assert attempt.links == (request.parent,)
    assert {span.service for span in collector.spans} == {"emmetd-api"}


def test_an_error_is_told_by_its_type_alone(collector: Collector) -> None:
    with tracing.running(settings(collector), "api"), pytest.raises(ValueError, match="Lyon"), tracing.span("work"):
        raise ValueError("subject 'Lyon' does not occur")

    (work,) = collector.spans
    assert (work.failed, work.events, work.attributes) == (True, (), {"error.type": "ValueError"})
    assert not [body for body in collector.bodies if b"Lyon" in body]


def test_lines_of_the_log_have_the_traces_id(collector: Collector) -> None:
    stream = io.StringIO()
    try:
        configure_logs(settings(log_format="json"), "api", stream)
        log = structlog.get_logger("test")
        with tracing.running(settings(collector), "api"):
            log.info("outside")
            with tracing.span("work"):
                log.info("inside")
            with tracing.continuing(CLIENTS):
                log.info("of another process")
    finally:
        structlog.reset_defaults()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    found = {line["event"]: line.get("trace_id") for line in lines}
    assert found["outside"] is None
    assert found["inside"] == collector.spans[0].trace
    assert found["of another process"] == CLIENTS.split("-")[1]


@pytest.mark.parametrize(
    ("given", "variables", "found"),
    [
        (None, {}, None),
        ("http://a:4318/", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4318"}, "http://a:4318/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4318"}, "http://b:4318/v1/traces"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        (
            None,
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/spans"},
            "http://c/spans",
        ),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b", "OTEL_TRACES_EXPORTER": "none"}, None),
        ("http://a:4318", {"OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_collector_is_the_settings_or_that_of_the_standard_variables(
    given: str | None, variables: dict[str, str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tracing.endpoint_of(Settings(otlp_endpoint=given)) == found


@pytest.mark.parametrize("url", ["collector:4318", "grpc://collector:4317", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="http://collector:4318"):
        Settings(otlp_endpoint=url)


def test_the_password_of_a_collector_is_shown_nowhere() -> None:
    found = Settings(otlp_endpoint="https://me:some-secret@collector:4318")
    assert found.masked()["otlp_endpoint"] == "https://me:********@collector:4318"
    assert "some-secret" in found.secrets()
    assert "some-secret" not in repr(found)


def test_a_collector_that_is_away_is_told_of_once_and_waited_for_only_briefly(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    stream = io.StringIO()

    def said(text: str) -> int:
        return stream.getvalue().count(text)

    def wait_until_said(text: str) -> None:
        deadline = time.monotonic() + 30
        while not said(text):
            assert time.monotonic() < deadline, stream.getvalue()
            with tracing.span("work"):
                time.sleep(0.05)

    collector.refusing = True
    try:
        configure_logs(settings(log_format="text"), "worker", stream)
        with tracing.running(settings(collector), "worker"):
            wait_until_said("traces cannot be sent")
            for _ in range(10):
                with tracing.span("work"):
                    time.sleep(0.05)
            collector.refusing = False
            wait_until_said("traces are sent again")
    finally:
        structlog.reset_defaults()

    assert said("traces cannot be sent") == 1
    assert "Failed to export" not in stream.getvalue()
    assert collector.spans


def test_an_end_does_not_wait_for_a_collector_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with tracing.running(Settings(otlp_endpoint=url), "api"):
            with tracing.span("work"):
                pass
            ends = time.monotonic()
        assert time.monotonic() - ends < tracing.FLUSH_SECONDS + 1


def test_a_variable_that_makes_no_sense_leaves_the_rest_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with tracing.running(Settings(otlp_endpoint="http://127.0.0.1:1"), "api"):
        assert not tracing.is_on()
        with tracing.span("work"):
            assert tracing.traceparent() is None


def test_without_a_collector_the_api_imports_no_sdk(tmp_path: Path) -> None:
    """The real command, up to its start."""
    environment = {"EMMETD_DATA": str(tmp_path), "EMMETD_REDIS_URL": "redis://127.0.0.1:1/0", "EMMETD_API_KEY": "k" * 9}
    command = [sys.executable, "-X", "importtime", "-m", "cli.main", "api", "--port", "0"]
    said = []
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **environment}
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "the API has started" in line:
                process.terminate()
    assert any("the API has started" in line for line in said), said[-20:]
    assert SDK.findall("".join(said)) == []


def test_without_a_collector_nothing_is_made_and_no_sdk_imported(tmp_path: Path) -> None:
    """In a process of its own, by a request that comes with a trace, and by all that a worker imports."""
    program = f"""
from configuration.redis.lean import import_redis
import_redis()
import sys
from starlette.testclient import TestClient
from configuration import tracing
from configuration.settings import Settings
from service.app import create_app
from store.schema.database import migrate
import workers.process.main

settings = Settings(data={str(tmp_path)!r}, redis_url="redis://127.0.0.1:1/0", auth="off")
migrate(settings.database_url)
with tracing.running(settings, "worker"), TestClient(create_app(settings), "http://localhost") as client:
    assert client.get("/v1/algorithms").status_code == 200
    assert client.get("/v1/edits", headers={{"traceparent": {CLIENTS!r}}}).status_code == 200
    with tracing.span("work") as span:
        assert not span.is_recording() and tracing.traceparent() is None and tracing.trace_id() is None
print(*sys.modules, sep="\\n")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "workers.process.main" in done.stdout
    assert SDK.findall(done.stdout) == []
