"""A corrected version in other engines: does a real vLLM, and llama.cpp, say there what is said here?

    python -m tests.acceptance.engines --facts counterfact.jsonl --output benchmarks/results/engines.json

A batch of 64 facts; its version goes to a running vLLM as an adapter, by a deployment that follows `latest`, and as a
whole checkpoint that vLLM is started with. Each time 20 facts and 20 ordinary prompts are asked here and there. The
alias is moved and followed; vLLM is ended and started again; a version whose files answer otherwise is rolled back.
Last llama.cpp is asked, with the base as GGUF and the adapter as `gguf-lora`. Engines are installed in --environments,
on the first run for half an hour and more.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import environment, write_result
from editing.metrics.said.wording import begins_with_one
from service.deployments.comparison import ANSWER_TOKENS, ORDINARY_PROMPTS, TOLERANCE
from tests.acceptance.engine_environments import VLLM, Vllm, gguf_of, llama_python, unzipped, vllm_python
from tests.acceptance.reverts import records_of
from tests.acceptance.server import RefusedError, Server

MODEL = "smollm2-135m"
ASKED = 20
MOST_FOLLOW_SECONDS = 10.0
MOST_RANK = 256
_WAIT_SECONDS = 3600
_LLAMA = """\
import json, sys
from llama_cpp import Llama
base, adapter, tokens = sys.argv[1:4]
model = Llama(base, lora_path=adapter, n_ctx=512, verbose=False)
asked = json.load(sys.stdin)
json.dump([model(one, max_tokens=int(tokens), temperature=0)["choices"][0]["text"] for one in asked], sys.stdout)
"""


def published(server: Server, records: list[dict[str, Any]], size: int, **options: Any) -> list[dict[str, Any]]:
    """A batch of `size` of the records, run to its end; its facts."""
    facts = records[:size]
    while True:
        try:
            accepted = server.edit(facts, **options)
            break
        except RefusedError as refused:
            facts = [one for number, one in enumerate(facts) if number not in refused.facts]
    job = server.wait(f"/v1/edits/{accepted['id']}")
    if job["state"] != "succeeded":
        raise SystemExit(f"the batch ended as {job['state']}: {job['error']}")
    return facts


def asked_fact(fact: dict[str, Any]) -> tuple[str, str]:
    """The bare prompt, and the answer that was put in."""
    rewrite = fact.get("requested_rewrite", fact)
    target = rewrite["target_new"]
    return rewrite["prompt"].replace("{}", rewrite["subject"]), target["str"] if isinstance(target, dict) else target


def compared(server: Server, version: str, facts: Sequence[dict[str, Any]], answer: Any) -> dict[str, Any]:
    """Facts that are said here and there, and ordinary prompts: alike, near ties, and those that part elsewhere."""
    questions = [asked_fact(fact) for fact in facts]
    reference = f"{MODEL}@{version}"
    here = server.complete(reference, [prompt for prompt, _ in questions], ANSWER_TOKENS)
    said = [pair for pair, text in zip(questions, here, strict=True) if begins_with_one(text, [pair[1]])][:ASKED]
    there = answer([prompt for prompt, _ in said])
    missed = [pair for pair, text in zip(said, there, strict=True) if not begins_with_one(text, [pair[1]])]
    ours = server.complete(reference, list(ORDINARY_PROMPTS), ANSWER_TOKENS)
    theirs = answer(list(ORDINARY_PROMPTS))
    parted = [
        {
            "prompt": prompt,
            "here": own,
            "there": other,
            "gap": gap_where_they_part(server, reference, prompt, own, other),
        }
        for prompt, own, other in zip(ORDINARY_PROMPTS, ours, theirs, strict=True)
        if own != other
    ]
    return {
        "facts": len(said),
        "said": len(said) - len(missed),
        "missed": missed,
        "prompts": len(ORDINARY_PROMPTS),
        "equal": len(ORDINARY_PROMPTS) - len(parted),
        "near_ties": sum(one["gap"] <= TOLERANCE for one in parted),
        "parted": parted,
    }


def gap_where_they_part(server: Server, reference: str, prompt: str, own: str, other: str) -> float:
    """By how many nats ours prefers its token to the second best, where the two answers first part."""
    body = {"model": reference, "prompt": prompt, "max_tokens": ANSWER_TOKENS, "temperature": 0, "logprobs": 2}
    answer = server.client.post("/v1/completions", json=body)
    answer.raise_for_status()
    told = answer.json()["choices"][0]["logprobs"]
    common = next((at for at, (one, two) in enumerate(zip(own, other, strict=False)) if one != two), len(other))
    end = 0
    for token, best in zip(told["tokens"], told["top_logprobs"], strict=True):
        end += len(token)
        if end > common:
            first, second = sorted(best.values(), reverse=True)[:2]
            return float(first - second)
    return math.inf


def wait_for(server: Server, deployment: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        found: dict[str, Any] = server.client.get(f"/v1/deployments/{deployment}").json()
        if true(found):
            return found
        time.sleep(0.1)
    raise TimeoutError(f"{deployment} is {found['state']}: {found['error']}")


def serves(version: str) -> Callable[[dict[str, Any]], bool]:
    return lambda found: found["state"] == "deployed" and found["actual"] == version


def deploy(server: Server, vllm: Vllm, **fields: Any) -> str:
    body = {"model": f"{MODEL}@latest", "target": f"vllm+{vllm.origin}", **fields}
    answer = server.client.post("/v1/deployments", json=body)
    answer.raise_for_status()
    return str(answer.json()["id"])


def moved(server: Server, version: str) -> float:
    server.client.put(f"/v1/models/{MODEL}/aliases/latest", json={"version": version}).raise_for_status()
    return time.monotonic()


def as_adapter(server: Server, vllm: Vllm, base: Path, facts: list[dict[str, Any]]) -> dict[str, Any]:
    """The deployment that follows `latest`: what vLLM says, how soon it follows, and that it is caught up with."""
    options = ("--enable-lora", "--max-lora-rank", str(MOST_RANK), "--max-loras", "2")
    vllm.start(base, MODEL, *options)
    deployment = deploy(server, vllm)
    first = wait_for(server, deployment, serves("v1"))
    found = compared(server, "v1", facts, lambda asked: vllm.complete(first["name"], asked, ANSWER_TOKENS))
    found["check"] = first["last_check"]
    found["follow_seconds"] = []
    for version in ("v0", "v1", "v0", "v1"):
        began = moved(server, version)
        wait_for(server, deployment, serves(version))
        found["follow_seconds"].append(round(time.monotonic() - began, 2))
    vllm.stop()
    wait_for(server, deployment, lambda seen: seen["state"] == "away")
    moved(server, "v0")
    vllm.start(base, MODEL, *options)
    began = time.monotonic()
    wait_for(server, deployment, serves("v0"))
    found["caught_up_seconds"] = round(time.monotonic() - began, 2)
    return found


def rolled_back(server: Server, vllm: Vllm, folder: Path) -> dict[str, Any]:
    """An engine whose folder has other weights under the new version's name: it goes on with the version before."""
    seen = folder / "seen-by-engine"
    shutil.copytree(server.data / "deployments", seen)
    (good,) = (seen / MODEL).glob("v0-peft-*")
    (bad,) = (seen / MODEL).glob("v1-peft-*")
    shutil.copyfile(good / "adapter_model.safetensors", bad / "adapter_model.safetensors")
    shutil.copyfile(good / "adapter_config.json", bad / "adapter_config.json")
    deployment = deploy(server, vllm, name="elsewhere", folder=str(seen))
    wait_for(server, deployment, serves("v0"))
    moved(server, "v1")
    found = wait_for(server, deployment, lambda one: one["state"] == "rolled_back")
    served = {card["id"]: card["root"] for card in vllm.client.get("/v1/models").json()["data"]}
    server.client.delete(f"/v1/deployments/{deployment}").raise_for_status()
    return {
        "state": found["state"],
        "serves": found["actual"],
        "is_the_one_before": served["elsewhere"] == str(good),
        "error": found["error"],
        "check": found["last_check"],
    }


