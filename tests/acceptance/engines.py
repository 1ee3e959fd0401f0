"""A corrected version in other engines: does a real vLLM, and llama.cpp, say there what is said here?

    python -m tests.acceptance.engines --facts counterfact.jsonl --output benchmarks/results/engines.json --data DIR

A batch of 64 facts; its version goes to a running vLLM as an adapter, by a deployment that follows `latest`, and as a
whole checkpoint that vLLM is started with. Each time 20 facts and 20 ordinary prompts are asked here and there. The
alias is moved and followed; vLLM is ended and started again; a version whose files answer otherwise is rolled back.
Last llama.cpp is asked, with the base as GGUF and the adapter as `gguf-lora`. Engines are installed in --environments,
on the first run for half an hour and more. With --data a run that was stopped goes on with the version that it made,
and --parts runs some of it anew: what --output has of the others for the same version stays.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.results import environment, write_result
from editing.metrics.said.wording import begins_with_one
from service.deployments.comparison import ANSWER_TOKENS, ORDINARY_PROMPTS, TOLERANCE
from tests.acceptance.engine_environments import LLAMA, TORCH, VLLM, Vllm, gguf_of, llama_python, unzipped, vllm_python
from tests.acceptance.parting import Answer, gap_where_they_part
from tests.acceptance.reverts import records_of
from tests.acceptance.server import Server

MODEL: Final = "smollm2-135m"
ASKED: Final = 20
MOST_FOLLOW_SECONDS: Final = 10.0
PARTS: Final = ("adapter", "checkpoint", "llama_cpp")
_LABEL: Final = "engines"
_WAIT_SECONDS: Final = 6 * 3600
_TOP: Final = 5
_LLAMA: Final = """\
import json, sys
from llama_cpp import Llama
base, adapter, tokens = sys.argv[1:4]
model = Llama(base, lora_path=adapter, n_ctx=512, verbose=False)
asked = json.load(sys.stdin)
json.dump([model(one, max_tokens=int(tokens), temperature=0)["choices"][0]["text"] for one in asked], sys.stdout)
"""


@dataclass(frozen=True)
class Published:
    """The version that goes to the engines: `edit` made it, of `facts`."""

    server: Server
    edit: str
    version: str
    facts: Sequence[dict[str, Any]]

    def answers(self, prompts: Sequence[str]) -> list[Answer]:
        """Ours, greedily, with the best tokens of each place."""
        body = {"prompt": list(prompts), "max_tokens": ANSWER_TOKENS, "temperature": 0, "logprobs": _TOP}
        answer = self.server.client.post("/v1/completions", json={"model": f"{MODEL}@{self.version}", **body})
        answer.raise_for_status()
        return [Answer.of_choice(choice) for choice in answer.json()["choices"]]

    def exported(self, format: str, folder: Path) -> Path:
        """Its files in that format."""
        path = f"/v1/models/{MODEL}/versions/{self.version}/export"
        while True:
            answer = self.server.client.get(path, params={"format": format})
            answer.raise_for_status()
            if answer.status_code == 200:
                break
            time.sleep(1)
        archive = folder / f"{format}.zip"
        archive.write_bytes(answer.content)
        return unzipped(archive, folder / format)


def published(server: Server, records: list[dict[str, Any]], size: int, **options: Any) -> Published:
    """A batch of `size` of the records on the base, run to its end, unless this folder has it already."""
    found = next(iter(_batches(server)), None)
    if found is None:
        made, _ = server.edit_next(iter(records), size, model=f"{MODEL}@v0", label=_LABEL, **options)
        found = made["id"]
    job = server.wait(f"/v1/edits/{found}", _WAIT_SECONDS)
    if job["state"] != "succeeded":
        raise SystemExit(f"the batch ended as {job['state']}: {job['error']}")
    pages = server.pages(f"/v1/edits/{found}/facts", limit=100)
    return Published(server, found, job["version"], [fact for page in pages for fact in page["data"]])


def _batches(server: Server) -> list[str]:
    pages = server.pages("/v1/edits", model=MODEL, limit=100)
    jobs = [job for page in pages for job in page["data"]]
    gone = ("failed", "cancelled", "rejected")
    return [job["id"] for job in jobs if job["label"] == _LABEL and job["state"] not in gone]


def compared(made: Published, answer: Callable[[list[str]], list[str]]) -> dict[str, Any]:
    """Facts that are said here and there, and ordinary prompts: alike, near ties, and those that part elsewhere."""
    questions = [(fact["prompt"].replace("{}", fact["subject"]), fact["target_new"]) for fact in made.facts]
    here = made.answers([prompt for prompt, _ in questions])
    said = [pair for pair, own in zip(questions, here, strict=True) if begins_with_one(own.text, [pair[1]])]
    asked = said[:ASKED]
    there = answer([prompt for prompt, _ in asked])
    missed = [
        {"prompt": prompt, "target": target, "there": text}
        for (prompt, target), text in zip(asked, there, strict=True)
        if not begins_with_one(text, [target])
    ]
    ours = made.answers(ORDINARY_PROMPTS)
    theirs = answer(list(ORDINARY_PROMPTS))
    parted: list[dict[str, Any]] = [
        {"prompt": prompt, "here": own.text, "there": other, "gap": gap_where_they_part(own, other)}
        for prompt, own, other in zip(ORDINARY_PROMPTS, ours, theirs, strict=True)
        if own.text != other
    ]
    return {
        "said_here": len(said),
        "facts": len(asked),
        "said": len(asked) - len(missed),
        "missed": missed,
        "prompts": len(ORDINARY_PROMPTS),
        "equal": len(ORDINARY_PROMPTS) - len(parted),
        "near_ties": sum(one["gap"] is not None and one["gap"] <= TOLERANCE for one in parted),
        "parted": parted,
    }


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


def nothing_deployed(server: Server) -> None:
    """Neither deployments nor their files, of an earlier run or part."""
    for one in server.client.get("/v1/deployments").raise_for_status().json()["data"]:
        server.client.delete(f"/v1/deployments/{one['id']}").raise_for_status()
    shutil.rmtree(server.data / "deployments", ignore_errors=True)


def moved(server: Server, version: str) -> float:
    server.client.put(f"/v1/models/{MODEL}/aliases/latest", json={"version": version}).raise_for_status()
    return time.monotonic()


def as_adapter(made: Published, vllm: Vllm, base: Path, folder: Path) -> dict[str, Any]:
    """The deployment that follows `latest`: what vLLM says, how soon it follows, and that it is caught up with."""
    server, version = made.server, made.version
    rank = json.loads((made.exported("peft", folder) / "adapter_config.json").read_text())["r"]
    options = ("--enable-lora", "--max-lora-rank", str(rank), "--max-loras", "2")
    moved(server, version)
    vllm.start(base, MODEL, *options)
    deployment = deploy(server, vllm)
    first = wait_for(server, deployment, serves(version))
    found = compared(made, lambda asked: vllm.complete(first["name"], asked, ANSWER_TOKENS))
    found |= {"rank": rank, "command": vllm.told, "check": first["last_check"], "follow": []}
    for to in ("v0", version, "v0", version):
        began = moved(server, to)
        there = wait_for(server, deployment, serves(to))
        seconds = round(time.monotonic() - began, 2)
        found["follow"].append({"to": to, "seconds": seconds, "check": there["last_check"]})
    vllm.stop()
    wait_for(server, deployment, lambda seen: seen["state"] == "away")
    moved(server, "v0")
    vllm.start(base, MODEL, *options)
    began = time.monotonic()
    wait_for(server, deployment, serves("v0"))
    found["caught_up_seconds"] = round(time.monotonic() - began, 2)
    found["rolled_back"] = rolled_back(made, vllm, folder)
    return found


def rolled_back(made: Published, vllm: Vllm, folder: Path) -> dict[str, Any]:
    """An engine whose folder has other weights under the new version's name: it goes on with the version before."""
    server, version = made.server, made.version
    seen = folder / "seen-by-engine"
    shutil.copytree(server.data / "deployments", seen)
    (good,) = (seen / MODEL).glob("v0-peft-*")
    (bad,) = (seen / MODEL).glob(f"{version}-peft-*")
    shutil.copyfile(good / "adapter_model.safetensors", bad / "adapter_model.safetensors")
    shutil.copyfile(good / "adapter_config.json", bad / "adapter_config.json")
    deployment = deploy(server, vllm, name="elsewhere", folder=str(seen))
    wait_for(server, deployment, serves("v0"))
    moved(server, version)
    found = wait_for(server, deployment, lambda one: one["state"] == "rolled_back")
    served = {card["id"]: card["root"] for card in vllm.client.get("/v1/models").json()["data"]}
    return {
        "state": found["state"],
        "serves": found["actual"],
        "is_the_one_before": served["elsewhere"] == str(good),
        "error": found["error"],
        "check": found["last_check"],
    }


