"""A few rounds of the fault run, each losing something else. The whole run is `python -m tests.faults`."""

from __future__ import annotations

import secrets
from pathlib import Path

from tests.faults import faults
from tests.faults.faults import Fault, possible
from tests.faults.installation import Installation
from tests.faults.rounds import Rounds
from tests.postgres import Cluster, require_postgres
from tests.workers.saved_models import save_tiny_model

ROUNDS: tuple[tuple[Fault, ...], ...] = (
    (faults.kill_worker, faults.restart_postgres),
    (faults.flush_redis, faults.fill_disk, faults.kill_api),
)


def test_nothing_is_lost_whatever_dies(tmp_path: Path) -> None:
    require_postgres()
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}")  # shown where it fails
    cluster = Cluster()
    try:
        cluster.start()
        with Installation(tmp_path / "installation", save_tiny_model(tmp_path / "model"), cluster) as installation:
            rounds = Rounds(installation, seed)
            for number, wanted in enumerate(ROUNDS):
                done = rounds.run(number, [fault for fault in wanted if fault in possible(installation)])
                assert done.violations == (), f"seed {seed}, round {number}, {done.faults}"
            assert rounds.newest() > 0
            assert len(rounds.told.accepted) == len(ROUNDS) * done.batches
            rounds.close()
    finally:
        cluster.close()
