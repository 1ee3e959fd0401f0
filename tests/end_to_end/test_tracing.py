"""One trace leads from a request to the version or the text that came of it, whichever processes die on the way."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.test_survival import LOOSE, long_edit, one_shard_done, shards_of
from tests.support.collector import Collector, Seen, tree
from tests.support.running.server import API, MODEL, WORKER, Server, wait_until
from tests.support.saved_models import facts

KEY = "a-key-that-no-span-may-hold"
CLIENT = "0af7651916cd43dd8448eb211c80319c"
"""The trace that a client is in."""
EDIT = [
    "POST /v1/edits",
    "  queued",
    "  enqueue",
    "  plan task",
    "    plan",
    "  enqueue",
    "  values task",
    "    values",
    "  enqueue",
    "  solve task",
    "    solve",
    "    check",
    "    publish",
]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("tracing") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # milliseconds
        server = Server(tiny_model, data, api_key=KEY, shard_seconds=1, otlp_endpoint=collector.url)
    with server:
        yield server


def trace_of(collector: Collector, edit_id: str) -> list[Seen]:
    """All spans of the edit's trace, once the task that published has come: its span ends after all others."""

    def has_come(spans: list[Seen]) -> bool:
        return any(span.edit == edit_id and span.name == "solve task" for span in spans)

    collector.wait_for(has_come, "the task that publishes")
    (trace,) = {span.trace for span in collector.spans if span.edit == edit_id}
    return collector.where(trace=trace)


def test_an_edit_is_one_trace_from_its_request_to_its_version(server: Server, collector: Collector) -> None:
    edit_id = server.edit(facts(2), thresholds=LOOSE)
    job = server.outcome(edit_id)
    spans = trace_of(collector, edit_id)

    assert tree(spans) == EDIT
    by_name = {span.name: span for span in spans}
    (root,) = [span for span in spans if not span.parent]
    assert root.attributes.keys() == {
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "emmetd.request.id",
    }
    assert (root.kind, root.attributes["http.response.status_code"]) == ("server", 202)
    assert {span.service for span in spans if "task" in span.name} == {"emmetd-worker"}
    assert {by_name[name].service for name in ("queued", "enqueue")} == {"emmetd-api"}
    assert by_name["publish"].attributes["emmetd.version"] == job["version"]
    assert by_name["values"].attributes["emmetd.task.shard"] == 0
    assert all(span.start <= span.end for span in spans)
    assert root.start <= by_name["queued"].start
    assert not [span for span in spans if span.failed]


def test_lines_of_the_log_of_both_processes_have_the_traces_id(server: Server, collector: Collector) -> None:
    edit_id = server.edit(facts(1), thresholds=LOOSE)
    server.outcome(edit_id)
    trace = trace_of(collector, edit_id)[0].trace

    lines = [json.loads(line) for line in server.said().splitlines() if line.startswith("{")]
    events = {(line["process"], line["event"]) for line in lines if line.get("trace_id") == trace}
    assert {("api", "edit accepted"), ("api", "request"), ("worker", "planned"), ("worker", "published")} <= events


def test_a_completion_is_one_trace_over_both_processes(server: Server, collector: Collector) -> None:
    headers = {"traceparent": f"00-{CLIENT}-b7ad6b7169203331-01"}
    body = {"model": MODEL, "prompt": "The mother tongue of", "max_tokens": 5, "temperature": 0}
    answer = server.http.post("/v1/completions", json=body, headers=headers)
    assert answer.status_code == 200
    collector.wait_for(lambda spans: len([span for span in spans if span.trace == CLIENT]) == 3, "three spans")

    spans = collector.where(trace=CLIENT)
    assert tree(spans) == ["POST /v1/completions", "  generate", "    decode"]
    request, generate, decode = spans
    assert (request.parent, generate.kind, decode.kind) == ("b7ad6b7169203331", "client", "server")
    assert (generate.service, decode.service) == ("emmetd-api", "emmetd-worker")
    assert decode.attributes["gen_ai.usage.output_tokens"] == answer.json()["usage"]["completion_tokens"]
    assert decode.events == ("first token",)