def as_checkpoint(made: Published, vllm: Vllm, base: Path, folder: Path) -> dict[str, Any]:
    """Written where the engine finds it; vLLM is started with it, and checked then."""
    if not vllm.runs:
        vllm.start(base, MODEL)
    deployment = deploy(made.server, vllm, model=f"{MODEL}@{made.version}", name="whole", format="hf")
    written = wait_for(made.server, deployment, lambda seen: seen["state"] == "written")
    path = written["error"]["detail"].partition("vllm serve ")[2].split()[0]
    vllm.stop()
    vllm.start(Path(path), "whole")
    check = wait_for(made.server, deployment, serves(made.version))["last_check"]
    found = compared(made, lambda asked: vllm.complete("whole", asked, ANSWER_TOKENS))
    return {**found, "check": check, "command": vllm.told}


def in_llama_cpp(made: Published, environments: Path, base: Path, folder: Path) -> dict[str, Any]:
    """Base GGUF and `gguf-lora`."""
    adapter = made.exported("gguf-lora", folder) / "adapter.gguf"
    command = [str(llama_python(environments)), "-c", _LLAMA, str(gguf_of(base, environments)), str(adapter)]

    def answers(asked: list[str]) -> list[str]:
        done = subprocess.run(
            [*command, str(ANSWER_TOKENS)], input=json.dumps(asked), capture_output=True, text=True, check=True
        )
        found: list[str] = json.loads(done.stdout)
        return found

    return compared(made, answers)


