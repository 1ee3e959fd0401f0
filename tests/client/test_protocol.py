"""What is sent and how answers are read, by a script: errors, releases that differ, pages, events, jobs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from emmetd_client import (
    APIError,
    AsyncEmmetd,
    ConfigurationError,
    EditProgress,
    Emmetd,
    InvalidFieldsError,
    JobRejectedError,
    NotOfferedError,
    UnexpectedAnswerError,
)
from emmetd_client._server_sent_events import EventDecoder

from tests.client.stub import FACT, JOB, Stub, answer, problem

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())


def older_server(request: httpx.Request) -> httpx.Response:
    """One that knows neither lineages nor budgets."""
    if request.url.path == "/openapi.json":
        paths = {
            path: what for path, what in DOCUMENT["paths"].items() if not path.endswith(("lineage", "consolidate"))
        }
        schemas = {**DOCUMENT["components"]["schemas"]}
        properties = {name: what for name, what in schemas["EditRequest"]["properties"].items() if name != "budget"}
        schemas["EditRequest"] = {**schemas["EditRequest"], "properties": properties}
        info = {**DOCUMENT["info"], "version": "0.0.9"}
        return answer(body={**DOCUMENT, "info": info, "paths": paths, "components": {"schemas": schemas}})
    if request.url.path == "/v1/edits":
        return problem(422, "invalid_fields", errors=[{"loc": "budget", "msg": "there is no such field"}])
    return problem(404, "path_not_found")


def test_an_older_server_is_named_with_what_it_lacks() -> None:
    stub = Stub(older_server)
    with Emmetd(transport=stub.transport) as client:
        with pytest.raises(NotOfferedError) as lineage:
            client.versions.lineage("tiny").to_list()
        with pytest.raises(NotOfferedError) as consolidate:
            client.versions.consolidate("tiny@v3")
        with pytest.raises(NotOfferedError) as budget:
            client.edits.create(model="tiny", facts=[FACT], budget={"drift": 1.2})
    assert lineage.value.missing == ["GET /v1/models/{model}/lineage"]
    assert "is emmetd 0.0.9 and has no POST /v1/models/{model}/versions/{version}/consolidate" in str(consolidate.value)
    assert budget.value.missing == ["field budget of POST /v1/edits"]
    assert sum("openapi" in one for one in stub.asked) == 1


def test_a_field_that_the_server_knows_is_the_callers_mistake() -> None:
    def wrong(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/openapi.json":
            return answer(body=DOCUMENT)
        return problem(422, "invalid_fields", errors=[{"loc": "facts[0].subject", "msg": "is empty"}])

    with Emmetd(transport=Stub(wrong).transport) as client, pytest.raises(InvalidFieldsError) as refused:
        client.edits.create(model="tiny", facts=[FACT])
    assert str(refused.value.fields[0]) == "facts[0].subject: is empty"


def test_a_newer_servers_answers_are_read_as_far_as_they_go() -> None:
    newer = {**JOB, "state": "pondering", "mood": "good", "progress": {"stage": "pondering", "colour": "red"}}
    with Emmetd(transport=Stub(answer(body=newer)).transport) as client:
        job = client.edits.get("edit_1")
    assert (job.state, job.ended, job.as_json()["mood"]) == ("pondering", False, "good")

    def other(request: httpx.Request) -> httpx.Response:
        info = {**DOCUMENT, "info": {"version": "9.0.0"}}
        return answer(body=info if request.url.path == "/openapi.json" else {"edits": []})

    with (
        Emmetd(transport=Stub(other).transport) as client,
        pytest.raises(UnexpectedAnswerError, match=r"emmetd 9\.0\.0"),
    ):
        client.edits.get("edit_1")


def test_the_answer_of_something_else_is_no_puzzle() -> None:
    html = httpx.Response(502, content=b"<html>Bad Gateway</html>")
    with Emmetd(transport=Stub(html).transport, retries=0) as client, pytest.raises(APIError, match="Bad Gateway"):
        client.edits.get("edit_1")
    moved = httpx.Response(301, headers={"Location": "https://elsewhere/"})
    with Emmetd(transport=Stub(moved).transport) as client, pytest.raises(UnexpectedAnswerError, match="elsewhere"):
        client.edits.get("edit_1")


def test_fields_that_this_release_adds_travel_as_the_contract_has_them() -> None:
    stub = Stub(answer(202, {**JOB, "kind": "consolidation"}))
    with Emmetd(transport=stub.transport) as client:
        client.edits.create(model="tiny", facts=[FACT], thresholds={"retained": 0.9}, budget={"drift": 1.2})
        assert stub.body() == {
            "model": "tiny",
            "facts": [FACT],
            "thresholds": {"retained": 0.9},
            "budget": {"drift": 1.2},
        }
        assert (
            client.versions.consolidate(
                "tiny", "v9", algorithm="memit", settings={"layers": [8]}, thresholds={"drift": 2.0}
            ).kind
            == "consolidation"
        )
        assert stub.body() == {"algorithm": "memit", "settings": {"layers": [8]}, "thresholds": {"drift": 2.0}}
        assert stub.asked[-1] == "POST /v1/models/tiny/versions/v9/consolidate"
        assert stub.requests[-1].headers["idempotency-key"]
    ended = {"id": "eval_1", "state": "succeeded", "model": "tiny@v100", "metrics": {}, "progress": {"stage": "done"}}
    stub = Stub(answer(202, ended))
    with Emmetd(transport=stub.transport) as client:
        client.evaluations.run(model="tiny@v100", facts_of="v100", sample=200, seed=0, metrics=["EM", "GA"])
        assert stub.body() == {
            "model": "tiny@v100",
            "facts_of": "v100",
            "sample": 200,
            "seed": 0,
            "metrics": ["EM", "GA"],
        }
        client.evaluations.run(model="tiny", metrics=["drift"])
        assert stub.body() == {"model": "tiny", "metrics": ["drift"]}
        with pytest.raises(ConfigurationError, match="give one of them"):
            client.evaluations.create(model="tiny", facts=[FACT], facts_of="v1")


def test_a_lineage_and_what_a_version_weighs_are_read() -> None:
    entry = {
        "version": "v1",
        "parent": "v0",
        "facts": 2,
        "facts_in_force": 2,
        "drift": {"value": 1.01, "low": 1.0, "high": 1.02, "n": 50},
        "drift_parent": 1.002,
        "retained": None,
        "relative_norms": {"8": 0.01},
        "bytes": {"delta": 10, "matrices": 30},
        "created_at": "2026-11-30T08:00:00Z",
        "aliases": ["latest"],
    }
    stub = Stub(
        answer(body={"data": [entry], "next_cursor": "n"}),
        answer(body={"data": [{**entry, "version": "v2"}], "next_cursor": None}),
    )
    with Emmetd(transport=stub.transport) as client:
        found = client.versions.lineage("tiny@latest", page_size=1).to_list()
    assert [(one.version, one.added_bytes) for one in found] == [("v1", 40), ("v2", 40)]
    assert stub.asked[1] == "GET /v1/models/tiny/lineage?of=latest&limit=1&cursor=n"
    measured = {
        "after": {"GA": {"value": 0.9, "n": 10, "low": 0.8, "high": 0.95}},
        "retained": {"before": {"EM": {"value": 1.0, "n": 9}}, "after": {"EM": {"value": 0.9, "n": 9}}},
        "drift": {"value": 1.1, "parent": 1.01, "low": 1.0, "high": 1.2, "n": 99},
    }
    version = {
        "version": "v7",
        "model": "tiny",
        "parent": "v0",
        "consolidates": "v6",
        "bytes": {"delta": 1024, "matrices": 0},
        "metrics": measured,
    }
    with Emmetd(transport=Stub(answer(body=version)).transport) as client:
        seen = client.versions.get("tiny@v7")
    assert seen.metrics is not None
    assert seen.metrics.retained is not None
    assert seen.metrics.drift is not None
    assert (seen.consolidates, seen.metrics.retained.after["EM"].value) == ("v6", 0.9)
    assert (seen.metrics.drift.parent, seen.metrics.after["GA"].low) == (1.01, 0.8)
    assert "v6" in seen._repr_html_()


def test_a_job_is_asked_until_it_ends_and_says_why_it_failed() -> None:
    running = {**JOB, "state": "optimising", "progress": {"stage": "optimising", "done": 1, "total": 2}}
    error = {"code": "budget_exceeded", "title": "Worn", "detail": "drift would be 1.3 of 1.2", "facts": [0]}
    rejected = {**JOB, "state": "rejected", "error": error}
    waited = {"Preference-Applied": "wait=1"}
    stub = Stub(answer(202, JOB), httpx.Response(200, json=running, headers=waited), httpx.Response(200, json=rejected))
    seen: list[float] = []
    with Emmetd(transport=stub.transport) as client, pytest.raises(JobRejectedError) as told:
        client.edits.create(model="tiny", facts=[FACT]).wait(on_progress=lambda progress: seen.append(progress.share))
    assert (told.value.code, told.value.facts) == ("budget_exceeded", [0])
    assert "consolidate" in str(told.value)
    assert seen == [0.0, 0.5, 0.0]
    assert stub.requests[1].headers["prefer"] == "wait=1"


EVENTS = (
    'retry: 0\n\nevent: state\nid: 1\ndata: {"id": 1, "edit": "e", "kind": "queued", "state": "queued", '
    '"at": "2026-11-30T08:00:00Z", "details": {}}\n\n: keep-alive\n\n'
    'event: progress\ndata: {"edit": "e", "stage": "a\u2028b", "done": 1, "total": 2}\n\n'
)
LAST = (
    'event: state\nid: 4\ndata: {"id": 4, "edit": "e", "kind": "succeeded", "state": "succeeded", '
    '"at": "2026-11-30T08:00:00Z", "details": {"version": "v1"}}\n\n'
)


def stream(text: str) -> httpx.Response:
    return httpx.Response(200, content=text.encode(), headers={"Content-Type": "text/event-stream"})


def test_a_file_that_is_too_large_leaves_nothing_behind(tmp_path: Path) -> None:
    stub = Stub(httpx.Response(200, content=b"x" * 100))
    with Emmetd(transport=stub.transport) as client:
        with pytest.raises(UnexpectedAnswerError, match="larger than max_bytes, 99"):
            client.exports.download("tiny@v1", to=tmp_path, max_bytes=99)
        assert list(tmp_path.iterdir()) == []
        assert client.exports.download("tiny@v1", to=tmp_path, max_bytes=100).size == 100


def test_events_are_read_over_several_connections() -> None:
    async def follow() -> tuple[list[Any], Stub]:
        stub = Stub(stream(EVENTS + LAST[:40]), stream(LAST))
        async with AsyncEmmetd(transport=stub.transport) as client:
            return [event async for event in client.edits.events("e")], stub

    stub = Stub(stream(EVENTS + LAST[:40]), stream(LAST))
    with Emmetd(transport=stub.transport) as client:
        events = list(client.edits.events("e"))
    others, other_stub = asyncio.run(follow())
    assert events == others
    assert [type(event).__name__ for event in events] == ["EditEvent", "EditProgress", "EditEvent"]
    assert isinstance(events[1], EditProgress)
    assert events[1].stage == "a\u2028b"
    assert "last-event-id" not in stub.requests[0].headers
    assert {one.requests[1].headers["last-event-id"] for one in (stub, other_stub)} == {"1"}
    with Emmetd(transport=Stub(httpx.Response(204)).transport) as client:
        assert list(client.edits.events("e", after=4)) == []


def test_an_error_within_a_stream_is_raised() -> None:
    ended = 'event: error\ndata: {"title": "No", "status": 401, "code": "unauthorized", "detail": "revoked"}\n\n'
    with Emmetd(transport=Stub(stream(ended)).transport) as client, pytest.raises(APIError) as refused:
        list(client.edits.events("e"))
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")
    lost = (
        'data: {"error": {"message": "gone", "type": "service_unavailable", "param": null, "code": "answer_lost"}}\n\n'
    )
    with Emmetd(transport=Stub(stream(lost)).transport) as client, pytest.raises(APIError, match="gone") as broken:
        list(client.completions.stream(model="tiny", prompt="x"))
    assert (broken.value.status, broken.value.code) == (503, "answer_lost")


def test_events_in_pieces_of_any_size_are_the_same() -> None:
    text = (EVENTS + LAST).replace("\n", "\r\n").encode()
    decoder = EventDecoder()
    found = [event for number in range(len(text)) for event in decoder.feed(text[number : number + 1])]
    assert [event.id for event in found] == ["1", None, "4"]
    assert (decoder.last_id, decoder.retry_seconds) == ("4", 0)


def test_addresses_and_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Emmetd().base_url == "http://127.0.0.1:8000"
    monkeypatch.setenv("EMMETD_URL", "http://there:9000/")
    monkeypatch.setenv("EMMETD_API_KEY", "secret-key")
    stub = Stub(answer(body=JOB))
    with Emmetd(transport=stub.transport) as client:
        client.edits.get("a/b?c")
        assert "secret" not in repr(client)
    assert str(stub.requests[0].url) == "http://there:9000/v1/edits/a%2Fb%3Fc"
    assert stub.requests[0].headers["authorization"] == "Bearer secret-key"
    for url, key in (("there:9000", None), ("ftp://there", None), ("http://u:p@there", None), ("http://x", "a\nb")):
        with pytest.raises(ConfigurationError):
            Emmetd(url, api_key=key)
