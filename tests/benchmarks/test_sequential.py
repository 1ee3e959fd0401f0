"""Lines of batches on a tiny model: the numbers, going on after a kill, protected facts, and consolidating."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from typer.testing import CliRunner

from api_schemas.facts import Fact
from benchmarks.paper.records import ReproductionError
from benchmarks.sequential.line import Line, LineState, sample
from benchmarks.sequential.measure import LinesTask, measure_lines
from benchmarks.sequential.methods import METHODS, LineMethod
from benchmarks.trial import distinct_subjects, grouped
from cli.main import app
from editing.model.loading import LoadedModel
from editing.solve.consolidating import kept_values
from tests.benchmarks.conftest import Killed
from workers.measuring import Measuring
from workers.statistics.layer_statistics import LayerStatistics


def task(folder: Path, facts: list[Fact], **more: Any) -> LinesTask:
    given: dict[str, Any] = {"limit": 5, "batch_size": 2, "draws": 1, "methods": ("defaults", "memit"), **more}
    return LinesTask(facts, folder / "facts.jsonl", **given)


@pytest.fixture(scope="module")
def whole(folder: Path, model: LoadedModel, statistics: LayerStatistics, facts: list[Fact]) -> tuple[Path, Any]:
    """A run that nothing interrupted."""
    output = folder / "whole"
    return output, measure_lines(task(folder, facts), model, statistics, output)


def test_every_batch_has_its_row_for_all_facts_so_far(whole: tuple[Path, Any]) -> None:
    _, result = whole
    assert {name: [row["facts"] for row in rows] for name, rows in result["lines"].items()} == {
        "unedited": [2, 4, 5],
        "defaults": [2, 4, 5],
        "memit": [2, 4, 5],
    }
    for row in result["lines"]["defaults"]:
        assert row["EM_low"] <= row["EM"] <= row["EM_high"]
        assert row["drift"] != 1
        assert row["relative_norm"] > 0
    assert [row["EM_earlier"] is None for row in result["lines"]["defaults"]] == [True, False, False]


def test_the_state_of_a_line_is_what_was_measured(
    whole: tuple[Path, Any], model: LoadedModel, statistics: LayerStatistics, facts: list[Fact]
) -> None:
    """EM of all facts and drift again, from the kept matrices alone."""
    output, result = whole
    (kept,) = (output / "lines").glob("memit-0-*")
    state = LineState.load(kept, torch.device("cpu"))
    assert [row["facts"] for row in state.rows] == [2, 4, 5]
    measuring = Measuring(model, statistics)
    drawn = distinct_subjects(model, facts, 5, 0)
    found = measuring.evaluate(state.matrices, drawn, ("EM", "drift")).metrics
    assert found["EM"].value == pytest.approx(result["lines"]["memit"][-1]["EM"])
    assert found["drift"].value == pytest.approx(result["lines"]["memit"][-1]["drift"])
    assert state.wanted is not None
    assert state.wanted.shape[0] == 5
    assert {keys.shape[1] for keys in state.keys.values()} == {5}


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(
    folder: Path, model: LoadedModel, statistics: LayerStatistics, facts: list[Fact], whole: tuple[Path, Any]
) -> None:
    batches: list[int] = []

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "batches" and done < total:
            batches.append(done)
            if len(batches) == 2:
                raise Killed

    output = folder / "stopped"
    with pytest.raises(Killed):
        measure_lines(task(folder, facts), model, statistics, output, on_progress=kill)
    result = measure_lines(task(folder, facts), model, statistics, output)
    assert result["lines"] == whole[1]["lines"]
    assert batches == [1, 2]


def test_protected_keys_are_moved_less(
    folder: Path, model: LoadedModel, statistics: LayerStatistics, facts: list[Fact]
) -> None:
    """What the second batch adds at the keys of the first, with pinned keys and without."""
    measuring = Measuring(model, statistics)
    moved = {}
    for name in ("pinned", "unprotected"):
        method = METHODS[name]
        settings = method.settings(model.shape, has_chat_template=False)
        line = Line(method, settings, facts[:4], 2, measuring, statistics, folder / f"{name}.safetensors")
        line._edit(facts[:2])
        first = {layer: matrix.clone() for layer, matrix in line.state.matrices.items()}
        keys = {layer: found.double() for layer, found in line.state.keys.items()}
        line._edit(facts[2:4])
        changes = []
        for layer, matrix in line.state.matrices.items():
            delta = matrix - first[layer]
            delta = delta.T if model.decoder.projections[layer].transposed else delta
            changes.append(float((delta @ keys[layer]).norm() / (delta.norm() * keys[layer].norm())))
        moved[name] = max(changes)
    assert moved["pinned"] < 1e-3 * moved["unprotected"]


def test_a_worn_line_is_consolidated_to_one_batch_on_the_base(
    folder: Path,
    model: LoadedModel,
    statistics: LayerStatistics,
    facts: list[Fact],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With mu 0 in one layer the joint solve moves each subject's key by what its wanted state lacks at the base."""
    monkeypatch.setattr(Measuring, "failing_groups", lambda *_: [])  # a repair would move them on
    exact = {"mu": 0.0, "mu_relative": None, "protect": "none", "layers": [2], "repair_rounds": 0, "condition_limit": 0}
    method = LineMethod("exact", "emmet", exact, consolidates_below=0.9)
    settings = method.settings(model.shape, has_chat_template=False)
    line = Line(method, settings, facts[:4], 2, Measuring(model, statistics), statistics, folder / "worn.safetensors")
    line._edit(facts[:2])
    line._edit(facts[2:4])
    groups, contexts = grouped(model, facts[:4], settings)
    assert line.state.wanted is not None
    lacking = kept_values(model.decoder, {}, groups, contexts, line.state.wanted, 2).deltas.T

    line._consolidate(facts[:4])

    delta = line.state.matrices[2] - weight(model, 2)
    delta = delta.T if model.decoder.projections[2].transposed else delta
    keys = line.state.keys[2].double()
    assert keys.shape[1] == 4
    assert float((delta @ keys - lacking).norm() / lacking.norm()) < 1e-4