def broken(result: dict[str, Any]) -> list[str]:
    """What does not hold, of the parts that there are."""
    found = []
    for name in PARTS:
        one = result.get(name)
        if one is None:
            continue
        if one["facts"] < ASKED or one["said"] < one["facts"]:
            found.append(f"{name}: {one['said']} of {one['facts']} facts are said there, of {ASKED}")
        if name != "llama_cpp" and one["equal"] + one["near_ties"] < one["prompts"]:
            found.append(f"{name}: {one['prompts'] - one['equal'] - one['near_ties']} ordinary prompts differ")
    adapter = result.get("adapter")
    if adapter is not None:
        slow = [one["seconds"] for one in adapter["follow"] if one["seconds"] > MOST_FOLLOW_SECONDS]
        if slow:
            found.append(f"a moved alias was followed after {max(slow)} s")
        if not adapter["rolled_back"]["is_the_one_before"] or adapter["rolled_back"]["serves"] != "v0":
            found.append("a version whose check failed was not rolled back")
    return found


def main() -> int:
    options = parsed()
    with tempfile.TemporaryDirectory() as name:
        return measured(options, options.data or Path(name) / "data", Path(name))


def measured(options: argparse.Namespace, data: Path, folder: Path) -> int:
    data.mkdir(parents=True, exist_ok=True)
    environments = options.environments
    vllm = Vllm(vllm_python(environments), environments / "vllm-serving.log", options.threads)
    os.environ["EMMETD_DEPLOYMENT_TARGETS"] = vllm.origin
    with vllm, Server(data) as server:
        base = data / "models" / MODEL
        made = published(server, records_of(options.facts, 0, 1), options.size, settings=options.settings)
        result: dict[str, Any] = {
            **_kept(options.output, made.edit),
            "edit": made.edit,
            "batch": len(made.facts),
            "settings": options.settings,
            "engines": {"vllm": VLLM, "torch": TORCH, "llama_cpp": LLAMA},
            "tolerance": TOLERANCE,
            "environment": environment(),
        }
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "adapter": lambda: as_adapter(made, vllm, base, folder),
            "checkpoint": lambda: as_checkpoint(made, vllm, base, folder),
            "llama_cpp": lambda: in_llama_cpp(made, environments, base, folder),
        }
        for name in options.parts:
            nothing_deployed(server)
            result[name] = parts[name]()
            result["broken"] = broken(result)
            print(json.dumps({name: result[name], "broken": result["broken"]}, indent=1), flush=True)
            if options.output is not None:
                write_result(options.output, result)
        nothing_deployed(server)
    return len(result["broken"])


def _kept(output: Path | None, edit: str) -> dict[str, Any]:
    """The parts that were run before with the same version."""
    if output is None or not output.exists():
        return {}
    before = json.loads(output.read_text())
    return {name: before[name] for name in PARTS if name in before and before.get("edit") == edit}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, required=True, help="records of CounterFact, one a line")
    parser.add_argument("--size", type=int, default=64, help="facts in the batch")
    parser.add_argument("--settings", type=json.loads, default={}, help="of the edit, as JSON")
    parser.add_argument("--threads", type=int, default=1, help="of vLLM")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is run; by default all")
    parser.add_argument(
        "--data", type=Path, help="the data folder, in which a run that was stopped goes on; by default a temporary one"
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=Path(tempfile.gettempdir()) / "emmetd-engines",
        help="where engines are installed",
    )
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
