"""Every refusal of an edit batch: its status, its code, the field, the remedy, and that nothing was queued."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from cli.supervision.private_redis import PrivateRedis
from configuration.settings import Settings
from tests.service.conftest import CONTEXT_LENGTH, MODEL, N_LAYERS, Api, fact, load_model, served


@dataclass(frozen=True)
class Refusal:
    """`says`: what the message about the field `loc` (or, without one, `detail`) holds; the remedy last."""

    id: str
    status: int
    code: str
    says: tuple[str, ...]
    facts: Any = None
    loc: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def wrong(id: str, loc: str, *says: str, facts: Any = None, **fields: Any) -> Refusal:
    return Refusal(id, 422, "invalid_fields", says, facts, loc, fields)


def fact_without(name: str) -> dict[str, Any]:
    return {key: value for key, value in fact().items() if key != name}


NEIGHBOR = {"prompt": "The capital of Italy is"}

REFUSALS = [
    wrong("no facts", "facts", "is empty", "give at least one", facts=[]),
    wrong("facts not a list", "facts", "must be a list", facts={"0": fact()}),
    wrong("too many facts", "facts", "has 9 facts", "at most 8", "several batches", facts=[fact(n) for n in range(9)]),
    wrong("fact not an object", "facts[1]", 'is "x"', "must be an object", facts=[fact(), "x"]),
    wrong("missing field", "facts[0].target_new", "is missing", "add it", facts=[fact_without("target_new")]),
    wrong("unknown field", "facts[0].subjet", "is not known", "known: prompt, subject", facts=[fact(subjet="x")]),
    wrong("wrong type", "facts[1].subject", "is 5", "must be text", facts=[fact(), fact(1, subject=5)]),
    wrong(
        "prompt without {} and without subject",
        "facts[0].subject",
        "'Country 0' does not occur in prompt 'The twin city of …'",
        "put {} where the subject stands",
        facts=[fact(prompt="The twin city of …")],
    ),
    wrong("{} twice", "facts[0].prompt", "more than once", "once", facts=[fact(prompt="{} and {} are")]),
    wrong("empty subject", "facts[0].subject", "is empty", "say what it is", facts=[fact(subject=" ")]),
    wrong("empty target", "facts[0].target_new", "is empty", "say what it is", facts=[fact(target_new="  ")]),
    wrong("empty old target", "facts[0].target_old", "is empty", "leave it out", facts=[fact(target_old="")]),
    wrong(
        "empty paraphrase", "facts[0].paraphrases[1]", "is empty", "leave it out", facts=[fact(paraphrases=["a", ""])]
    ),
    wrong(
        "empty neighbor",
        "facts[0].neighbors[0].prompt",
        "is empty",
        "leave it out",
        facts=[fact(neighbors=[{"prompt": " "}])],
    ),
    wrong(
        "target equal to old",
        "facts[0].target_new",
        "'Paris' equals target_old",
        "give the answer that shall replace",
        facts=[fact(target_new="Paris")],
    ),
    wrong(
        "contradicting facts",
        "facts[2].target_new",
        '"Nice" contradicts facts[0]',
        '"Lyon"',
        "keep one",
        facts=[fact(), fact(1), fact(target_new="Nice")],
    ),
    wrong(
        "text too long",
        "facts[0].prompt",
        "has 41 characters",
        "at most 40",
        "shorten",
        facts=[fact(prompt="{}" + "x" * 39)],
    ),
    wrong(
        "neighbor too long",
        "facts[0].neighbors[0].prompt",
        "at most 40",
        "shorten",
        facts=[fact(neighbors=[{"prompt": "x" * 41}])],
    ),
    wrong("text over any limit", "facts[0].target_new", "has 10001", "shorten", facts=[fact(target_new="x" * 10_001)]),
    wrong("surrogate", "facts[0].prompt", "surrogate", "send valid Unicode", facts=[fact(prompt="{} \ud800")]),
    wrong("unknown algorithm", "algorithm", '"emmett" is unknown', "known: emmet, memit, rome", algorithm="emmett"),
    wrong("unknown setting", "settings.layer", "is not known", "known: preset, layers", settings={"layer": 1}),
    wrong("setting of wrong type", "settings.steps", "must be a whole number", settings={"steps": "many"}),
    wrong("setting out of range", "settings.steps", "is 0", "at least 1", settings={"steps": 0}),
    wrong("two forms of mu", "settings", "not both", settings={"mu": 1, "mu_relative": 1}),
    wrong("unknown preset", "settings.preset", "'gpt-5' is unknown", "known: authors-", settings={"preset": "gpt-5"}),
    wrong(
        "layer beyond the model",
        "settings.layers",
        f"[{N_LAYERS}]",
        f"has layers 0 to {N_LAYERS - 1}",
        settings={"layers": [0, N_LAYERS]},
    ),
    wrong("unknown threshold", "thresholds.XS", "is not known", "known: 'ES'", thresholds={"XS": 1}),
    wrong("threshold not a number", "thresholds.EM", "must be a number", thresholds={"EM": "high"}),
    wrong("PS without paraphrases", "thresholds.PS", "n would be 0", "leave the threshold out", thresholds={"PS": 0.5}),
    wrong(
        "a threshold on conversation for a model without a chat template",
        "thresholds.GA_chat",
        "no chat template",
        "leave the threshold out",
        thresholds={"GA_chat": 0.5},
    ),
    wrong("empty alias", "facts[0].aliases[0]", "is empty", "leave it out", facts=[fact(aliases=[" "])]),
    wrong("too many aliases", "facts[0].aliases", "at most 50", facts=[fact(aliases=["x"] * 51)]),
    wrong(
        "too long portability answer",
        "facts[0].portability[0].target",
        "has 41 characters",
        "shorten it",
        facts=[fact(portability=[{"prompt": "Rome", "target": "x" * 41}])],
    ),
    wrong(
        "empty locality prompt",
        "facts[0].locality[0].prompt",
        "is empty",
        "leave it out",
        facts=[fact(locality=[{"prompt": " "}])],
    ),
    wrong(
        "too long generation prompt",
        "facts[0].generation_prompts[0]",
        "has 41 characters",
        "shorten it",
        facts=[fact(generation_prompts=["x" * 41])],
    ),
    wrong("NS without neighbors", "thresholds.NS", "n would be 0", "neighbors", thresholds={"NS": 0.5}),
    wrong(
        "NS without neighbors' targets",
        "thresholds.NS",
        "n would be 0",
        "with their target",
        facts=[fact(neighbors=[NEIGHBOR])],
        thresholds={"NS": 0.5},
    ),
    wrong(
        "ES without old targets",
        "thresholds.ES",
        "target_old",
        facts=[fact_without("target_old")],
        thresholds={"ES": 1},
    ),
    wrong(
        "rome with two subjects",
        "facts",
        "1 subject at a time",
        "has 2",
        "use emmet, memit",
        algorithm="rome",
        facts=[fact(), fact(1)],
    ),
    wrong(
        "prompt over the context",
        "facts[1].prompt",
        f"the model reads at most {CONTEXT_LENGTH}",
        "shorten the prompt",
        facts=[fact(), fact(1, prompt="z{}" + "j" * 36, target_new="q" * 38)],
    ),
    wrong(
        "paraphrase over the context",
        "facts[0].paraphrases[0]",
        f"reads at most {CONTEXT_LENGTH}",
        "shorten the prompt",
        facts=[fact(paraphrases=["j" * 40], target_new="q" * 39)],
    ),
    wrong(
        "subject merged across a boundary",
        "facts[1].subject",
        "'Rome' ends inside the token",
        "make that part of the subject",
        facts=[fact(), fact(prompt="The capital of {}'s", subject="Rome")],
    ),
    wrong("model of no form", "model", "is not a model reference", "NAME@v3", model="Tiny Model"),
    wrong("model of wrong type", "model", "must be text", model=5),
    wrong("label too long", "label", "at most 200", "shorten", label="x" * 201),
    wrong("unknown top field", "fact", "is not known", "known: model, algorithm", fact=[]),
    wrong("not a boolean", "dry_run", "true or false", dry_run="yes"),
    Refusal("unknown model", 404, "model_not_found", ("'huge'", "known models: tiny"), fields={"model": "huge"}),
    Refusal("unknown version", 404, "version_not_found", ("v9", "it has v0 to v0"), fields={"model": f"{MODEL}@v9"}),
    Refusal(
        "unknown alias", 404, "version_not_found", ("'best'", "aliases: latest"), fields={"model": f"{MODEL}@best"}
    ),
    Refusal("stale If-Match", 409, "conflict", ("v3", "is v0 now"), headers={"If-Match": '"v3"'}),
    Refusal(
        "If-Match unreadable",
        400,
        "malformed_request",
        ("latest", 'write If-Match: "v3"'),
        headers={"If-Match": "latest"},
    ),
]


@pytest.fixture(scope="module")
def strict_api(
    tmp_path_factory: pytest.TempPathFactory,
    _migrated_database: Path,
    _redis_process: PrivateRedis,
    tokenizer: Tokenizer,
) -> Iterator[Api]:
    """One server for the whole table: none of it may leave anything behind."""
    folder = tmp_path_factory.mktemp("refusals")
    shutil.copyfile(_migrated_database, folder / "emmetd.sqlite3")
    settings = Settings(data=folder, redis_url=_redis_process.url, max_facts=8, max_text_chars=40, auth="off")
    load_model(settings, tokenizer)
    with served(settings) as api:
        yield api


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.id)
def test_is_refused_with_a_remedy_and_nothing_is_queued(strict_api: Api, refusal: Refusal) -> None:
    body = {"model": MODEL, "facts": [fact()] if refusal.facts is None else refusal.facts, **refusal.fields}

    answer = strict_api.http.post(
        "/v1/edits", content=json.dumps(body), headers={"Content-Type": "application/json", **refusal.headers}
    )

    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (refusal.status, refusal.status, refusal.code)
    assert answer.headers["content-type"] == "application/problem+json"
    message = problem["detail"]
    if refusal.loc is not None:
        message = next((error["msg"] for error in problem["errors"] if error["loc"] == refusal.loc), problem["errors"])
    for part in refusal.says:
        assert part in message
    assert "Value error" not in str(problem)
    assert strict_api.http.get("/v1/edits").json()["data"] == []


def test_all_that_is_wrong_is_said_at_once(api: Api) -> None:
    facts = [fact(), fact(1, subject=5), fact(2, target_new="Paris")]

    problem = api.edit(facts, settings={"stepz": 1}).json()

    assert {error["loc"] for error in problem["errors"]} == {
        "facts[1].subject",
        "facts[2].target_new",
        "settings.stepz",
    }
    assert problem["error_count"] == 3


def test_a_hundred_errors_are_shown_and_all_are_counted(api: Api) -> None:
    problem = api.edit([fact(n, target_new="") for n in range(250)]).json()

    assert len(problem["errors"]) == 100
    assert problem["error_count"] == 250
    assert problem["errors"][99]["loc"] == "facts[99].target_new"
    assert "249 more" in problem["detail"]


def test_errors_beyond_the_first_chunk_name_their_fact(api: Api) -> None:
    problem = api.edit([fact(n) for n in range(450)] + [fact(450, subject=None)]).json()

    assert [error["loc"] for error in problem["errors"]] == ["facts[450].subject"]


def test_a_full_queue_is_a_429_that_says_when_to_come_back(serve: Callable[..., Api], model: str) -> None:
    api = serve(max_queued_batches=1)
    assert api.edit().status_code == 202

    answer = api.edit([fact(1)])

    assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
    assert int(answer.headers["retry-after"]) > 0


def test_what_needs_the_tokenizer_is_left_to_the_worker_while_the_model_is_unknown(
    serve: Callable[..., Api], unknown_model: str
) -> None:
    api = serve()

    answer = api.edit([fact(prompt="The capital of {}'s", subject="Rome")], settings={"layers": [3], "steps": 5})

    assert answer.status_code == 202
    assert answer.json()["settings"] == {"overrides": {"layers": [3], "steps": 5}}


def test_a_wrong_preset_is_refused_even_while_the_model_is_unknown(
    serve: Callable[..., Api], unknown_model: str
) -> None:
    answer = serve().edit(settings={"preset": "none"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == "settings.preset"
