"""What the measurements of batches and lines are tried on: a tiny model and a few facts, one subject twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api_schemas.facts import Fact
from benchmarks.facts import read_facts
from editing.covariance.corpus import SelfSampled
from editing.covariance.statistics_store import StatisticSpec
from editing.model.loading import LoadedModel
from tests.support.tiny_loaded import load_tiny
from workers.statistics.layer_statistics import LayerStatistics

SUBJECTS = ("Danielle Darrieux", "Toko Yasuda", "Lyon", "Melchior", "Anna Karina", "Danielle Darrieux")


class Killed(BaseException):
    """A kill, as far as the process can see one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reproduce")
    facts = [
        {
            "prompt": "The mother tongue of {} is",
            "subject": subject,
            "target_new": f"word {number}",
            "target_old": "French",
            "paraphrases": [f"{subject} speaks", f"{subject} talks"],
            "neighbors": [{"prompt": "Paul speaks", "target": "French"}],
        }
        for number, subject in enumerate(SUBJECTS)
    ]
    (folder / "facts.jsonl").write_text("\n".join(map(json.dumps, facts)))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return load_tiny(folder)


@pytest.fixture(scope="module")
def statistics(folder: Path, model: LoadedModel) -> LayerStatistics:
    return LayerStatistics(model, folder / "data", StatisticSpec(SelfSampled(), tokens=512))


@pytest.fixture(scope="module")
def facts(folder: Path) -> list[Fact]:
    return read_facts(folder / "facts.jsonl")
