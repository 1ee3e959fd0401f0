"""The main job on a running server: correct facts, stack versions, go back, measure, find it all after a restart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.running.server import API, MODEL, WORKER, Server
from tests.support.saved_models import LANGUAGES, facts

SIX = 6


@dataclass
class History:
    """A server on which two batches made v1 and v2; what it said before and after."""

    server: Server
    facts: list[dict[str, Any]]
    jobs: list[dict[str, Any]]
    texts: dict[str, list[str]]

    @property
    def prompts(self) -> list[str]:
        return [one["prompt"].format(one["subject"]) for one in self.facts]

    def corrected(self, texts: list[str]) -> list[bool]:
        """For each fact whether its text begins with the new target."""
        return [text.strip().startswith(one["target_new"]) for text, one in zip(texts, self.facts, strict=True)]


def contradicting(server: Server, known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The facts with targets that the base model does not say."""
    said = server.complete([one["prompt"].format(one["subject"]) for one in known])
    wanted = []
    for one, text in zip(known, said, strict=True):
        others = [language for language in LANGUAGES if not text.strip().startswith(language)]
        wanted.append({**one, "target_new": others[0], "target_old": others[1]})
    return wanted


@pytest.fixture(scope="module")
def history(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with Server(tiny_model, tmp_path_factory.mktemp("editing") / "data") as server:
        wanted = contradicting(server, facts(2 * SIX))
        known = History(server, wanted, [], {})
        known.texts["before"] = server.complete(known.prompts, f"{MODEL}@v0")
        for batch in (wanted[:SIX], wanted[SIX:]):
            known.jobs.append(server.outcome(server.edit(batch, label=f"{len(known.jobs) + 1} of 2")))
        for version in ("v0", "v1", "v2"):
            known.texts[version] = server.complete(known.prompts, f"{MODEL}@{version}")
        yield known


def test_both_batches_became_versions(history: History) -> None:
    assert [(job["state"], job["base_version"], job["version"], job["error"]) for job in history.jobs] == [
        ("succeeded", "v0", "v1", None),
        ("succeeded", "v1", "v2", None),
    ]
    for job in history.jobs:
        assert job["metrics"]["after"]["EM"]["value"] >= 0.5 > job["metrics"]["before"]["EM"]["value"]
        assert set(job["metrics"]["seconds"]) == {"queued", "plan", "values", "solve", "check"}
        assert job["progress"] == {"stage": "done", "done": SIX, "total": SIX, "eta_seconds": 0, "detail": None}
    base, first, second = history.server.versions()
    assert [(row["version"], row["parent"], row["facts"]) for row in (base, first, second)] == [
        ("v0", None, 0),
        ("v1", "v0", SIX),
        ("v2", "v1", SIX),
    ]
    assert (first["aliases"], second["aliases"], second["total_facts"]) == ([], ["latest"], 2 * SIX)
    assert (second["label"], second["edit"]) == ("2 of 2", history.jobs[1]["id"])


def test_an_edit_changes_what_its_version_says(history: History) -> None:
    before = history.corrected(history.texts["v0"])
    first, second = history.corrected(history.texts["v1"]), history.corrected(history.texts["v2"])
    assert not any(before)
    assert sum(first[:SIX]) >= SIX - 1
    assert sum(second[:SIX]) >= SIX - 2
    assert sum(second[SIX:]) >= SIX - 1


def test_the_base_says_what_it_always_said(history: History) -> None:
    assert history.texts["v0"] == history.texts["before"]


def test_the_bare_name_is_the_latest_version(history: History) -> None:
    answer = history.server.http.post(
        "/v1/completions", json={"model": MODEL, "prompt": history.prompts[0], "max_tokens": 6, "temperature": 0}
    )
    assert answer.json()["choices"][0]["text"] == history.texts["v2"][0]
    assert answer.json()["system_fingerprint"] == answer.headers["x-emmetd-version"] == f"{MODEL}@v2"


def test_versions_asked_together_answer_as_they_do_alone(history: History) -> None:
    for _ in range(2):
        for version in ("v2", "v0", "v1"):
            alone = [history.server.complete([prompt], f"{MODEL}@{version}")[0] for prompt in history.prompts]
            assert alone == history.texts[version]


def test_a_rollback_takes_effect_at_once_and_can_be_taken_back(history: History) -> None:
    alias = f"/v1/models/{MODEL}/aliases/latest"
    http = history.server.http
    assert http.put(alias, json={"version": "v1", "expected": "v0"}).status_code == 409

    assert http.put(alias, json={"version": "v1", "expected": "v2"}).status_code == 200
    try:
        assert history.server.complete(history.prompts) == history.texts["v1"]
        cards = {card["id"]: card for card in http.get("/v1/models").json()["data"]}
        assert cards[f"{MODEL}@latest"]["parent"] == f"{MODEL}@v1"
    finally:
        assert http.put(alias, json={"version": "v2", "expected": "v1"}).status_code == 200
    assert history.server.complete(history.prompts) == history.texts["v2"]


def test_a_version_can_be_measured_beside_another(history: History) -> None:
    found = history.server.evaluate(
        model=f"{MODEL}@v2",
        compare_with="v0",
        facts=history.facts,
        metrics=["ES", "PS", "NS", "S", "EM", "GA", "GE", "drift"],
    )
    assert (found["state"], found["error"]) == ("succeeded", None)
    after, before = found["metrics"][f"{MODEL}@v2"], found["metrics"][f"{MODEL}@v0"]
    assert (before["EM"]["value"], before["EM"]["n"]) == (0.0, 2 * SIX)
    assert after["EM"]["value"] * 2 * SIX == pytest.approx(sum(history.corrected(history.texts["v2"])), abs=1)
    assert after["ES"]["value"] > before["ES"]["value"]
    assert before["drift"]["value"] == 1.0
    assert 0.5 < after["drift"]["value"] < 1.5
    assert len(found["facts"]) == 2 * SIX


def test_an_evaluation_agrees_with_what_was_measured_before_publishing(history: History) -> None:
    found = history.server.evaluate(model=f"{MODEL}@v1", facts=history.facts[:SIX], metrics=["ES", "PS", "NS", "S"])
    checked = history.jobs[0]["metrics"]["after"]
    for name, measured in found["metrics"][f"{MODEL}@v1"].items():
        assert measured == {part: pytest.approx(number) for part, number in checked[name].items()}


def test_the_api_never_loaded_pytorch(history: History) -> None:
    (api,) = history.server.pids(API)
    (worker,) = history.server.pids(WORKER)
    assert "libtorch" not in Path(f"/proc/{api}/maps").read_text()
    assert "libtorch" in Path(f"/proc/{worker}/maps").read_text()


def test_each_line_of_a_batchs_work_names_it(history: History) -> None:
    lines = [json.loads(line) for line in history.server.said().splitlines() if line.startswith("{")]
    about = {line["event"] for line in lines if line.get("edit") == history.jobs[0]["id"]}
    assert {"edit accepted", "task started", "planned", "optimised", "solved", "published", "task done"} <= about
    published = [line for line in lines if line["event"] == "published"]
    assert [line["version"] for line in published] == ["v1", "v2"]


def test_the_worker_tells_prometheus_how_long_each_stage_took(history: History) -> None:
    port = re.search(r"metrics are on port (\d+)", history.server.said())
    assert port
    text = httpx.get(f"http://127.0.0.1:{port[1]}/metrics", trust_env=False).text
    for stage in ("plan", "values", "solve", "check", "publish"):
        labels = f'algorithm="emmet",model="{MODEL}",stage="{stage}"'
        assert f"emmetd_edit_stage_duration_seconds_count{{{labels}}} 2.0" in text
    assert f'emmetd_edit_batch_duration_seconds_count{{algorithm="emmet",model="{MODEL}"}} 2.0' in text
    told_by_the_api = history.server.http.get("/metrics").text
    assert f'emmetd_edits_total{{model="{MODEL}",state="succeeded"}} 2.0' in told_by_the_api
    assert "emmetd_http_request_duration_seconds_count" in told_by_the_api


def test_everything_is_there_after_a_restart(history: History) -> None:
    server, versions = history.server, history.server.versions()
    pids = [server.process.pid, *server.pids()]
    assert len(pids) == 4

    server.restart()

    assert server.versions() == versions
    for version in ("v0", "v1", "v2"):
        assert server.complete(history.prompts, f"{MODEL}@{version}") == history.texts[version]
    assert server.complete(history.prompts) == history.texts["v2"]
    third = server.outcome(server.edit(facts(2, first=2 * SIX), thresholds={"EM": 0.0}))
    assert (third["base_version"], third["version"]) == ("v2", "v3")
