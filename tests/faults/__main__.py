"""`python -m tests.faults --rounds 200 --seed 7 --database postgresql --output benchmarks/results/faults.json`."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.results import environment, write_result
from tests.faults.rounds import Round, Rounds
from tests.support.postgres import Cluster
from tests.support.running.installation import Installation
from tests.support.saved_models import save_tiny_model


def main() -> int:
    parser = argparse.ArgumentParser(description="Break a running service at random and look at what it keeps.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="number of the first round")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--output", type=Path, help="add the rounds to this file")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and data")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="emmetd-faults-"))
    cluster = Cluster(durable=True) if arguments.database == "postgresql" else None
    done: list[Round] = []
    print(f"seed {arguments.seed}, {arguments.database}, in {folder}", flush=True)
    try:
        if cluster is not None:
            cluster.start()
        models = save_tiny_model(folder / "model"), save_tiny_model(folder / "other", seed=1)
        with Installation(folder / "installation", *models, cluster) as installation:
            rounds = Rounds(installation, arguments.seed)
            for number in range(arguments.first, arguments.first + arguments.rounds):
                one = rounds.run(number)
                done.append(one)
                print(
                    f"{number:4} {one.seconds:5.1f} s  {' + '.join(one.faults)}; {one.shards} shards, {one.ends}",
                    flush=True,
                )
                for violation in one.violations:
                    print(f"     VIOLATION {violation}", flush=True)
            told, newest = rounds.told, rounds.known().newest
            rounds.close()
    finally:
        if cluster is not None:
            cluster.close()
    broken = sum(bool(one.violations) for one in done)
    print(f"{len(done)} rounds, {broken} with violations, newest {newest}, {told.answers} texts, {told.refusals}")
    if arguments.output:
        _add(
            arguments.output, arguments, done, versions=sum(newest.values()), texts=told.answers, refusals=told.refusals
        )
    if not (arguments.keep or broken):
        shutil.rmtree(folder, ignore_errors=True)
    return int(broken > 0)


def _add(path: Path, arguments: argparse.Namespace, done: list[Round], **told: Any) -> None:
    known = json.loads(path.read_text()) if path.exists() else {"runs": []}
    faults = Counter(name for one in done for name in one.faults)
    seconds = sorted(one.seconds for one in done)
    run = {
        **environment(),
        "database": arguments.database,
        "seed": arguments.seed,
        "rounds": [arguments.first, arguments.first + len(done) - 1],
        "faults": dict(sorted(faults.items())),
        "work": dict(sorted(Counter(kind for one in done for kind in one.work).items())),
        "batches": sum(one.batches for one in done),
        "ends": dict(sorted(sum((Counter(one.ends) for one in done), Counter()).items())),
        "shards": sum(one.shards for one in done),
        "seconds_median": round(statistics.median(seconds), 1),
        "seconds_most": seconds[-1],
        "violations": [violation for one in done for violation in one.violations],
        **told,
    }
    known["runs"].append(run)
    known["rounds"] = sum(one["rounds"][1] - one["rounds"][0] + 1 for one in known["runs"])
    known["violations"] = sum(len(one["violations"]) for one in known["runs"])
    write_result(path, known)


if __name__ == "__main__":
    sys.exit(main())