def test_a_stream_that_nobody_reads_any_more_ends_its_spans(server: Server, collector: Collector) -> None:
    trace = CLIENT[::-1]
    body = {"model": MODEL, "prompt": "The", "max_tokens": 40, "n": 16, "stream": True, "temperature": 1.0}
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    with server.http.stream("POST", "/v1/completions", json=body, headers=headers) as answer:
        next(answer.iter_lines())
    collector.wait_for(lambda spans: len([span for span in spans if span.trace == trace]) == 3, "three spans")
    assert [span.name for span in collector.where(trace=trace)] == ["POST /v1/completions", "generate", "decode"]


def test_what_was_refused_is_a_trace_of_its_request_alone(server: Server, collector: Collector) -> None:
    trace = "1" * 32
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    answer = server.http.post("/v1/edits?label=Lyon", json={"model": "nobody", "facts": facts(1)}, headers=headers)
    assert answer.status_code == 404
    collector.wait_for(lambda spans: [span for span in spans if span.trace == trace], "the request's span")
    (span,) = collector.where(trace=trace)
    assert (span.attributes["http.response.status_code"], span.failed) == (404, False)


def test_kill_9_of_the_worker_leaves_the_batch_in_its_trace(server: Server, collector: Collector) -> None:
    edit_id = long_edit(server)
    wait_until(one_shard_done(server, edit_id), "the first shard")
    first = {shard.id for shard in shards_of(server, edit_id) if shard.state == "done"}
    # Not that of the relay, which names the task too: what a worker has not sent when it is killed is lost.
    collector.wait_for(
        lambda spans: first <= {span.attributes["emmetd.task.id"] for span in spans if span.name == "values task"},
        "its span",
    )

    server.kill(WORKER)

    assert server.outcome(edit_id)["state"] == "succeeded"
    spans = trace_of(collector, edit_id)
    shards = {shard.id: shard for shard in shards_of(server, edit_id)}
    done = {span.attributes["emmetd.task.id"]: span for span in spans if span.name == "values task"}
    assert first <= done.keys()
    assert len(shards.keys() - done.keys()) <= 1  # whose span was not on its way yet when the worker was killed
    assert all(shards[task].shard == span.attributes["emmetd.task.shard"] for task, span in done.items())
    again = [span for span in done.values() if shards[span.attributes["emmetd.task.id"]].attempts == 2]
    assert len(again) >= 1
    known = {span.id for span in spans}
    for span in again:
        # The attempt that was killed could not send its span; that it was there is known nevertheless.
        assert (span.attributes["emmetd.task.attempt"], len(span.links)) == (2, 1)
        assert not known & set(span.links)
        enqueued = [
            one
            for one in spans
            if one.name == "enqueue" and one.attributes["emmetd.task.id"] == span.attributes["emmetd.task.id"]
        ]
        assert [one.links for one in enqueued] == [(), span.links]
    assert all(not span.links for task, span in done.items() if shards[task].attempts == 1)


def test_a_batch_goes_on_in_its_trace_when_worker_and_api_are_others(server: Server, collector: Collector) -> None:
    edit_id = long_edit(server)
    wait_until(one_shard_done(server, edit_id), "the first shard")

    (worker,) = server.pids(WORKER)
    os.kill(worker, signal.SIGTERM)
    server.kill(API)

    assert server.outcome(edit_id)["state"] == "succeeded"
    spans = trace_of(collector, edit_id)
    (given_back,) = [span for span in spans if span.attributes.get("error.type") == "given_back"]
    (again,) = [span for span in spans if span.name == "values task" and span.links]
    assert again.links == (given_back.id,)
    assert given_back.attributes["emmetd.task.id"] == again.attributes["emmetd.task.id"]
    assert tree(spans)[-4:] == EDIT[-4:]


def test_no_span_holds_what_people_wrote_or_a_key(server: Server, collector: Collector) -> None:
    texts = {KEY, "mother tongue"}
    for fact in facts(24):
        texts |= {fact["subject"], fact["prompt"], fact["target_new"]}
    sent = b"".join(collector.bodies)
    assert b"plan task" in sent
    assert [text for text in texts if text.encode() in sent] == []


def test_a_collector_that_goes_away_disturbs_nothing(server: Server, collector: Collector) -> None:
    collector.refusing = True
    try:
        assert server.outcome(server.edit(facts(1), thresholds=LOOSE))["state"] == "succeeded"
        wait_until(lambda: "traces cannot be sent" in server.said(), "somebody says so")
        assert server.complete(["The"], max_tokens=2)
        assert server.stop() == 0
    finally:
        collector.refusing = False
