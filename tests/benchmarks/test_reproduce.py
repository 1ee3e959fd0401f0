"""The paper's figures on a tiny model: the numbers, going on after a kill, the page and the picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from api_schemas.facts import Fact
from api_schemas.settings import SettingsOverrides
from benchmarks.paper.figures import DEFAULTS, FIGURE_3, FIGURE_4, FIGURES, TABLE_1, methods_of
from benchmarks.paper.records import ReproductionError, Row, read_rows
from benchmarks.paper.reproduce import Task, reproduce, spaced
from benchmarks.paper.scores import score
from benchmarks.trial import Trial, distinct_subjects
from cli.main import app
from editing.methods import ModelShape
from editing.methods.published import GPT2_XL_SHAPE, LLAMA_2_7B_SHAPE
from editing.model.loading import LoadedModel
from tests.benchmarks.conftest import Killed
from workers.statistics.layer_statistics import LayerStatistics

SIZES = (1, 2)


def task(folder: Path, facts: list[Fact], **more: Any) -> Task:
    given: dict[str, Any] = {"limit": 3, "batch_sizes": SIZES, "draws": 2, **more}
    return Task(given.pop("figure", FIGURE_3), facts, folder / "facts.jsonl", command="emmetd reproduce", **given)


@pytest.fixture(scope="module")
def whole(folder: Path, model: LoadedModel, statistics: LayerStatistics, facts: list[Fact]) -> tuple[Path, Row]:
    """A run that nothing interrupted."""
    output = folder / "whole"
    return output, reproduce(task(folder, facts), model, statistics, output)


def test_each_method_and_size_is_measured_on_the_same_facts_of_every_draw(whole: tuple[Path, Row]) -> None:
    output, result = whole
    assert result == json.loads((output / "results.json").read_text())
    assert result["complete"]
    assert [(cell["method"], cell["size"]) for cell in result["results"]] == [
        ("unedited", 0),
        *((method, size) for method in ("EMMET", "MEMIT", DEFAULTS) for size in SIZES),
    ]
    rows = read_rows(output / "rows.jsonl")
    for draw in (0, 1):
        (unedited,) = [row for row in rows if row["method"] == "unedited" and row["draw"] == draw]
        for method in ("EMMET", "MEMIT", DEFAULTS):
            for size in SIZES:
                some = [row for row in rows if (row["method"], row["size"], row["draw"]) == (method, size, draw)]
                assert [fact for row in some for fact in row["facts"]] == unedited["facts"]
                assert [len(row["facts"]) for row in some] == {1: [1, 1, 1], 2: [2, 1]}[size]
    for cell in result["results"]:
        for name in ("ES", "PS", "NS", "EM", "GA"):
            assert cell[name]["n"] == 6
            assert cell[name]["low"] <= cell[name]["value"] <= cell[name]["high"]
            assert len(cell[name]["by_draw"]) == 2
            assert math.isclose(sum(cell[name]["by_draw"]) / 2, cell[name]["value"])
    edited = result["results"][1:]
    assert all(cell["relative_norm"]["mean"] > 0 and cell["drift"]["batches"] > 0 for cell in edited)
    assert all(cell["drift"]["mean"] != 1 for cell in edited)


def test_one_batch_is_what_a_trial_of_the_same_settings_measures(
    folder: Path, tmp_path: Path, model: LoadedModel, statistics: LayerStatistics, facts: list[Fact]
) -> None:
    result = reproduce(task(folder, facts, batch_sizes=(3,), draws=1), model, statistics, tmp_path)
    drawn = distinct_subjects(model, facts, 3, 0)
    text = statistics.held_out()
    for cell in result["results"][1:]:
        method = result["methods"][cell["method"]]
        settings = {name: value for name, value in method["settings"].items() if value is not None}
        SettingsOverrides.model_validate(settings)
        trial = Trial(model, statistics, drawn, text).run(method["algorithm"], settings)
        for name in ("ES", "PS", "NS", "S", "EM"):
            assert math.isclose(cell[name]["value"], trial[name], abs_tol=1e-12), (cell["method"], name)
        assert math.isclose(cell["drift"]["mean"], trial["drift"], rel_tol=1e-6)
        assert math.isclose(cell["relative_norm"]["mean"], trial["relative_norm"], rel_tol=1e-6)


@pytest.mark.parametrize("killed_after", [1, 4, 9])
def test_killed_in_the_middle_it_ends_with_the_same_numbers(
    folder: Path,
    tmp_path: Path,
    model: LoadedModel,
    statistics: LayerStatistics,
    facts: list[Fact],
    whole: tuple[Path, Row],
    killed_after: int,
) -> None:
    made: list[Row] = []

    def kill(row: Row) -> None:
        made.append(row)
        if len(made) == killed_after:
            raise Killed

    with pytest.raises(Killed):
        reproduce(task(folder, facts), model, statistics, tmp_path, on_row=kill)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"method": "EMMET", "si')  # a write that the kill cut short
    again: list[Row] = []
    result = reproduce(task(folder, facts), model, statistics, tmp_path, on_row=again.append)
    assert result["results"] == whole[1]["results"]
    assert [*made, *again] == read_rows(whole[0] / "rows.jsonl") == read_rows(tmp_path / "rows.jsonl")
    nothing: list[Row] = []
    assert reproduce(task(folder, facts), model, statistics, tmp_path, on_row=nothing.append)["complete"]
    assert nothing == []


def test_values_are_found_once_for_all_sizes_and_for_methods_that_share_their_settings(whole: tuple[Path, Row]) -> None:
    # EMMET and MEMIT have the same values; those of the defaults are others. Two draws.
    assert len(list((whole[0] / "values").iterdir())) == 4


def test_the_picture_has_a_series_for_each_method_in_each_panel(whole: tuple[Path, Row]) -> None:
    document = ElementTree.parse(whole[0] / "figure.svg").getroot()
    groups = [group for group in document.iter("{http://www.w3.org/2000/svg}g") if group.get("class") == "series"]
    titles = [group.findtext("{http://www.w3.org/2000/svg}title") or "" for group in groups]
    for panel in ("ES", "PS", "NS", "S", "GA", "Drift"):
        of_panel = [title.partition(": ")[0] for title in titles if title.partition(": ")[2].startswith(f"{panel}:")]
        assert of_panel == ["EMMET", "MEMIT", DEFAULTS], panel


def test_the_table_says_what_it_is_and_how_it_was_measured(whole: tuple[Path, Row]) -> None:
    text = (whole[0] / "table.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| method", "batch size", "facts"],
        ["| unedited", "–", "6"],
        *([f"| {method}", str(size), "6"] for method in ("EMMET", "MEMIT", DEFAULTS) for size in SIZES),
    ]
    assert "2403.14236" in text
    assert "`emmetd reproduce`" in text
    assert "Llama-2-7B" in text
    assert "Not complete" not in text


def test_another_measurement_in_the_same_folder_is_refused_and_more_sizes_are_not(
    folder: Path, model: LoadedModel, statistics: LayerStatistics, facts: list[Fact], whole: tuple[Path, Row]
) -> None:
    with pytest.raises(ReproductionError, match=r"--output .*another measurement \(limit differ\)"):
        reproduce(task(folder, facts, limit=4), model, statistics, whole[0])
    with pytest.raises(ReproductionError, match=r"figure, settings differ"):
        reproduce(task(folder, facts, figure=FIGURE_4), model, statistics, whole[0])
    made: list[Row] = []
    result = reproduce(task(folder, facts, batch_sizes=(1, 3)), model, statistics, whole[0], on_row=made.append)
    assert {row["size"] for row in made} == {3}
    assert {cell["size"] for cell in result["results"]} == {0, 1, 3}
    with pytest.raises(ReproductionError, match=r"--batch-sizes 7: there are only 5 facts"):
        reproduce(task(folder, facts, batch_sizes=(7,), limit=7), model, statistics, folder / "few")


def test_table_1_has_single_edits_of_which_two_are_the_same_and_ge_on_request(
    folder: Path,
    tmp_path: Path,
    model: LoadedModel,
    statistics: LayerStatistics,
    facts: list[Fact],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = task(folder, facts, figure=TABLE_1, batch_sizes=(1,), draws=1, limit=2, with_entropy=True)
    result = reproduce(wanted, model, statistics, tmp_path)
    rome, memit, emmet = (
        next(cell for cell in result["results"] if cell["method"] == name) for name in ("ROME", "MEMIT", "EMMET")
    )
    assert {**rome, "method": ""} == {**emmet, "method": ""}
    assert rome["GE"]["n"] == memit["GE"]["n"] == 2
    assert rome["relative_norm"]["mean"] > memit["relative_norm"]["mean"]
    assert "| GE |" in (tmp_path / "table.md").read_text()


def test_methods_take_the_authors_settings_where_the_model_has_some() -> None:
    emmet, memit, ours = methods_of(FIGURE_3, GPT2_XL_SHAPE, has_chat_template=False)
    assert (emmet.settings.layers, emmet.settings.mu, emmet.settings.steps) == ((17,), 100.0, 19)
    assert (memit.settings.layers, memit.settings.mu, memit.settings.repair_rounds) == ((17,), 20_000.0, 0)
    assert (emmet.for_batch(1).mu, emmet.for_batch(2).mu, ours.for_batch(1)) == (0.0, 100.0, ours.settings)
    assert ours.settings.repair_rounds == 1
    emmet, memit, ours = methods_of(FIGURE_4, LLAMA_2_7B_SHAPE, has_chat_template=True)
    assert emmet.settings.layers == memit.settings.layers == ours.settings.layers == (4, 5, 6, 7, 8)
    assert "chat" not in emmet.settings.forms
    assert "chat" in ours.settings.forms


def test_another_model_takes_llamas_way_at_its_own_layers() -> None:
    shape = ModelShape("qwen3", 28, 3072)
    emmet, memit, _ = methods_of(FIGURE_3, shape, has_chat_template=False)
    assert (emmet.settings.layers, emmet.settings.clamp, emmet.settings.mu) == ((7,), 4.0, 0.1)
    assert (memit.settings.mu, memit.settings.mu_relative) == (None, 1.0)
    emmet, _, _ = methods_of(FIGURE_4, shape, has_chat_template=False)
    assert emmet.settings.layers == (3, 4, 5, 6, 7)
    assert set(FIGURES) == {"figure3", "figure4", "table1"}


def test_a_fact_of_several_draws_is_one_fact_to_the_interval() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    row = {"facts": list("abcde"), "of_facts": [{"ES": value} for value in values]}
    assert score([row], ("ES",)) == score([row, row, row], ("ES",)) | {"n": 5}
    missing = {"facts": ["f"], "of_facts": [{"ES": None}]}
    assert score([row, missing], ("ES",))["value"] == 0.6
    assert score([missing], ("ES",)) == {"value": None, "n": 0, "low": None, "high": None}


def test_drift_is_measured_on_batches_from_the_first_to_the_last() -> None:
    assert spaced(3) == {0, 1, 2}
    assert spaced(100) == {0, 33, 66, 99}


def test_rows_that_are_none_are_told(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(ReproductionError, match="line 1: not a row"):
        read_rows(tmp_path / "rows.jsonl")


def run(folder: Path, output: Path, *more: str) -> Result:
    command = ["reproduce", "figure3", "--facts", str(folder / "facts.jsonl"), "--output", str(output)]
    command += ["--model", str(folder / "llama"), "--data", str(folder / "data"), *more]
    return CliRunner().invoke(app, command)


def test_the_command_writes_its_files_and_prints_the_table_or_json(
    folder: Path, tmp_path: Path, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMMETD_CORPUS_TOKENS", "512")
    small = ("--limit", "2", "--batch-sizes", "2", "--seeds", "1")
    first = run(folder, tmp_path / "out", *small)
    assert first.exit_code == 0, first.output
    assert "| unedited | – | 2 |" in first.stdout
    assert "batches: 100%" in first.stderr
    files = {"results.json", "table.md", "figure.svg", "rows.jsonl", "plan.json", "values"}
    assert files <= {path.name for path in (tmp_path / "out").iterdir()}
    second = run(folder, tmp_path / "out", *small, "--json")
    assert (
        json.loads(second.stdout)["results"] == json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    )
    refused = run(folder, tmp_path / "out", "--limit", "3", "--batch-sizes", "2", "--seeds", "1")
    assert refused.exit_code == 1
    assert "holds another measurement (limit differ)" in refused.stderr


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--batch-sizes", "1,x"), "is no list of numbers"),
        (("--batch-sizes", "1,9", "--limit", "4"), "number of facts (--limit 4)"),
        (("--batch-sizes", "0"), "each must be from 1"),
        (("--ge",), "figure3 has no GE"),
    ],
)
def test_wrong_options_are_told(folder: Path, tmp_path: Path, more: tuple[str, ...], says: str) -> None:
    result = run(folder, tmp_path, *more)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.replace("│", " ").split())


def test_facts_that_are_none_and_a_folder_that_is_a_file_are_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written to" in run(folder, tmp_path / "file").stderr
    (tmp_path / "facts.jsonl").write_text("{")
    assert "--facts: " in run(tmp_path, tmp_path / "out").stderr
