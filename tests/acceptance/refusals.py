"""How fast bad input is refused: every refusal, in bodies of about 100 KB, with the right status and nothing queued.

    python -m tests.acceptance.refusals --url http://127.0.0.1:8000 --model smollm2-135m
    python -m tests.acceptance.refusals --tokenizer path/to/tokenizer.json

The first asks a server that runs already; the second starts one of its own, which knows a model by its tokenizer alone.
Without either the tokenizer is the default model's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from benchmarks.results import environment, write_result
from cli.supervision.private_redis import prepare_private_redis
from cli.supervision.tethered import tethered
from configuration.settings import Settings, load_settings
from store.blobs.opening import open_blob_store
from store.lineage import models
from store.lineage.models import ModelIdentity
from store.schema.database import Database, migrate

BODY_BYTES: Final = 100_000
AIM_SECONDS: Final = 0.1
OWN_MODEL: Final = "bench"
JSON: Final = {"Content-Type": "application/json"}
KEY: Final = os.environ.get("EMMETD_API_KEY", "benchmark")


@dataclass(frozen=True)
class Case:
    name: str
    status: int
    body: bytes
    says: str
    headers: dict[str, str] = field(default_factory=dict)


def fact(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "prompt": "The mother tongue of {} is",
        "subject": f"Danielle Darrieux {number}",
        "target_new": "English",
        "target_old": "French",
        **fields,
    }


def many_facts() -> list[dict[str, Any]]:
    """As many good facts as fit into a body."""
    size = len(json.dumps(fact(1000))) + 2
    return [fact(number) for number in range(BODY_BYTES // size - 10)]


def cases(model: str) -> list[Case]:
    good = many_facts()

    def with_last(name: str, says: str, last: dict[str, Any], **fields: Any) -> Case:
        return request(name, says, [*good, last], **fields)

    def request(name: str, says: str, facts: Any, status: int = 422, **fields: Any) -> Case:
        return Case(name, status, json.dumps({"model": model, "facts": facts, **fields}).encode(), says)

    text = json.dumps({"model": model, "facts": good})
    return [
        Case("malformed JSON at the end", 400, text[:-2].encode(), "line 1, column"),
        Case("duplicate key at the end", 400, (text[:-1] + ', "model": "x"}').encode(), "more than once"),
        Case("body of another type", 415, text.encode(), "application/json", {"Content-Type": "text/plain"}),
        request("no facts, 100 KB of label", "at least one", [], label="x" * BODY_BYTES),
        request("over the batch limit", "several batches", [0] * 10_001),
        with_last("prompt without {} and subject", "put {} where", fact(0, prompt="The twin city of")),
        with_last("empty target", "is empty", fact(0, target_new=" ")),
        with_last("target equal to the old one", "equals target_old", fact(0, target_new="French")),
        with_last("contradicting facts", "contradicts facts[0]", fact(0, target_new="Dutch")),
        with_last("wrong type", "must be text", fact(0, subject=7)),
        with_last("text over the limit", "at most", fact(0, prompt="{}" + "x" * 10_001)),
        request("every fact is wrong", "is empty", [{**one, "target_new": ""} for one in good]),
        request("unknown algorithm", "known: emmet", good, algorithm="emmett"),
        request("unknown setting", "known: preset", good, settings={"layer": 3}),
        request("layer beyond the model", "the model has layers", good, settings={"layers": [999]}),
        request("threshold with n = 0", "n would be 0", good, thresholds={"PS": 0.5}),
        request("rome with many subjects", "1 subject at a time", good, algorithm="rome"),
        # Rare characters are several tokens each: ordinary text of the longest length allowed fits a long context.
        with_last("prompt over the context", "reads at most", fact(0, prompt="{} " + "\u9f98\u9f8d" * 2400)),
        with_last(
            "subject merged across a boundary", "ends inside the token", fact(0, prompt="{}ish is", subject="Engl")
        ),
        Case("unknown model", 404, text.replace(f'"{model}"', '"huge"', 1).encode(), "known models"),
        Case("unknown version", 404, text.replace(f'"{model}"', f'"{model}@v999"', 1).encode(), "v0 to v"),
        Case("stale If-Match", 409, text.encode(), "now", {"If-Match": '"v999"'}),
    ]


def measure(http: httpx.Client, case: Case, rounds: int) -> dict[str, float]:
    """Seconds from request to answer; raises where the answer is not the right one."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        answer = http.post("/v1/edits", content=case.body, headers={**JSON, **case.headers})
        seconds.append(time.perf_counter() - started)
        if answer.status_code != case.status or case.says not in answer.text:
            raise SystemExit(
                f"{case.name}: expected {case.status} with {case.says!r}, got {answer.status_code}: {answer.text[:500]}"
            )
    ordered = sorted(seconds)
    return {
        "bytes": len(case.body),
        "p50": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))],
        "max": ordered[-1],
    }


