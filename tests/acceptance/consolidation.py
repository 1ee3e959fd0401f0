"""A line of batches as the service makes it, consolidated, beside one batch of the same facts on the base.

    python -m tests.acceptance.consolidation --facts counterfact.jsonl --output consolidation.json --data DIR
    python -m tests.acceptance.consolidation --facts … --output … --number 128 --batch 32

Facts have distinct subjects; thresholds are lifted, so that nothing is rejected. Each step is an edit with a label of
its own: what has succeeded in the data folder is not made again, so that a run that was stopped goes on where it was.
Then 8 facts of the consolidation are taken out again. A folder that has the model and its statistics saves making them.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.results import environment, write_result
from tests.acceptance.server import Server

NUMBER, BATCH, TAKEN_OUT = 512, 64, 8
LIFTED: Final = {"EM": 0.0, "drift": 100.0, "retained": 1.0}
PATIENCE_SECONDS: Final = 24 * 3600.0
LEAST_EM, MOST_DRIFT_GAINED, MOST_TIME, MOST_LOST = 0.95, 0.02, 0.5, 0.02
"""What a consolidation of 512 facts promises: EM of all; drift over the line's; time over that of one batch; and the
share of the facts that stay which a revert of a few may lose."""


def distinct_facts(path: Path, number: int, seed: int) -> list[dict[str, Any]]:
    """More records than `number`, about different subjects, shuffled: the tokenizer may refuse some."""
    records = [json.loads(line) for line in path.read_text().splitlines() if line]
    random.Random(seed).shuffle(records)
    chosen: dict[str, dict[str, Any]] = {}
    for record in records:
        chosen.setdefault(record["requested_rewrite"]["subject"].strip().lower(), record)
    if len(chosen) < number:
        raise SystemExit(f"{path} has {len(chosen)} subjects; {number} are needed")
    return list(chosen.values())


class Line:
    """The steps on one server, each made once."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name

    def made(self, label: str) -> dict[str, Any] | None:
        """The edit of that label, once it has succeeded; one that still runs is waited for."""
        for page in self.server.pages("/v1/edits", model=self.name, limit=100):
            for job in page["data"]:
                if job["label"] == label and job["state"] not in ("failed", "cancelled", "rejected"):
                    return self.succeeded(job["id"])
        return None

    def succeeded(self, edit: str) -> dict[str, Any]:
        job = self.server.wait(f"/v1/edits/{edit}", PATIENCE_SECONDS)
        if job["state"] != "succeeded":
            raise RuntimeError(f"{job['kind']} {edit} ended as {job['state']}: {job['error']}")
        return job

    def edit(self, label: str, facts: Sequence[dict[str, Any]], on: str) -> dict[str, Any]:
        job = self.made(label)
        if job is None:
            sent = self.server.edit(list(facts), model=f"{self.name}{on}", label=label, thresholds=LIFTED)
            job = self.succeeded(sent["id"])
        return job

    def post(self, label: str, path: str, **body: Any) -> dict[str, Any]:
        """A revert or a consolidation of a version."""
        job = self.made(label)
        if job is None:
            answer = self.server.client.post(f"/v1/models/{self.name}/versions/{path}", json={**body, "label": label})
            answer.raise_for_status()
            job = self.succeeded(answer.json()["id"])
        return job

    def accepted_facts(self, records: Sequence[dict[str, Any]], number: int) -> list[dict[str, Any]]:
        """The first `number` records that the tokenizer takes: asked for by a dry run that is cancelled at once."""
        asked, facts = self.server.edit_next(
            iter(records), number, model=f"{self.name}@v0", dry_run=True, label="are they taken"
        )
        self.server.client.post(f"/v1/edits/{asked['id']}/cancel").raise_for_status()
        self.server.wait(f"/v1/edits/{asked['id']}")
        return facts

    def facts_said(self, version: str) -> list[bool]:
        """Of each fact in force at `version` whether it is said there, in the lineage's order."""
        pages = self.server.pages(f"/v1/models/{self.name}/versions/{version}/facts", state="in_force", limit=100)
        rows = [one for page in pages for one in page["data"]]
        return self.said(version, [{name: one[name] for name in ("prompt", "subject", "target_new")} for one in rows])

    def said(self, version: str, facts: Sequence[dict[str, Any]]) -> list[bool]:
        job = self.server.evaluate(f"{self.name}@{version}", list(facts), ["EM"])
        if job["state"] != "succeeded":
            raise RuntimeError(f"the evaluation ended as {job['state']}: {job['error']}")
        assert len(job["facts"]) == len(facts)
        return [bool(row[f"{self.name}@{version}"]["prompt"]["said"]) for row in job["facts"]]


def figures(metrics: dict[str, Any], side: str) -> dict[str, Any]:
    """Scores and drift of one side of a check."""
    scores = {name: one["value"] for name, one in metrics[side].items() if name in ("ES", "PS", "NS", "EM", "drift")}
    return scores if side == "before" else {**scores, "drift": metrics["drift"]["value"]}


