"""A few rounds of the fault run, each losing something else. The whole run is `python -m tests.faults`."""

from __future__ import annotations

from pathlib import Path

from tests.faults import faults
from tests.faults.faults import Fault, possible
from tests.faults.rounds import Rounds
from tests.support.postgres import Cluster, require_postgres
from tests.support.running.installation import MODEL, Installation
from tests.support.saved_models import save_tiny_model

ROUNDS: tuple[tuple[Fault, ...], ...] = (
    (faults.kill_worker, faults.restart_postgres, faults.flush_redis),
    (faults.fill_disk, faults.kill_api, faults.freeze_worker),
    (faults.cut_network, faults.kill_redis, faults.kill_every_worker),
)

SEED = 7
"""The same in every run, so that a failure is the change's; other seeds belong to `python -m tests.faults`."""


def test_every_fault_has_its_round() -> None:
    assert sorted(fault.__name__ for wanted in ROUNDS for fault in wanted) == sorted(
        fault.__name__ for fault in faults.FAULTS
    )


def test_nothing_is_lost_whatever_dies(tmp_path: Path) -> None:
    require_postgres()
    cluster = Cluster()
    try:
        cluster.start()
        models = save_tiny_model(tmp_path / "model"), save_tiny_model(tmp_path / "other", seed=1)
        with Installation(tmp_path / "installation", *models, cluster) as installation:
            rounds, shards = Rounds(installation, SEED), []
            for number, wanted in enumerate(ROUNDS):
                done = rounds.run(number, [fault for fault in wanted if fault in possible(installation)])
                print(done)
                assert done.violations == (), f"round {number}, {done.faults}"
                shards.append(done.shards)
            # The small edits have one each, and some rounds cancel the large one before it is cut.
            assert max(shards) >= 4, "no edit had several shards"
            assert rounds.known().newest[MODEL] > 0
            rounds.close()
    finally:
        cluster.close()
