"""An evaluation as a page: what is on it, and that nothing on it can run or leave."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

from store.schema.database import Database
from store.work import evaluations, lifecycle
from store.work.evaluations import MeasuredFact
from store.work.kinds import EVALUATION
from tests.service.conftest import MODEL, Api, fact
from tests.service.models.test_endpoints import publish

NAMES = (f"{MODEL}@v1", f"{MODEL}@v0")
PICTURE = "<img src=https://elsewhere.example/x>"
EVIL = "</dd><script>x()</script>"


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(value: float, said: str) -> dict[str, Any]:
    prompt = {"prompt": "p", "new": -2.5, "old": -0.5, "said": value == 1}
    spoken = {"paraphrases": [f"{said} again"], "chat": [], "portability": [], "locality": []}
    return {"metrics": {"ES": value}, "prompt": prompt, "greedy": said, "said": spoken, "texts": []}


def measured(api: Api, database: Database, values: list[float], *, finished: bool = True) -> str:
    """An evaluation of v1 beside v0 on facts with these values under v1; its address."""
    publish(api, database)
    facts = [fact(number, target_new=EVIL if number == 1 else "Lyon") for number in range(4)]
    body = {"model": NAMES[0], "compare_with": "v0", "metrics": ["ES", "GE"], "facts": facts}
    location: str = api.http.post("/v1/evaluations", json=body).headers["location"]
    rows = [
        MeasuredFact(
            number,
            {NAMES[0]: {"ES": value, "GE": 500.0}, NAMES[1]: {"ES": 0.0, "GE": 510.0}},
            {
                NAMES[0]: read(value, f"one of {EVIL} {PICTURE}"),
                NAMES[1]: read(0.0, "another"),
            },
        )
        for number, value in enumerate(values)
    ]
    found = {
        NAMES[0]: {
            "ES": {"value": 0.625, "n": 4, "low": 0.25, "high": 0.9},
            "GE": {"value": 500.0, "n": 4, "low": 480.0, "high": 520.0},
        },
        NAMES[1]: {"ES": {"value": 0.0, "n": 4, "low": 0.0, "high": 0.0}, "GE": {"value": None, "n": 0}},
    }
    with database.writing() as session:
        row = lifecycle.get(session, EVALUATION, location.rpartition("/")[2])
        evaluations.keep(session, row.id, rows)
        if finished:
            evaluations.finish(row, metrics=found)
    return location


def test_it_shows_measurements_and_the_worst_facts_with_what_was_said(api: Api, database: Database) -> None:
    answer = api.http.get(f"{measured(api, database, [1.0, 0.25, 0.0, 1.0])}/report")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = Page(answer.text)
    assert "0.625 [0.25, 0.9], n = 4" in page.text
    assert f"Beside {NAMES[1]}." in page.text
    facts = page.text[page.text.index("The worst facts of") :]
    assert facts.index("Country 2") < facts.index("Country 1"), "the worst first"
    assert "Country 0" not in facts, "what is right is not shown"
    assert "wanted -2.5, before -0.5; wanted is not what would be said" in facts
    assert "another" in facts
    assert "25% of facts at 0, 25% between, 50% at 1" in answer.text
    bars = [attributes for tag, attributes in page.tags if tag == "rect" and attributes["class"] == "c0"]
    assert (bars[0]["x"], bars[0]["width"]) == ("0", "62.5")
    assert len(bars) == 2
    assert api.http.get("/v1/evaluations/eval_x/report").json()["code"] == "evaluation_not_found"


def test_nothing_on_it_runs_and_no_other_host_is_asked(api: Api, database: Database) -> None:
    answer = api.http.get(f"{measured(api, database, [1.0, 0.25, 0.0, 1.0])}/report")
    page = Page(answer.text)
    assert EVIL in page.text
    assert {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "form", "a", "object"} == set()
    assert all(not name.startswith("on") and name != "style" for _, attributes in page.tags for name in attributes)
    found = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert found is not None
    assert "url(" not in found[1]
    assert "@import" not in found[1]
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"


def test_while_it_runs_it_shows_what_there_is(api: Api, database: Database) -> None:
    text = Page(api.http.get(f"{measured(api, database, [1.0, 1.0], finished=False)}/report").text).text
    assert "queued, 2 facts measured so far" in text
    assert "misses no fact" in text
    assert "The worst facts" not in text
