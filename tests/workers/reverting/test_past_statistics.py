"""A revert solves an edit again with the C0 that it was made with, whatever corpus is configured by then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configuration.settings import Settings
from tests.workers.conftest import Place
from tests.workers.reverting.reverted import least_without
from tests.workers.reverting.test_answers_after_reverts import readings
from tests.workers.reverting.test_revert import delta, distance, edit, facts, revert
from workers.measuring import Measuring
from workers.statistics.corpora import default_spec
from workers.statistics.layer_statistics import LayerStatistics

LINES = [json.dumps({"text": f"{number} Danielle Darrieux speaks French in the city of Lyon"}) for number in range(60)]


@pytest.fixture
def news(place: Place, tmp_path: Path) -> Settings:
    """Settings by which C0 is made from an operator's file."""
    file = tmp_path / "news.jsonl"
    file.write_text("\n".join(LINES))
    return place.settings.model_copy(update={"corpora": {"news": str(file)}, "corpus": "news", "corpus_tokens": 300})


def configured(place: Place, settings: Settings, data: Path) -> LayerStatistics:
    """Those of a worker with `settings` and the data folder `data`, which becomes the one that tasks run in."""
    statistics = LayerStatistics(place.loaded.model, data, default_spec(settings))
    place.worker(settings=settings, statistics=statistics, measuring=Measuring(place.loaded.model, statistics))
    return statistics


def test_the_statistic_of_the_edit_is_found_in_the_data_folder(place: Place, news: Settings, tmp_path: Path) -> None:
    before = configured(place, news, tmp_path)
    edit(place, given := facts(place, 5), settings={"mu": 3})
    Path(news.corpora["news"]).unlink()
    configured(place, place.settings, tmp_path)
    row = revert(place, 2, of=1)
    assert row.state == "succeeded", row.error
    expected = least_without(place, 2, C=before.get((1,))[1].C)
    assert distance(delta(place, 2), expected) < 1e-4
    assert distance(delta(place, 2), least_without(place, 2)) > 0.1
    assert readings(place, 2, given[2:3]) == pytest.approx(readings(place, 0, given[2:3]), abs=1e-4)


def test_it_is_made_again_from_a_corpus_that_is_still_configured(place: Place, news: Settings, tmp_path: Path) -> None:
    edit(place, facts(place, 5), settings={"mu": 3})
    configured(place, news, tmp_path)
    row = revert(place, 2, of=1)
    assert row.state == "succeeded", row.error
    assert distance(delta(place, 2), least_without(place, 2)) < 1e-4


def test_a_text_that_is_gone_is_named(place: Place, news: Settings, tmp_path: Path) -> None:
    configured(place, news, tmp_path)
    edit(place, facts(place, 3))
    configured(place, place.settings, tmp_path / "another")
    row = revert(place, 2, of=1)
    assert row.error is not None
    assert (row.state, row.error["code"], place.latest()) == ("failed", "statistic_invalid", 1)
    for part in (
        "v1 was edited with C0 of layer 1 from 300 tokens of news.jsonl (",
        "configured corpora (self)",
        "add it",
    ):
        assert part in row.error["detail"]