def share(said: Sequence[bool]) -> float:
    return sum(said) / len(said)


def work_seconds(job: dict[str, Any]) -> float:
    """Without the wait in the queue."""
    return float(sum(seconds for stage, seconds in job["metrics"]["seconds"].items() if stage != "queued"))


def main() -> int:
    arguments = parsed()
    if arguments.data is not None:
        return measure(arguments, arguments.data)
    with tempfile.TemporaryDirectory() as folder:
        return measure(arguments, Path(folder) / "data")


def measure(arguments: argparse.Namespace, data: Path) -> int:
    data.mkdir(parents=True, exist_ok=True)
    records = distinct_facts(arguments.facts, arguments.number, arguments.seed)
    model = ("--model", arguments.model) if arguments.model else ()
    result: dict[str, Any] = {"number": arguments.number, "batch": arguments.batch, "environment": environment()}
    with Server(data, *model) as server:
        name = server.client.get("/v1/models").json()["data"][0]["root"]
        line = Line(server, name)
        facts = line.accepted_facts(records, arguments.number)
        steps = []
        for first in range(0, arguments.number, arguments.batch):
            job = line.edit(f"batch from {first}", facts[first : first + arguments.batch], "")
            steps.append(
                {
                    "version": job["version"],
                    "seconds": work_seconds(job),
                    **figures(job["metrics"], "after"),
                    "retained": job["metrics"]["retained"],
                    "restated": job["metrics"]["restated"],
                    "repaired": job["metrics"]["layers"][0]["repaired"],
                    "seconds_by_stage": job["metrics"]["seconds"],
                    "warnings": [one["code"] for one in job["metrics"]["warnings"]],
                    "EM_of_all": share(line.facts_said(job["version"])),
                }
            )
            write_result(arguments.output, {**result, "line": steps})
        result["line"] = steps
        worn = steps[-1]["version"]
        whole = line.post("consolidation", f"{worn}/consolidate", thresholds=LIFTED)
        version = server.client.get(f"/v1/models/{name}/versions/{whole['version']}").json()
        result["consolidation"] = {
            "version": whole["version"],
            "consolidates": version["consolidates"],
            "worn": figures(whole["metrics"], "before"),
            "consolidated": figures(whole["metrics"], "after"),
            "EM_of_all": share(line.facts_said(whole["version"])),
            "repaired": whole["metrics"]["layers"][0]["repaired"],
            "seconds_by_stage": whole["metrics"]["seconds"],
            "seconds": work_seconds(whole),
        }
        write_result(arguments.output, result)
        single = line.edit("one batch", facts, "@v0")
        result["one_batch"] = {
            **figures(single["metrics"], "after"),
            "repaired": single["metrics"]["layers"][0]["repaired"],
            "seconds_by_stage": single["metrics"]["seconds"],
            "seconds": work_seconds(single),
        }
        result["time_share"] = result["consolidation"]["seconds"] / result["one_batch"]["seconds"]
        write_result(arguments.output, result)
        result["taken_out"] = taken_out(line, whole["version"], arguments.number, arguments.seed)
    result["kept"] = kept(result)
    write_result(arguments.output, result)
    return 0 if all(result["kept"].values()) else 1


def taken_out(line: Line, version: str, number: int, seed: int) -> dict[str, Any]:
    """Some facts of the consolidation taken out: how many of them are said still, and of the others not any more."""
    indices = sorted(random.Random(seed).sample(range(number), TAKEN_OUT))
    job = line.post("taken out", f"{version}/revert", facts=indices, thresholds=LIFTED)
    before = line.facts_said(version)
    facts = line.server.client.get(f"/v1/edits/{job['id']}/facts", params={"limit": 100}).json()["data"]
    gone = [{name: one[name] for name in ("prompt", "subject", "target_new")} for one in facts]
    after = line.facts_said(job["version"])
    stayed = [said for index, said in enumerate(before) if index not in set(indices)]
    lost = sum(was and not now for was, now in zip(stayed, after, strict=True))
    return {"version": job["version"], "still_said": sum(line.said(job["version"], gone)), "lost": lost / len(after)}


def kept(result: dict[str, Any]) -> dict[str, bool]:
    """Which promises hold."""
    worn, now = result["consolidation"]["worn"], result["consolidation"]["consolidated"]
    return {
        "EM": now["EM"] >= LEAST_EM,
        "NS": now["NS"] >= worn["NS"],
        "drift": now["drift"] <= worn["drift"] + MOST_DRIFT_GAINED,
        "time": result["time_share"] <= MOST_TIME,
        "none_taken_out_is_said": result["taken_out"]["still_said"] == 0,
        "others_stay": result["taken_out"]["lost"] <= MOST_LOST,
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", type=Path, required=True, help="CounterFact records, one a line")
    parser.add_argument(
        "--data", type=Path, help="the data folder, in which a run that was stopped goes on; by default a temporary one"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--number", type=int, default=NUMBER)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--model", help="another model than the default one: a hub id or a folder")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
