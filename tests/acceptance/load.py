"""Many clients while a batch is optimised and published: no error, no answer of a wrong version, and how fast.

    python -m tests.acceptance.load --facts counterfact.jsonl --output out.json [--data DIR]

The prompts are of facts that the versions answer differently; an answer's first token is held against what the stamped
version says to the same prompt alone, where that is sure of it. The process ends with an error outside the bounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.results import environment, write_result
from cli.commands.worker import set_thread_environment
from configuration.settings import load_settings
from tests.acceptance.main_job import draws, prompt_of
from tests.acceptance.server import Server

MODEL = "smollm2-135m"
CLIENTS = 32
TOKENS = 48
WARM_SECONDS, IDLE_SECONDS, BUSY_SECONDS = 10.0, 90.0, 60.0
TURNS = 6
"""The service and generate() take turns while nothing is edited: so many."""
AFTERWARDS_SECONDS = 25.0
"""How long the load goes on after the version is published: until every client has had an answer of it."""
MARGIN_NATS = 1.0
MOST_GAP_RATIO, LEAST_THROUGHPUT = 4.0, 0.8
GENERATE = "import sys; from tests.acceptance.load import plain_rates; plain_rates(sys.argv[1], sys.argv[2])"


@dataclass
class Load:
    """What the clients saw: `gaps`, seconds between a row's tokens; `answers`, (stamp, prompt, text) of whole ones.

    `tokens` are the seconds from the start at which tokens came, `seconds` how long all clients asked: what came later
    came from fewer and fewer rows.
    """

    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    gaps: list[float] = field(default_factory=list)
    answers: list[tuple[str, str, str]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    tokens: list[float] = field(default_factory=list)

    def rate(self) -> float:
        """Tokens a second."""
        return sum(at <= self.seconds for at in self.tokens) / self.seconds

    def summary(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "answers": len(self.answers),
            "errors": self.errors[:20],
            "tokens_per_second": self.rate(),
            "gap_p50": sorted(self.gaps)[len(self.gaps) // 2],
            "gap_p95": p95(self.gaps),
        }


def p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(0.95 * (len(seconds) - 1))]


async def client(http: httpx.AsyncClient, load: Load, asks: Sequence[tuple[str, str]], until: asyncio.Event) -> None:
    """Ask one after another, streaming, until told to stop; the last answer is waited for."""
    number = 0
    while not until.is_set():
        model, prompt = asks[number % len(asks)]
        number += 1
        body = {"model": model, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "stream": True}
        text, stamp, last = "", "", 0.0
        try:
            async with http.stream("POST", "/v1/completions", json=body) as answer:
                if answer.status_code != 200:
                    load.errors.append(f"{answer.status_code}: {(await answer.aread()).decode()[:200]}")
                    continue
                async for line in answer.aiter_lines():
                    if not line.startswith("data: ") or line == "data: [DONE]":
                        continue
                    event = json.loads(line[len("data: ") :])
                    if "error" in event:
                        load.errors.append(json.dumps(event["error"])[:200])
                        break
                    stamp = event["system_fingerprint"]
                    if event["choices"] and event["choices"][0]["text"]:
                        text += event["choices"][0]["text"]
                        now = time.monotonic()
                        if last:
                            load.gaps.append(now - last)
                        last = now
                        load.tokens.append(now - load.started)
                else:
                    load.answers.append((stamp, prompt, text))
        except httpx.HTTPError as error:
            load.errors.append(f"{type(error).__name__}: {error}")


async def under_load(url: str, asks: list[list[tuple[str, str]]], seconds: float, until: asyncio.Event) -> Load:
    """All clients at once for `seconds`, or longer, until `until` is set by somebody else."""
    load = Load()
    timeouts = httpx.Timeout(120)
    limits = httpx.Limits(max_connections=2 * CLIENTS)
    async with httpx.AsyncClient(base_url=url, timeout=timeouts, limits=limits) as http:
        over = asyncio.Event()
        running = [asyncio.create_task(client(http, load, of_client, over)) for of_client in asks]
        await asyncio.sleep(seconds)
        await until.wait()
        load.seconds = time.monotonic() - load.started
        over.set()
        await asyncio.gather(*running)
    return load


def sure_words(server: Server, version: str, prompts: Sequence[str]) -> dict[str, str]:
    """By prompt the token that `version` says first, where it is sure of it."""
    found = {}
    for prompt in prompts:
        body = {"model": f"{MODEL}@{version}", "prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 2}
        answer = server.client.post("/v1/completions", json=body)
        answer.raise_for_status()
        choice = answer.json()["choices"][0]
        best, second = sorted(choice["logprobs"]["top_logprobs"][0].values(), reverse=True)[:2]
        if best - second >= MARGIN_NATS:
            found[prompt] = choice["text"]
    return found


def wrong_answers(words: dict[str, dict[str, str]], load: Load) -> tuple[int, list[Any]]:
    """Answers that could be held against their stamp, and those that do not begin as the stamped version does."""
    checked, wrong = 0, []
    for stamp, prompt, text in load.answers:
        expected = words[stamp.partition("@")[2]].get(prompt)
        if expected is not None:
            checked += 1
            if not text.startswith(expected):
                wrong.append([stamp, prompt, text, expected])
    return checked, wrong


def telling(words: dict[str, dict[str, str]]) -> int:
    """Prompts to which at least two versions say different things, both for sure."""
    prompts = set().union(*(of_version for of_version in words.values()))
    return sum(len({said[prompt] for said in words.values() if prompt in said}) > 1 for prompt in prompts)


def plain_rates(folder: str, file: str) -> None:
    """Transformers' generate() at the same batch size, in a process of its own: tokens a second, once for each line of
    stdin. It waits for the next one asleep."""
    set_thread_environment(load_settings())
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    prompts = json.loads(Path(file).read_text())
    inputs = tokenizer(prompts, return_tensors="pt", padding=True)
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    model.generate(**inputs, min_new_tokens=2, max_new_tokens=2, **options)
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        model.generate(**inputs, min_new_tokens=TOKENS, max_new_tokens=TOKENS, **options)
        print(len(prompts) * TOKENS / (time.perf_counter() - started), flush=True)


async def by_turns(
    url: str, asks: list[list[tuple[str, str]]], folder: Path, prompts: Sequence[str]
) -> tuple[list[Load], list[float]]:
    """The service under load while nothing is edited and plain generate(), by turns: a machine that is slower for a
    while is slower for both."""
    now = asyncio.Event()
    now.set()
    idle, plain = [], []
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "prompts.json"
        file.write_text(json.dumps(list(prompts)))
        command = [sys.executable, "-c", GENERATE, str(folder), str(file)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        for _ in range(TURNS):
            process.stdin.write(b"\n")
            plain.append(float(await process.stdout.readline()))
            idle.append(await under_load(url, asks, IDLE_SECONDS / TURNS, now))
        process.stdin.close()
        await process.wait()
    return idle, plain


async def measure(server: Server, batches: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """`batches` of which the last is edited under load, the others, as one, before it."""
    *before, under = batches
    first = server.wait(f"/v1/edits/{server.edit([record for records in before for record in records])['id']}")
    assert first["state"] == "succeeded", first
    prompts = [prompt_of(record) for records in batches for record in records]
    url = str(server.client.base_url)
    models = [f"{MODEL}@v0", f"{MODEL}@{first['version']}", MODEL]
    shifted = [prompts[number:] + prompts[:number] for number in range(CLIENTS)]
    mixed = [[(models[(n + k) % 3], prompt) for k, prompt in enumerate(of_one)] for n, of_one in enumerate(shifted)]
    alike = [[(MODEL, prompt) for prompt in of_one] for of_one in shifted]
    now = asyncio.Event()
    now.set()
    await under_load(url, alike, WARM_SECONDS, now)
    idle, plain = await by_turns(url, alike, server.data / "models" / MODEL, prompts[:CLIENTS])
    published = asyncio.Event()

    async def edit() -> dict[str, Any]:
        try:
            job = await asyncio.to_thread(server.edit, under)
            return await asyncio.to_thread(server.wait, f"/v1/edits/{job['id']}")
        finally:
            await asyncio.sleep(AFTERWARDS_SECONDS)
            published.set()

    second = asyncio.create_task(edit())
    busy = await under_load(url, mixed, BUSY_SECONDS, published)
    job = await second
    assert job["state"] == "succeeded", job
    versions = ["v0", first["version"], job["version"]]
    words = {version: sure_words(server, version, prompts) for version in versions}
    checked, wrong = wrong_answers(words, busy)
    stamps = {version: sum(stamp.endswith(f"@{version}") for stamp, _, _ in busy.answers) for version in versions}
    return {
        "clients": CLIENTS,
        "tokens": TOKENS,
        "idle": [turn.summary() for turn in idle],
        "busy": busy.summary() | {"edit_seconds": job["metrics"]["seconds"], "answers_by_version": stamps},
        "generate_tokens_per_second": plain,
        "idle_over_generate": sum(turn.rate() for turn in idle) / sum(plain),
        "gap_ratio": p95(busy.gaps) / p95([gap for turn in idle for gap in turn.gaps]),
        "answers_checked": checked,
        "answers_wrong": wrong[:20],
        "telling_prompts": telling(words),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, required=True, help="CounterFact records, one JSON object a line")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="data folder; by default a fresh temporary one")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    batches = draws(given.facts, given.seed)
    with tempfile.TemporaryDirectory() as temporary, Server(given.data or Path(temporary) / "data") as server:
        result = asyncio.run(measure(server, batches))
    bounds = {
        "no error": not any(load["errors"] for load in (*result["idle"], result["busy"])),
        "no wrong answer": result["answers_checked"] >= 50 and not result["answers_wrong"],
        "telling prompts": result["telling_prompts"] >= 16,
        "every version answered": all(result["busy"]["answers_by_version"].values()),
        "gap": result["gap_ratio"] <= MOST_GAP_RATIO,
        "throughput": result["idle_over_generate"] >= LEAST_THROUGHPUT,
    }
    write_result(given.output, {"environment": environment(), "seed": given.seed, **result, "bounds": bounds})
    print(json.dumps({**result, "bounds": bounds}, indent=1))
    missed = [name for name, held in bounds.items() if not held]
    if missed:
        raise SystemExit(f"outside their bounds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