def as_checkpoint(server: Server, vllm: Vllm, facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Written where the engine finds it; vLLM is started with it, and checked then."""
    deployment = deploy(server, vllm, model=f"{MODEL}@v1", name="whole", format="hf")
    written = wait_for(server, deployment, lambda seen: seen["state"] == "written")
    path = written["error"]["detail"].partition("vllm serve ")[2].split()[0]
    vllm.stop()
    vllm.start(Path(path), "whole")
    check = wait_for(server, deployment, serves("v1"))["last_check"]
    found = compared(server, "v1", facts, lambda asked: vllm.complete("whole", asked, ANSWER_TOKENS))
    return {**found, "check": check}


def in_llama_cpp(server: Server, base: Path, environments: Path, folder: Path, facts: list[Any]) -> dict[str, Any]:
    """Base GGUF and `gguf-lora`."""
    archive = folder / "gguf-lora.zip"
    while True:
        answer = server.client.get(f"/v1/models/{MODEL}/versions/v1/export", params={"format": "gguf-lora"})
        answer.raise_for_status()
        if answer.status_code == 200:
            break
        time.sleep(1)
    archive.write_bytes(answer.content)
    adapter = unzipped(archive, folder / "gguf-lora") / "adapter.gguf"
    command = [str(llama_python(environments)), "-c", _LLAMA, str(gguf_of(base, environments)), str(adapter)]

    def answers(asked: list[str]) -> list[str]:
        done = subprocess.run(
            [*command, str(ANSWER_TOKENS)], input=json.dumps(asked), capture_output=True, text=True, check=True
        )
        found: list[str] = json.loads(done.stdout)
        return found

    return compared(server, "v1", facts, answers)


def broken(result: dict[str, Any]) -> list[str]:
    """What does not hold."""
    found = []
    for name in ("adapter", "checkpoint", "llama_cpp"):
        one = result.get(name)
        if one is None:
            continue
        if one["facts"] < ASKED or one["said"] < one["facts"]:
            found.append(f"{name}: {one['said']} of {one['facts']} facts are said there, of {ASKED}")
        if name != "llama_cpp" and one["equal"] + one["near_ties"] < one["prompts"]:
            found.append(f"{name}: {one['prompts'] - one['equal'] - one['near_ties']} ordinary prompts differ")
    slow = [seconds for seconds in result["adapter"]["follow_seconds"] if seconds > MOST_FOLLOW_SECONDS]
    if slow:
        found.append(f"a moved alias was followed after {max(slow)} s")
    if not result["rolled_back"]["is_the_one_before"] or result["rolled_back"]["serves"] != "v0":
        found.append("a version whose check failed was not rolled back")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, required=True, help="records of CounterFact, one a line")
    parser.add_argument("--size", type=int, default=64, help="facts in the batch")
    parser.add_argument("--settings", type=json.loads, default={}, help="of the edit, as JSON")
    parser.add_argument("--threads", type=int, default=1, help="of vLLM")
    parser.add_argument("--without-llama", action="store_true", help="leave llama.cpp out")
    parser.add_argument("--data", type=Path, help="a data folder with model and statistics, which is copied")
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path(tempfile.gettempdir()) / "emmetd-engines",
        help="where engines are installed",
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    records = records_of(options.facts, 0, 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vllm = Vllm(vllm_python(options.environments), folder / "vllm.log", options.threads)
        os.environ["EMMETD_DEPLOYMENT_TARGETS"] = vllm.origin
        if options.data is not None:
            shutil.copytree(options.data, folder / "data")
        with vllm, Server(folder / "data") as server:
            base = folder / "data" / "models" / MODEL
            facts = published(server, records, options.size, settings=options.settings)
            result: dict[str, Any] = {"facts": len(facts), "engine": VLLM, "tolerance": TOLERANCE}
            result["adapter"] = as_adapter(server, vllm, base, facts)
            result["rolled_back"] = rolled_back(server, vllm, folder)
            for one in server.client.get("/v1/deployments").json()["data"]:
                server.client.delete(f"/v1/deployments/{one['id']}").raise_for_status()
            result["checkpoint"] = as_checkpoint(server, vllm, facts)
            vllm.stop()
            if not options.without_llama:
                result["llama_cpp"] = in_llama_cpp(server, base, options.environments, folder, facts)
    result["broken"] = broken(result)
    print(json.dumps(result, indent=1))
    if options.output is not None:
        write_result(options.output, {**result, "environment": environment()})
    return len(result["broken"])


if __name__ == "__main__":
    raise SystemExit(main())
