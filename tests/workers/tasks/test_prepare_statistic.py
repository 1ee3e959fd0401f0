"""Statistics as tasks: made from what the operator configured, found again, and resumed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editing.covariance.corpus import SelfSampled
from editing.covariance.statistics_store import StatisticSpec
from store.schema.tables import StatisticRow
from store.work import lifecycle, statistics
from store.work.kinds import STATISTIC
from tests.support.saved_models import facts
from tests.workers.conftest import MODEL, Place
from workers import jobs
from workers.measuring import Measuring
from workers.statistics.corpora import default_spec
from workers.statistics.layer_statistics import LayerStatistics

LINES = "\n\n".join(f"{number} Danielle Darrieux speaks French in the city of Lyon" for number in range(60))


def ask(place: Place, layers: list[int] | None = None, corpus: str = "self", tokens: int | None = None) -> str:
    """A statistic as the front end keeps it; its id."""
    with place.database.writing() as session:
        return statistics.create(session, model=MODEL, layers=layers, corpus=corpus, tokens=tokens).id


def found(place: Place, statistic_id: str) -> StatisticRow:
    with place.database.reading() as session:
        return lifecycle.get(session, STATISTIC, statistic_id)


def made(place: Place, *asked: Any) -> StatisticRow:
    statistic_id = ask(place, *asked)
    assert place.run() == ["statistic"]
    return found(place, statistic_id)


def report_of(row: StatisticRow) -> dict[str, Any]:
    assert row.report is not None, row.error
    return row.report


def test_the_default_is_what_edits_use(place: Place) -> None:
    row = made(place)
    loaded = place.loaded
    assert (row.state, row.error, row.layers) == ("succeeded", None, [1])
    assert row.progress == {"stage": "done", "done": 1, "total": 1}
    (layer,) = report_of(row)["layers"]
    used = loaded.statistics.get((1,))[1]
    assert layer == {
        "layer": 1,
        "tokens": used.tokens,
        "corpus": used.corpus,
        "shrinkage": used.shrinkage,
        "condition_number": used.condition,
    }
    assert report_of(row)["fingerprint"] == loaded.model.fingerprint


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_an_operators_file_is_read_and_found_again(place_of: Callable[..., Place], tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"news{suffix}"
    lines = [json.dumps({"body": line}) for line in LINES.split("\n\n")] if suffix == ".jsonl" else [LINES]
    file.write_text("\n".join(lines))
    place = place_of(corpora={"news": str(file) + ("#field=body" if suffix == ".jsonl" else "")})
    first = made(place, [0, 2], "news", 200)
    layers = report_of(first)["layers"]
    assert [(layer["layer"], layer["tokens"]) for layer in layers] == [(0, 200), (2, 200)]
    assert all(layer["corpus"].startswith(f"news{suffix} (") and layer["condition_number"] > 1 for layer in layers)
    assert str(tmp_path) not in str(first.report)
    assert report_of(made(place, [2], "news", 200))["layers"] == layers[1:]


def test_what_cannot_be_made_says_why(place_of: Callable[..., Place], tmp_path: Path) -> None:
    place = place_of(corpora={"gone": str(tmp_path / "gone.txt")})
    for corpus, says in (("gone", "gone.txt' cannot be read"), ("wiki", "is not configured here; known: self, gone")):
        row = made(place, [1], corpus)
        assert row.state == "failed"
        assert row.error is not None
        assert (row.error["code"], row.error["title"]) == ("corpus_invalid", "The statistic cannot be made")
        assert says in row.error["detail"]


def test_a_worker_that_stops_gives_it_back_and_another_makes_it(place: Place) -> None:
    asked = ask(place, [3], "self", 3000)
    stopping = threading.Event()
    stopping.set()
    place.worker(stopping=stopping)
    (task,) = place.ready()
    jobs.run(task.id)
    assert (place.task(task.id).state, found(place, asked).state) == ("pending", "queued")
    place.worker("another")
    assert place.run() == ["statistic"]
    row = found(place, asked)
    assert row.state == "succeeded"
    assert report_of(row)["layers"][0]["tokens"] == 3000


def test_it_makes_way_for_an_edit_and_goes_on_afterwards(place: Place) -> None:
    asked = ask(place, [2], "self", 3000)
    (task,) = place.ready()
    batch_id = place.accept()
    place.ready()

    jobs.run(task.id)

    assert (place.task(task.id).state, place.task(task.id).attempts) == ("pending", 0)
    assert found(place, asked).state == "queued"
    while edits := [one for one in place.ready() if one.kind != "statistic"]:
        jobs.run(edits[0].id)
    assert place.run() == ["statistic"]
    assert (place.batch(batch_id).state, found(place, asked).state) == ("succeeded", "succeeded")


def test_a_cancel_while_it_runs_holds(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ask(place, [2], "self", 3000)

    def cancelled_meanwhile(*_: Any) -> Any:
        with place.database.writing() as session:
            lifecycle.cancel(session, lifecycle.get(session, STATISTIC, asked))
        return place.loaded.statistics.get((1,))

    monkeypatch.setattr(place.loaded.statistics, "prepare", cancelled_meanwhile)
    assert place.run() == ["statistic"]
    row = found(place, asked)
    assert (row.state, row.report, place.run()) == ("cancelled", None, [])


def test_edits_use_the_corpus_that_the_operator_chose(place_of: Callable[..., Place], tmp_path: Path) -> None:
    file = tmp_path / "news.jsonl"
    file.write_text("\n".join(json.dumps({"text": line}) for line in LINES.split("\n\n")))
    place = place_of(corpora={"news": str(file)}, corpus="news", corpus_tokens=300)
    request = default_spec(place.settings)
    assert default_spec(place.settings.model_copy(update={"corpus": "self", "corpus_tokens": None})) == (
        StatisticSpec(SelfSampled())
    )
    mine = LayerStatistics(place.loaded.model, tmp_path, request)
    place.worker(statistics=mine, measuring=Measuring(place.loaded.model, mine))
    batch = place.edit(facts(2))
    assert batch.version is not None, batch.error
    (used,) = place.version(batch.version).provenance["statistics"].values()
    assert used["corpus"].startswith("news.jsonl (")
    assert used["tokens"] == 300
    assert mine.held_out().tokens > 0