def weight(model: LoadedModel, layer: int) -> torch.Tensor:
    return model.decoder.projections[layer].weight.detach()


def test_page_and_picture_show_every_line(whole: tuple[Path, Any]) -> None:
    output, _ = whole
    page = (output / "table.md").read_text()
    assert page.count("| emmetd's defaults |") == 3
    assert "| MEMIT |" in page
    root = ElementTree.fromstring((output / "figure.svg").read_text())
    drawn = {one.get("data-method") for one in root.iter() if one.get("class") == "series"}
    assert drawn == {"emmetd's defaults", "MEMIT"}


def test_another_measurement_is_not_mixed_in(
    folder: Path, model: LoadedModel, statistics: LayerStatistics, facts: list[Fact], whole: tuple[Path, Any]
) -> None:
    with pytest.raises(ReproductionError, match="batch_size"):
        measure_lines(task(folder, facts, batch_size=3), model, statistics, whole[0])
    with pytest.raises(ReproductionError, match="only 5 facts"):
        measure_lines(task(folder, facts, batch_size=6), model, statistics, folder / "too large")


def test_the_sample_is_of_all_ages() -> None:
    numbers = list(range(1000))
    assert sample(numbers, 4) == [0, 250, 500, 750]
    assert sample(numbers[:3], 4) == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["sequential", "--methods", "mmit"], "there is no line 'mmit'"),
        (["sequential", "--batch-sizes", "2,4"], "a line has batches of one size"),
        (["figure3", "--methods", "memit"], "figure3 has its own methods"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder: Path, options: list[str], told: str) -> None:
    output = str(folder / "never")
    done = CliRunner().invoke(app, ["reproduce", *options, "--facts", str(folder / "facts.jsonl"), "--output", output])
    assert done.exit_code == 2
    assert told in " ".join(done.output.replace("│", " ").split())
