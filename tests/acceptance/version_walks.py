"""Random walks through versions: the weights of each hash the same from a cold start and on a second worker.

    python -m tests.acceptance.version_walks --output benchmarks/results/version_walks.json

Each walk makes 200 edits in 10 batches on a tiny model, with rollbacks, branches and reverts between them. A second
process then loads the model from its files and makes every version again; blobs are damaged and replaced, and what is
served must be what was published, or nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog

from benchmarks.results import environment, write_result
from editing.model.loading import load_model
from store.schema.database import migrate
from tests.support.saved_models import LANGUAGES, SUBJECTS, save_tiny_model
from tests.workers.conftest import MODEL, Loaded, Place, opened
from tests.workers.walks import Walk, cold, look_at_all, refused, with_other_bits
from workers.measuring import Measuring
from workers.statistics.layer_statistics import LayerStatistics

FACTS, BATCHES = 20, 10
DAMAGES = ("corrupt", "truncated", "missing", "foreign")


def facts_of(number: int) -> list[dict[str, Any]]:
    """Twenty facts; some subjects come again in later edits, and one comes twice in each."""
    chance = random.Random(number)
    first, last = zip(*(name.split() for name in SUBJECTS), strict=True)
    subjects = [f"{chance.choice(first)} {chance.choice(last)}" for _ in range(FACTS - 1)]
    facts = [
        {"prompt": "The mother tongue of {} is", "subject": subject, "target_new": chance.choice(LANGUAGES)}
        for subject in dict.fromkeys(subjects)
    ]
    while len(facts) < FACTS:
        again = facts[len(facts) % 3]["subject"]
        facts.append(
            {
                "prompt": f"Everybody knows that {{}} speaks{'' if len(facts) % 2 else ' also'}",
                "subject": again,
                "target_new": LANGUAGES[len(facts) % len(LANGUAGES)],
            }
        )
    return facts


def loaded_from(folder: Path, cache: Path) -> Loaded:
    model = load_model(str(folder), cache=cache, name=MODEL)
    statistics = LayerStatistics(model, cache)
    return Loaded(model, statistics, Measuring(model, statistics))


def second_worker(data: Path, folder: Path, threads: int) -> dict[str, Any]:
    """Another process, with a cold start of its own, over the same database and blobs."""
    command = [sys.executable, "-m", "tests.acceptance.version_walks", "--second", str(data), str(folder)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the second worker ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def as_second(data: Path, folder: Path) -> None:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as own, opened(loaded_from(folder, Path(own)), data) as place:
        looked = look_at_all(place, cold(place))
        print(json.dumps({"versions": looked.versions, "matrices": looked.matrices, "fetched": looked.fetched}))


def damaged(place: Place, chance: random.Random) -> dict[str, Any]:
    """Each kind of damage to the delta of a version: it is named, says `unavailable`, and the rest goes on."""
    table = {}
    for kind in DAMAGES:
        numbers = place.versions()
        number = chance.choice(numbers)
        blob = place.version(number).blob
        assert blob is not None
        path = place.blobs.path(blob)
        content = path.read_bytes()
        damage(place, kind, path, content)
        said = refused(place, number)
        state = place.version(number).state
        served = 0
        for other in numbers:
            if number not in ancestors(place, other):
                cold(place).get(other)
                served += 1
        path.write_bytes(content)
        look_at_all(place, cold(place))
        table[kind] = {
            "version": f"v{number}",
            "blob_is_named": blob in said,
            "state": state,
            "state_when_restored": place.version(number).state,
            "said": said.replace(str(place.blobs.folder), "the blobs"),
            "others_served": served,
        }
    return table


def damage(place: Place, kind: str, path: Path, content: bytes) -> None:
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "corrupt":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    else:  # a file of ours, whole, that belongs elsewhere
        others = place.version(place.versions()[0]).matrix_blobs
        assert others
        path.write_bytes(place.blobs.get(next(iter(others.values()))))


def ancestors(place: Place, number: int) -> set[int]:
    found = set()
    while number:
        found.add(number)
        number = place.version(number).parent or 0
    return found


def walk(loaded: Loaded, folder: Path, data: Path, seed: int) -> dict[str, Any]:
    data.mkdir()
    migrate(f"sqlite:///{data}/emmetd.sqlite3")
    started = time.monotonic()
    with opened(loaded, data) as place:
        walked = Walk(place, random.Random(seed), facts_of)
        walked.go(edits=BATCHES, between=0.65)
        seconds = time.monotonic() - started
        first = look_at_all(place, cold(place))
        same, other = second_worker(data, folder, threads=1), second_worker(data, folder, threads=2)
        table = damaged(place, random.Random(seed))
        changed = with_other_bits(place, place.versions()[0])
        replaced = look_at_all(place, cold(place))
    return {
        "seed": seed,
        "edits": BATCHES * FACTS,
        "steps": walked.kinds(),
        "walk": walked.steps,
        "versions": first.versions,
        "matrices": first.matrices,
        "cold_start": {"matrices": first.matrices, "fetched": first.fetched},
        "second_worker": same,
        "second_worker_of_two_threads": other,
        "damaged": table,
        "delta_with_other_bits": {"versions_above_it": len(changed), "matrices_fetched": replaced.fetched},
        "seconds": round(seconds, 1),
    }


def bounds_of(walks: list[dict[str, Any]]) -> dict[str, bool]:
    rows = [row for one in walks for row in one["damaged"].values()]
    return {
        "cold start adds up to the same bits": all(one["cold_start"]["fetched"] == 0 for one in walks),
        "second worker adds up to the same bits": all(
            one["second_worker"] == {"versions": one["versions"], "matrices": one["matrices"], "fetched": 0}
            for one in walks
        ),
        "any second worker serves the same weights": all(
            one["second_worker_of_two_threads"]["matrices"] == one["matrices"] for one in walks
        ),
        "damage is named": all(row["blob_is_named"] for row in rows),
        "the version says so, until it is mended": all(
            (row["state"], row["state_when_restored"]) == ("unavailable", "available") for row in rows
        ),
        "other bits are fetched instead": all(
            one["delta_with_other_bits"]["matrices_fetched"] >= one["delta_with_other_bits"]["versions_above_it"]
            for one in walks
        ),
        "every kind of step": all({"edit", "revert", "rollback"} <= one["steps"].keys() for one in walks)
        and any("branch" in one["steps"] for one in walks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument("--walks", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", default="llama")
    parser.add_argument("--second", nargs=2, type=Path, metavar=("DATA", "MODEL"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if arguments.second:
        as_second(*arguments.second)
        return
    import torch

    torch.set_num_threads(1)
    walks = []
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        folder = save_tiny_model(top / "model", arguments.family)
        loaded = loaded_from(folder, top)
        for seed in range(arguments.seed, arguments.seed + arguments.walks):
            walks.append(walk(loaded, folder, top / f"walk-{seed}", seed))
            result = {"environment": environment(), "family": arguments.family, "walks": walks}
            result["bounds"] = bounds_of(walks)
            if arguments.output is not None:
                write_result(arguments.output, result)
    print(json.dumps(result["bounds"], indent=1))
    missed = [name for name, held in bounds_of(walks).items() if not held]
    if missed:
        raise SystemExit(f"outside their bounds: {', '.join(missed)}")


if __name__ == "__main__":
    main()
