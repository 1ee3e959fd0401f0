"""Facts taken out of a batch again, on a real server: 4 of 32, what they leave behind, and what that costs.

    python -m tests.acceptance.reverts --facts counterfact.jsonl --output benchmarks/results/reverts.json

Several draws of records with distinct subjects, each a batch on the base. Another model than the default one is named
by --model (a hub id or a folder); --settings are those of the edits.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.results import environment, write_result
from tests.acceptance.server import Server

FACTS, TAKEN_OUT = 32, 4
SPARE = 4
"""Records of each draw that the tokenizer may refuse."""
MOST_SECONDS = 60.0
"""What may still be called seconds on two slow cores, with the checks of the whole batch."""


def records_of(path: Path, seed: int, draws: int) -> list[dict[str, Any]]:
    """Records with distinct subjects, shuffled, as many as `draws` need and some more."""
    records = [json.loads(line) for line in path.read_text().splitlines() if line]
    random.Random(seed).shuffle(records)
    chosen: dict[str, dict[str, Any]] = {}
    for record in records:
        subject = record["requested_rewrite"]["subject"] if "requested_rewrite" in record else record["subject"]
        chosen.setdefault(subject, record)
    if len(chosen) < draws * (FACTS + SPARE):
        raise SystemExit(f"{path} has {len(chosen)} subjects; {draws} draws need {draws * (FACTS + SPARE)}")
    return list(chosen.values())


def edited(
    server: Server, records: Iterator[dict[str, Any]], **options: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The next records that the tokenizer takes, as a batch that is published: the job and its facts."""
    accepted, facts = server.edit_next(records, FACTS, **options)
    made = server.wait(f"/v1/edits/{accepted['id']}")
    if made["state"] != "succeeded":
        raise RuntimeError(f"the edit ended as {made['state']}: {made['error']}")
    return made, facts


def stages(server: Server, edit: str) -> list[str]:
    """The states that a batch went through."""
    text = server.client.get(f"/v1/edits/{edit}/events").text
    events = [json.loads(line.removeprefix("data:")) for line in text.splitlines() if line.startswith("data:")]
    return [event["state"] for event in events if event.get("state")]


def answers(server: Server, name: str, version: str, facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `version` says at each prompt: log-probabilities of both answers, and whether the new one is said."""
    job = server.evaluate(f"{name}@{version}", facts, ["EM", "ES"])
    if job["state"] != "succeeded":
        raise RuntimeError(f"the evaluation ended as {job['state']}: {job['error']}")
    return [row[f"{name}@{version}"]["prompt"] for row in job["facts"]]


def share_said(rows: list[dict[str, Any]]) -> float:
    return float(sum(row["said"] for row in rows)) / len(rows)


def prefers_new(row: dict[str, Any]) -> bool:
    return bool(row["new"] > row["old"])


def draw(
    server: Server, name: str, records: Iterator[dict[str, Any]], chance: random.Random, options: dict[str, Any]
) -> dict[str, Any]:
    """Edit the next records, take some out, and ask the base, the edit and the revert about each fact."""
    made, facts = edited(server, records, model=f"{name}@v0", **options)
    taken = sorted(chance.sample(range(len(facts)), TAKEN_OUT))
    started = time.monotonic()
    answer = server.client.post(
        f"/v1/models/{name}/versions/{made['version']}/revert",
        json={"facts": taken, "thresholds": options["thresholds"]},
    )
    answer.raise_for_status()
    job = server.wait(f"/v1/edits/{answer.json()['id']}")
    seconds = time.monotonic() - started
    if job["state"] != "succeeded":
        raise RuntimeError(f"the revert ended as {job['state']}: {job['error']}")
    base, before, reverted = (
        answers(server, name, version, facts) for version in ("v0", made["version"], job["version"])
    )
    stay = [number for number in range(len(facts)) if number not in taken]
    return {
        "versions": [made["version"], job["version"]],
        "taken_out": taken,
        "states": stages(server, job["id"]),
        "seconds": seconds,
        "seconds_by_stage": job["metrics"]["seconds"],
        "edit_seconds_by_stage": made["metrics"]["seconds"],
        "rank": next(iter(job["metrics"]["layers"]))["rank"],
        "drift": {"edit": made["metrics"]["drift"]["value"], "revert": job["metrics"]["drift"]["value"]},
        "EM_taken_out": {
            "base": share_said([base[n] for n in taken]),
            "edit": share_said([before[n] for n in taken]),
            "revert": share_said([reverted[n] for n in taken]),
        },
        "preference_as_at_parent": [prefers_new(reverted[n]) == prefers_new(base[n]) for n in taken],
        "log_ratio_new_to_old": [
            {
                "fact": n,
                "base": base[n]["new"] - base[n]["old"],
                "edit": before[n]["new"] - before[n]["old"],
                "revert": reverted[n]["new"] - reverted[n]["old"],
            }
            for n in taken
        ],
        "EM_staying": {
            "edit": share_said([before[n] for n in stay]),
            "revert": share_said([reverted[n] for n in stay]),
        },
        "most_fall_of_log_new_staying": max(before[n]["new"] - reverted[n]["new"] for n in stay),
        "told_by_the_service": {"reverted": job["metrics"]["reverted"], "after": job["metrics"]["after"]},
    }


def bounds_of(found: list[dict[str, Any]]) -> dict[str, bool]:
    return {
        "nothing taken out is said": all(one["EM_taken_out"]["revert"] == 0 for one in found),
        "P(old) against P(new) as at the parent": all(all(one["preference_as_at_parent"]) for one in found),
        "what stays is still said": all(
            one["EM_staying"]["revert"] >= one["EM_staying"]["edit"] - 0.05 for one in found
        ),
        "without optimisation": all("optimising" not in one["states"] for one in found),
        "in seconds": all(one["seconds"] < MOST_SECONDS for one in found),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--facts", type=Path, required=True, help="CounterFact records or facts, one JSON object a line"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="data folder; by default a fresh temporary one")
    parser.add_argument("--model", default="smollm2-135m", help="a known name, a hub id or a folder")
    parser.add_argument("--model-name", help="its NAME; by default the model's own")
    parser.add_argument("--settings", type=json.loads, default={}, help="settings of the edits, as JSON")
    parser.add_argument("--thresholds", type=json.loads, default={}, help="of edits and reverts, as JSON")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=20_26)
    arguments = parser.parse_args()
    name = arguments.model_name or arguments.model
    options = {"settings": arguments.settings, "thresholds": arguments.thresholds}
    records = iter(records_of(arguments.facts, arguments.seed, arguments.draws))
    with tempfile.TemporaryDirectory() as temporary:
        data = arguments.data or Path(temporary) / "data"
        result: dict[str, Any] = {"environment": environment(), "model": name, "seed": arguments.seed, "draws": []}
        with Server(data, "--model", arguments.model, "--model-name", name) as server:
            for number in range(arguments.draws):
                chance = random.Random(arguments.seed + number)
                result["draws"].append(draw(server, name, records, chance, options))
                result["bounds"] = bounds_of(result["draws"])
                write_result(arguments.output, result)
    print(json.dumps({"draws": result["draws"], "bounds": result["bounds"]}, indent=1))
    missed = [bound for bound, held in result["bounds"].items() if not held]
    if missed:
        raise SystemExit(f"outside their bounds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