@contextmanager
def own_server(tokenizer: Path) -> Iterator[str]:
    """`emmetd api` with its own database and Redis, and a model that no worker holds; its URL."""
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        folder = Path(name)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        redis = prepare_private_redis(folder / "redis")
        children = [subprocess.Popen(tethered(redis.command), stdout=subprocess.DEVNULL)]
        try:
            asyncio.run(redis.answers())
            register(folder, tokenizer)
            free.close()
            command = [sys.executable, "-m", "cli.main", "api", "--data", name, "--port", str(port)]
            variables = {"EMMETD_REDIS_URL": redis.url, "EMMETD_LOG_LEVEL": "warning", "EMMETD_API_KEY": KEY}
            children.append(subprocess.Popen(tethered(command), env={**os.environ, **variables}))
            url = f"http://127.0.0.1:{port}"
            await_answer(url)
            yield url
        finally:
            for child in reversed(children):
                child.terminate()
                child.wait()


def register(folder: Path, tokenizer: Path) -> None:
    """A model of SmolLM2-135M's shape, as a worker would leave it in SQL."""
    settings = Settings(data=folder)
    migrate(settings.database_url)
    identity = ModelIdentity(
        fingerprint="0" * 64,
        tokenizer_fingerprint="0" * 64,
        dtype="float32",
        model_type="llama",
        n_layers=30,
        d_in=1536,
        d_out=576,
        context_length=2048,
        tokenizer_blob=open_blob_store(settings.blob_url).put(tokenizer.read_bytes()),
        chat_template=None,
    )
    database = Database(settings.database_url)
    with database.writing() as session:
        models.register(session, OWN_MODEL, str(tokenizer))
        models.bind(session, OWN_MODEL, identity)
    database.close()


def await_answer(url: str) -> None:
    while True:
        try:
            httpx.get(f"{url}/livez").raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.05)


def run(url: str, model: str, rounds: int) -> dict[str, Any]:
    """Every case, warm, one request at a time; raises where a refusal is wrong or something was queued."""
    found = {}
    with httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {KEY}"}) as http:
        before = http.get("/v1/edits").json()["data"]
        for case in cases(model):
            measure(http, case, 3)
            found[case.name] = measured = measure(http, case, rounds)
            print(
                f"{case.name:36} {measured['bytes']:8,.0f} bytes   p50 {1000 * measured['p50']:6.1f} ms"
                f"   p95 {1000 * measured['p95']:6.1f} ms   max {1000 * measured['max']:6.1f} ms"
            )
        if http.get("/v1/edits").json()["data"] != before:
            raise SystemExit("a refused batch was queued")
    slow = [name for name, measured in found.items() if measured["p95"] >= AIM_SECONDS]
    print(f"p95 under {1000 * AIM_SECONDS:.0f} ms: {'all' if not slow else 'not ' + ', '.join(slow)}")
    return {"rounds": rounds, "cases": found, "slower_than_aimed": slow}


def default_tokenizer() -> Path:
    """Of the default model, which is fetched into the configured data folder where it is not there yet."""
    from editing.model.loading import prepare_model

    settings = load_settings()
    token = settings.hf_token.get_secret_value() if settings.hf_token else None
    return prepare_model(settings.model, cache=settings.data, token=token) / "tokenizer.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--model", default="smollm2-135m", help="NAME of a model that it knows")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json for a server of our own")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    if arguments.url:
        result = run(arguments.url, arguments.model, arguments.rounds)
    else:
        with own_server(arguments.tokenizer or default_tokenizer()) as url:
            result = run(url, OWN_MODEL, arguments.rounds)
    if arguments.output:
        write_result(arguments.output, {"environment": environment(), **result})


if __name__ == "__main__":
    main()
