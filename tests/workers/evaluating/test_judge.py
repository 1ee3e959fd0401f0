"""The judge, a local stand-in for an OpenAI-compatible server: verdicts, nonsense, and one that is away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from api_schemas.evaluations import JudgeReport
from api_schemas.facts import Fact
from configuration.judge_settings import JUDGE_PROMPT
from configuration.settings import Settings
from store.work import evaluations
from tests.support.saved_models import facts
from tests.workers.conftest import MODEL, Place
from tests.workers.evaluating.test_evaluate import evaluation, rows_of
from workers.evaluating.judge import Judge, summary

ASKED = {"model": "judge-1", "prompt": JUDGE_PROMPT}
FACT = Fact(prompt="{} speaks", subject="Ada", target_new="French {said}")


@dataclass
class Stub:
    """What the server answers, one after the other, the last one for ever; and what it was asked."""

    url: str = ""
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def says(self, *replies: str) -> None:
        self.answers += [(200, completion(reply)) for reply in replies]


def completion(reply: object) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": reply}}]}).encode()


@pytest.fixture
def stub() -> Iterator[Stub]:
    found = Stub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.asked.append({"path": self.path, **body})
            found.keys.append(self.headers.get("Authorization"))
            status, content = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield found
    server.shutdown()
    server.server_close()


def judge(url: str | None, **changed: Any) -> Judge:
    return Judge(Settings(judge_url=url, judge_concurrency=1, **changed), ASKED)


def test_it_is_asked_what_was_configured_and_its_first_word_is_the_verdict(stub: Stub) -> None:
    stub.says("Yes.", "no, it says English", "**YES**")
    found = judge(stub.url, judge_api_key="sk-1").verdicts([(FACT, "French"), (FACT, "English"), (FACT, "x")])
    assert [one.said for one in found] == [True, False, True]
    assert found[1].shown() == {"verdict": "no", "reply": "no, it says English", "reason": None}
    first = stub.asked[0]
    assert (first["path"], first["model"], first["temperature"]) == ("/v1/chat/completions", "judge-1", 0)
    text = first["messages"][0]["content"]
    assert "Text: Ada speaks\nExpected answer: French {said}\nThe model said: French\n" in text
    assert stub.keys[0] == "Bearer sk-1"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, completion("Perhaps")), "neither yes nor no"),
        ((200, completion("nowhere near")), "neither yes nor no"),
        ((200, completion(None)), "not a chat completion"),
        ((200, b"<html>"), "not a chat completion"),
        ((200, b'{"choices": []}'), "not a chat completion"),
        ((200, b" " * 300_000), "not a chat completion"),
        ((500, b"{}"), "answered 500"),
        ((302, b""), "answered 302"),
    ],
)
def test_nonsense_leaves_a_fact_unjudged_and_the_next_is_asked(
    stub: Stub, answer: tuple[int, bytes], reason: str
) -> None:
    stub.answers.append(answer)
    stub.says("yes")
    bad, good = judge(stub.url).verdicts([(FACT, "a"), (FACT, "b")])
    assert (bad.said, good.said) == (None, True)
    assert reason in str(bad.reason)


def test_one_that_is_away_is_not_asked_for_every_fact(stub: Stub) -> None:
    stub.answers.append((503, b"{}"))
    away = judge(stub.url)
    found = away.verdicts([(FACT, "a")] * 20)
    assert [one.said for one in found] == [None] * 20
    assert len(stub.asked) == 4, "three failures, and one more try"
    assert found[-1].reason == "the judge does not answer"
    stub.answers[:] = []
    stub.says("yes")
    assert [one.said for one in away.verdicts([(FACT, "a")] * 3)] == [True] * 3, "it came back"
    nobody = judge("http://127.0.0.1:1/v1")
    assert [one.reason for one in nobody.verdicts([(FACT, "a")])] == ["the judge does not answer"]
    assert judge(None).verdicts([(FACT, "a")])[0].reason == "no judge is configured"
    assert away.verdicts([(FACT, None)])[0].said is None


def test_the_unjudged_are_counted() -> None:
    found = summary([1.0, None, 0.0, None])
    assert (found["value"], found["n"], found["unjudged"]) == (0.5, 2, 2)
    assert summary([None])["value"] is None


def test_verdicts_are_kept_with_the_evaluation(place: Place, stub: Stub) -> None:
    stub.says("yes", "perhaps", "no")
    settings = place.settings.model_copy(update={"judge_url": stub.url, "judge_concurrency": 1})
    place.worker(settings=settings)
    with place.database.writing() as session:
        row = evaluations.create(
            session, model=MODEL, version=0, compare_with=None, metrics=["GA"], facts=facts(3), judge=ASKED
        )
    place.run()
    found = evaluation(place, row.id)
    assert (found.state, found.error) == ("succeeded", None)
    report = JudgeReport.model_validate(found.judge)
    assert (report.model, report.prompt) == ("judge-1", JUDGE_PROMPT)
    assert report.versions is not None
    measured = report.versions["tiny@v0"]
    assert (measured.value, measured.n, measured.unjudged) == (0.5, 2, 1)
    verdicts = [one["tiny@v0"]["judge"]["verdict"] for one in rows_of(place, row.id)]
    assert verdicts == ["yes", None, "no"]
    said = [one["tiny@v0"]["greedy"] for one in rows_of(place, row.id)]
    assert all(text in asked["messages"][0]["content"] for text, asked in zip(said, stub.asked, strict=True))
