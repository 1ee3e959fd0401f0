"""C0 that one worker made on request is every worker's: fetched, checked, and made again where it cannot be used."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import torch

from editing.covariance import statistics_store
from editing.covariance.corpus import SelfSampled
from editing.covariance.serialization import pack, packed_bytes, unpack
from editing.covariance.statistic import Statistic
from editing.covariance.statistics_store import StatisticSpec
from editing.errors import StatisticError
from store.access.audit import Actor
from store.clock import now
from store.upkeep.garbage_collection import collect, named_blobs
from store.work import lifecycle, statistics
from store.work.kinds import STATISTIC
from tests.workers.conftest import MODEL, Place
from workers.statistics.layer_statistics import LayerStatistics
from workers.statistics.shared import SharedStatistics

TOKENS = 400
REQUEST = StatisticSpec(SelfSampled(), TOKENS)
ADA = Actor("cli:ada")
LIMIT = 256 * 1024**2


def worker_in(place: Place, folder: Path, most_bytes: int = LIMIT) -> LayerStatistics:
    """A worker with a data folder of its own."""
    shared = SharedStatistics(place.database, place.blobs, place.loaded.model, most_bytes)
    mine = LayerStatistics(place.loaded.model, folder, REQUEST, shared)
    place.worker(folder.name, statistics=mine)
    return mine


def ask(place: Place, layers: list[int]) -> dict[str, str]:
    """Let the current worker make C0 as a task; the blobs that it put."""
    with place.database.writing() as session:
        asked = statistics.create(session, model=MODEL, layers=layers, corpus="self", tokens=TOKENS).id
    assert place.run() == ["statistic"]
    with place.database.reading() as session:
        row = lifecycle.get(session, STATISTIC, asked)
    assert row.report is not None, row.error
    return statistics.shared_blobs(row.report)


@pytest.fixture
def nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*_: object) -> None:
        pytest.fail("C0 was made again")

    monkeypatch.setattr(statistics_store, "_build", built)


def test_another_worker_fetches_what_one_made(place: Place, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = worker_in(place, tmp_path / "first")
    assert len(ask(place, [0, 2])) == 2
    made = first.get((0, 2))

    request.getfixturevalue("nothing_is_made")
    fetched = worker_in(place, tmp_path / "second").get((0, 2))
    for layer in (0, 2):
        assert torch.equal(fetched[layer].C, made[layer].C)
        assert torch.equal(fetched[layer].factor, made[layer].factor)
        assert (fetched[layer].tokens, fetched[layer].corpus) == (made[layer].tokens, made[layer].corpus)
    place.blobs.folder.rename(tmp_path / "away")
    assert worker_in(place, tmp_path / "second").get((0, 2)).keys() == {0, 2}, "it has its own copy from then on"
    (tmp_path / "away").rename(place.blobs.folder)
    place.worker(statistics=worker_in(place, tmp_path / "third"))
    assert len(ask(place, [2])) == 1, "a task that asks for it again finds it too"


def test_what_is_larger_than_the_limit_each_makes_for_itself(place: Place, tmp_path: Path) -> None:
    one = worker_in(place, tmp_path / "first").get((1,))[1]
    worker_in(place, tmp_path / "first", packed_bytes(one) - 1)
    assert ask(place, [1]) == {}
    worker_in(place, tmp_path / "first", packed_bytes(one))
    assert len(ask(place, [1])) == 1


def test_what_is_damaged_is_made_again(place: Place, tmp_path: Path) -> None:
    worker_in(place, tmp_path / "first")
    (blob,) = ask(place, [3]).values()
    file = place.blobs.folder / blob[:2] / blob
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-8] + b"damaged!")
    again = worker_in(place, tmp_path / "second").get((3,))[3]
    assert again.fingerprint == place.loaded.model.fingerprint


def test_other_text_is_another_statistic(place: Place, tmp_path: Path) -> None:
    worker_in(place, tmp_path / "first")
    ask(place, [2])
    other = worker_in(place, tmp_path / "second").prepare((2,), StatisticSpec(SelfSampled(seed=7), TOKENS))
    assert "seed 7" in other[2].corpus


def test_a_collection_leaves_what_is_shared(place: Place, tmp_path: Path) -> None:
    worker_in(place, tmp_path / "first")
    blobs = set(ask(place, [0, 1]).values())
    place.blobs.put(b"nobody's")
    gone = collect(place.database, place.blobs, -timedelta(days=1), ADA, delete=True)
    assert len(gone.blobs) == 1
    assert all(place.blobs.exists(blob) for blob in blobs)
    with place.database.reading() as session:
        assert not blobs & named_blobs(session, exports_since=now()), "a backup goes without what can be made again"


def test_bytes_that_are_no_statistic_are_refused(place: Place, tmp_path: Path) -> None:
    one: Statistic = worker_in(place, tmp_path / "first").get((1,))[1]
    content = pack(one)
    assert torch.equal(unpack(content).C, one.C)
    assert abs(len(content) - packed_bytes(one)) < 1000
    for wrong in (
        b"",
        b"a letter to nobody",
        content[:100],
        content.replace(b"packed-statistic-1", b"packed-statistic-9"),
    ):
        with pytest.raises(StatisticError, match="these bytes are no statistic"):
            unpack(wrong)
